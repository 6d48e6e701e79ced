"""How many seeds of the whole runtime's simulation run in a second, on one core."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.harness import BenchmarkError, Budget, Measure, Row, Side
from sigil_actors.testing import simulate
from tests.runtime.test_simulation import scenario

SEEDS = 200
BATCH = 20


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the warnings of plugins that fail on purpose away from the terminal."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _run(budget: Budget) -> Sequence[Row]:
    seeds = range(budget.of(SEEDS))
    ours = Side("seeds")
    with _quiet():
        for first in seeds[::BATCH]:
            batch = seeds[first : first + BATCH]
            start = time.perf_counter()
            for seed in batch:
                _simulate(seed)
            ours.values.append(len(batch) / (time.perf_counter() - start))
    return [
        Row(
            name="simulation",
            what=f"seeds of the whole runtime's simulation, {len(seeds)} of them, none fails",
            unit="seeds/s",
            ours=ours,
            notes={"seeds": len(seeds)},
        )
    ]


def _simulate(seed: int) -> None:
    try:
        simulate(seed, scenario)
    except Exception as error:
        raise BenchmarkError(
            f"the simulation fails for a seed. Again: make sim SEED={seed}"
        ) from error


MEASURES = (
    Measure(name="simulation", what=f"{SEEDS} seeds of the runtime's simulation", run=_run),
)
