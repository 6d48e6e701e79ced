"""Runs the simulations of the kit and of the whole runtime for many seeds, on several cores.

`python -m tests.simulations --seeds 10000 --jobs 2`, or `make sim SEEDS=10000`. Seeds are split
over processes, each a pytest of its own with fresh seeds; the first that fails ends it all, and its
last lines say how to have that seed again.
"""

import argparse
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio

from sigil_actors.core.wording import counted

ROOT = Path(__file__).resolve().parents[1]

SIMULATIONS = ("tests/actors/test_simulation.py", "tests/runtime/test_simulation.py")
"""Where they are. One that isn't there yet is left out."""

PORTION = 500
"""Seeds of one process: some ten seconds of work for one of starting pytest, and of progress."""

_AGAIN = re.compile(r"Again: (pytest .*--sigil-seed=\d+)")


@attrs.frozen
class Portion:
    """What one process found."""

    seeds: int
    """How many it was to run."""
    passed: bool
    output: str
    """What pytest said."""

    @property
    def replays(self) -> tuple[str, ...]:
        """Return the commands that run the failing seeds again."""
        return tuple(dict.fromkeys(_AGAIN.findall(self.output)))


async def run_portion(root: Path, seeds: int, *, seed: int | None = None) -> Portion:
    """Run every simulation of the checkout at `root` for so many fresh seeds, or for one `seed`."""
    chosen = f"--sigil-seeds={seeds}" if seed is None else f"--sigil-seed={seed}"
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"),
        *("-m", "sigil_simulation", chosen, "--rootdir", str(root)),
        *(path for path in SIMULATIONS if (root / path).exists()),
    ]
    run = await trio.run_process(
        ["bash", "-c", 'exec "$@" 2>&1', "-", *command],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},  # this folder's package, not the installed one
        capture_stdout=True,
        check=False,
    )
    return Portion(seeds, run.returncode == 0, run.stdout.decode(errors="replace"))


async def simulate(*, seeds: int, jobs: int, root: Path = ROOT) -> bool:
    """Run all simulations for `seeds` fresh seeds, `jobs` processes at a time; tell how it goes.

    Returns whether every seed passed.
    """
    began = time.monotonic()
    size = max(1, min(PORTION, -(-seeds // jobs)))
    todo = [min(size, seeds - start) for start in range(0, seeds, size)]
    done = 0
    failed: list[Portion] = []

    async def work(nursery: trio.Nursery) -> None:
        nonlocal done
        while todo:
            portion = await run_portion(root, todo.pop())
            if not portion.passed:
                failed.append(portion)
                nursery.cancel_scope.cancel()
                return
            done += portion.seeds
            took_s = time.monotonic() - began
            say(f"{done} of {seeds} seeds, {took_s:.0f} s, {done / took_s:.1f} seeds/s")

    async with trio.open_nursery() as nursery:
        for _ in range(jobs):
            nursery.start_soon(work, nursery)
    for portion in failed[:1]:
        tell_failure(portion)
    if not failed:
        say(f"OK: {done} of {counted(seeds, 'seed')} held every invariant")
    return not failed


def tell_failure(portion: Portion) -> None:
    """Show what failed, and last how to have it again."""
    say(portion.output)
    for command in portion.replays:
        say(f"FAILED. Again: {command}")


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)  # noqa: T201 - a program's output


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program; returns its exit status."""
    parser = argparse.ArgumentParser(description="Run the simulations.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many fresh ones (1000)")
    parser.add_argument("--seed", type=int, help="this one only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    chosen = parser.parse_args(arguments)
    if chosen.seeds < 1 or chosen.jobs < 1:
        parser.error("--seeds and --jobs are at least 1")
    if chosen.seed is not None:
        portion = trio.run(lambda: run_portion(ROOT, 1, seed=chosen.seed))
        if portion.passed:
            say(portion.output)
            say(f"OK: seed {chosen.seed} held every invariant")
        else:
            tell_failure(portion)
        return 0 if portion.passed else 1
    return 0 if trio.run(lambda: simulate(seeds=chosen.seeds, jobs=chosen.jobs)) else 1


if __name__ == "__main__":
    sys.exit(main())
