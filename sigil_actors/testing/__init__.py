"""For tests of applications that embed the runtime, and for those of this project.

`FakeTier` runs plugins as scripts on virtual time, `FaultyAuditStore` fails on purpose, `simulate`
runs a scenario with a schedule that a seed decides. The contract suites for stores and tiers are in
`audit_store_contract` and `tier_contract`; they need pytest.
"""

from sigil_actors.testing.fake_tier import FakeCall, FakePlugin, FakeTier, Script, ScriptCrash
from sigil_actors.testing.faulty_audit_store import FaultyAuditStore
from sigil_actors.testing.simulation import Scenario, StuckError, Trace, simulate

__all__ = [
    "FakeCall",
    "FakePlugin",
    "FakeTier",
    "FaultyAuditStore",
    "Scenario",
    "Script",
    "ScriptCrash",
    "StuckError",
    "Trace",
    "simulate",
]
