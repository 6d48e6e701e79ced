"""All measures, in the order in which they run; each lives in a file of its own."""

from benchmarks.harness import Measure
from benchmarks.measures import (
    actors,
    audited,
    egress,
    imports,
    leak,
    policy,
    process_stack,
    reload,
    rpc_call,
    simulation,
    wasm_call,
)

MEASURES: tuple[Measure, ...] = (
    *policy.MEASURES,
    *audited.MEASURES,
    *egress.MEASURES,
    *wasm_call.MEASURES,
    *rpc_call.MEASURES,
    *process_stack.MEASURES,
    *imports.MEASURES,
    *actors.MEASURES,
    *reload.MEASURES,
    *simulation.MEASURES,
    *leak.MEASURES,
)
