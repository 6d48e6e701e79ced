"""For tests of applications that embed the runtime, and for those of this project.

`FakeTier` runs plugins as scripts on virtual time, `FaultyAuditStore` fails on purpose, `FaultPlan`
is both at once, as a value. `simulate` runs a scenario with a schedule that a seed decides;
`after_every_step`, `check_log` and their like say what must hold meanwhile. The contract suites for
stores and tiers are in `audit_store_contract` and `tier_contract`; they need pytest.

The names are loaded on first use, since pytest loads this package, for its plugin, in every run.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sigil_actors.testing.end_checks import ends_are_prompt as ends_are_prompt
    from sigil_actors.testing.every_step import Check as Check
    from sigil_actors.testing.every_step import InvariantError as InvariantError
    from sigil_actors.testing.every_step import Violation as Violation
    from sigil_actors.testing.every_step import after_every_step as after_every_step
    from sigil_actors.testing.fake_manifest import fake_manifest as fake_manifest
    from sigil_actors.testing.fake_plugin import FakePlugin as FakePlugin
    from sigil_actors.testing.fake_plugin import HealthScript as HealthScript
    from sigil_actors.testing.fake_plugin import Script as Script
    from sigil_actors.testing.fake_plugin import ScriptCrash as ScriptCrash
    from sigil_actors.testing.fake_plugin import scripted_health as scripted_health
    from sigil_actors.testing.fake_services import FakeAsk as FakeAsk
    from sigil_actors.testing.fake_services import FakeChannel as FakeChannel
    from sigil_actors.testing.fake_services import FakeProvider as FakeProvider
    from sigil_actors.testing.fake_session import FakeCall as FakeCall
    from sigil_actors.testing.fake_session import FakeSession as FakeSession
    from sigil_actors.testing.fake_tier import FakeTier as FakeTier
    from sigil_actors.testing.fault_plan import FaultPlan as FaultPlan
    from sigil_actors.testing.faults import Crash as Crash
    from sigil_actors.testing.faults import Fail as Fail
    from sigil_actors.testing.faults import Fault as Fault
    from sigil_actors.testing.faults import Hang as Hang
    from sigil_actors.testing.faults import Slow as Slow
    from sigil_actors.testing.faulty_audit_store import FaultyAuditStore as FaultyAuditStore
    from sigil_actors.testing.log_checks import call_problems as call_problems
    from sigil_actors.testing.log_checks import chain_problems as chain_problems
    from sigil_actors.testing.log_checks import check_log as check_log
    from sigil_actors.testing.log_checks import lifecycle_problems as lifecycle_problems
    from sigil_actors.testing.log_checks import log_problems as log_problems
    from sigil_actors.testing.log_checks import outcome_problems as outcome_problems
    from sigil_actors.testing.runtime_checks import calls_recorded_first as calls_recorded_first
    from sigil_actors.testing.runtime_checks import calls_within_bounds as calls_within_bounds
    from sigil_actors.testing.runtime_checks import lease_problems as lease_problems
    from sigil_actors.testing.runtime_checks import no_task_left as no_task_left
    from sigil_actors.testing.runtime_checks import one_instance_each as one_instance_each
    from sigil_actors.testing.runtime_checks import one_serves_each as one_serves_each
    from sigil_actors.testing.runtime_checks import settled_problems as settled_problems
    from sigil_actors.testing.runtime_checks import states_in_order as states_in_order
    from sigil_actors.testing.runtime_checks import status_problems as status_problems
    from sigil_actors.testing.seed_runs import SeedRuns as SeedRuns
    from sigil_actors.testing.simulation import Scenario as Scenario
    from sigil_actors.testing.simulation import StuckError as StuckError
    from sigil_actors.testing.simulation import Trace as Trace
    from sigil_actors.testing.simulation import simulate as simulate
    from sigil_actors.testing.waits import describe_waits as describe_waits

_HOMES = {
    "ends_are_prompt": "sigil_actors.testing.end_checks",
    "Check": "sigil_actors.testing.every_step",
    "InvariantError": "sigil_actors.testing.every_step",
    "Violation": "sigil_actors.testing.every_step",
    "after_every_step": "sigil_actors.testing.every_step",
    "fake_manifest": "sigil_actors.testing.fake_manifest",
    "FakePlugin": "sigil_actors.testing.fake_plugin",
    "HealthScript": "sigil_actors.testing.fake_plugin",
    "Script": "sigil_actors.testing.fake_plugin",
    "ScriptCrash": "sigil_actors.testing.fake_plugin",
    "scripted_health": "sigil_actors.testing.fake_plugin",
    "FakeAsk": "sigil_actors.testing.fake_services",
    "FakeChannel": "sigil_actors.testing.fake_services",
    "FakeProvider": "sigil_actors.testing.fake_services",
    "FakeCall": "sigil_actors.testing.fake_session",
    "FakeSession": "sigil_actors.testing.fake_session",
    "FakeTier": "sigil_actors.testing.fake_tier",
    "FaultPlan": "sigil_actors.testing.fault_plan",
    "Crash": "sigil_actors.testing.faults",
    "Fail": "sigil_actors.testing.faults",
    "Fault": "sigil_actors.testing.faults",
    "Hang": "sigil_actors.testing.faults",
    "Slow": "sigil_actors.testing.faults",
    "FaultyAuditStore": "sigil_actors.testing.faulty_audit_store",
    "call_problems": "sigil_actors.testing.log_checks",
    "chain_problems": "sigil_actors.testing.log_checks",
    "check_log": "sigil_actors.testing.log_checks",
    "lifecycle_problems": "sigil_actors.testing.log_checks",
    "log_problems": "sigil_actors.testing.log_checks",
    "outcome_problems": "sigil_actors.testing.log_checks",
    "calls_recorded_first": "sigil_actors.testing.runtime_checks",
    "calls_within_bounds": "sigil_actors.testing.runtime_checks",
    "lease_problems": "sigil_actors.testing.runtime_checks",
    "no_task_left": "sigil_actors.testing.runtime_checks",
    "one_instance_each": "sigil_actors.testing.runtime_checks",
    "one_serves_each": "sigil_actors.testing.runtime_checks",
    "settled_problems": "sigil_actors.testing.runtime_checks",
    "states_in_order": "sigil_actors.testing.runtime_checks",
    "status_problems": "sigil_actors.testing.runtime_checks",
    "SeedRuns": "sigil_actors.testing.seed_runs",
    "Scenario": "sigil_actors.testing.simulation",
    "StuckError": "sigil_actors.testing.simulation",
    "Trace": "sigil_actors.testing.simulation",
    "simulate": "sigil_actors.testing.simulation",
    "describe_waits": "sigil_actors.testing.waits",
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
