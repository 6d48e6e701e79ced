"""For tests of applications that embed the runtime, and for those of this project.

`FakeTier` runs plugins as scripts on virtual time, `FaultyAuditStore` fails on purpose, `simulate`
runs a scenario with a schedule that a seed decides. The contract suites for stores and tiers are in
`audit_store_contract` and `tier_contract`; they need pytest. The names are loaded on first use,
since pytest loads this package, for its plugin, in every run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sigil_actors.testing.fake_manifest import fake_manifest as fake_manifest
    from sigil_actors.testing.fake_plugin import FakePlugin as FakePlugin
    from sigil_actors.testing.fake_plugin import HealthScript as HealthScript
    from sigil_actors.testing.fake_plugin import Script as Script
    from sigil_actors.testing.fake_plugin import ScriptCrash as ScriptCrash
    from sigil_actors.testing.fake_plugin import scripted_health as scripted_health
    from sigil_actors.testing.fake_tier import FakeCall as FakeCall
    from sigil_actors.testing.fake_tier import FakeSession as FakeSession
    from sigil_actors.testing.fake_tier import FakeTier as FakeTier
    from sigil_actors.testing.fault_plan import FaultPlan as FaultPlan
    from sigil_actors.testing.faults import Crash as Crash
    from sigil_actors.testing.faults import Fail as Fail
    from sigil_actors.testing.faults import Fault as Fault
    from sigil_actors.testing.faults import Hang as Hang
    from sigil_actors.testing.faults import Slow as Slow
    from sigil_actors.testing.faulty_audit_store import FaultyAuditStore as FaultyAuditStore
    from sigil_actors.testing.seed_runs import SeedRuns as SeedRuns
    from sigil_actors.testing.simulation import Scenario as Scenario
    from sigil_actors.testing.simulation import StuckError as StuckError
    from sigil_actors.testing.simulation import Trace as Trace
    from sigil_actors.testing.simulation import simulate as simulate

_HOMES = {
    "fake_manifest": "sigil_actors.testing.fake_manifest",
    "FakePlugin": "sigil_actors.testing.fake_plugin",
    "HealthScript": "sigil_actors.testing.fake_plugin",
    "Script": "sigil_actors.testing.fake_plugin",
    "ScriptCrash": "sigil_actors.testing.fake_plugin",
    "scripted_health": "sigil_actors.testing.fake_plugin",
    "FakeCall": "sigil_actors.testing.fake_tier",
    "FakeSession": "sigil_actors.testing.fake_tier",
    "FakeTier": "sigil_actors.testing.fake_tier",
    "FaultPlan": "sigil_actors.testing.fault_plan",
    "Crash": "sigil_actors.testing.faults",
    "Fail": "sigil_actors.testing.faults",
    "Fault": "sigil_actors.testing.faults",
    "Hang": "sigil_actors.testing.faults",
    "Slow": "sigil_actors.testing.faults",
    "FaultyAuditStore": "sigil_actors.testing.faulty_audit_store",
    "SeedRuns": "sigil_actors.testing.seed_runs",
    "Scenario": "sigil_actors.testing.simulation",
    "StuckError": "sigil_actors.testing.simulation",
    "Trace": "sigil_actors.testing.simulation",
    "simulate": "sigil_actors.testing.simulation",
}
"""Where each public name is defined; a test holds it against the imports above."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Load a public name on its first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted({*globals(), *__all__})
