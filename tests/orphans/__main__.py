# ruff: noqa: T201 - it is a command, and this is its answer
"""`python -m tests.orphans [--rounds N] [--seed S]`: kill -9 at random moments; what stays?

Exit status 1 if a round found something: then what, and how to have it again.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from tests.go_programs import build
from tests.orphans.rounds import LeftBehindError, Tally, open_rounds

ROUNDS = 200
SEED_BITS = 32


async def run(program: Path, *, seed: int, first: int, count: int, tally: Tally) -> None:
    """Run rounds, and count them."""
    say = print if sys.stderr.isatty() or count == 1 else _ignore
    async with open_rounds(seed, program, lambda text: say(text, file=sys.stderr)) as rounds:
        rounds.tally = tally
        await rounds.run(first, count)


def _ignore(*_: object, **__: object) -> None:
    """Nobody watches."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program; returns its exit status."""
    parser = argparse.ArgumentParser(prog="make orphans")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how many ({ROUNDS})")
    parser.add_argument("--seed", type=int, help="a fresh one by default")
    parser.add_argument("--first", type=int, default=0, help="number of the first round (0)")
    parser.add_argument("--program", type=Path, help="the Go plugin; built by default")
    asked = parser.parse_args(arguments)
    seed = random.SystemRandom().getrandbits(SEED_BITS) if asked.seed is None else asked.seed
    tally, began = Tally(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sigil-go-") as folder:
        program = asked.program or build("plugin", Path(folder))
        try:
            trio.run(
                lambda: run(program, seed=seed, first=asked.first, count=asked.rounds, tally=tally)
            )
        except LeftBehindError as error:
            print(f"LEFT BEHIND: {error}")
            return 1
        finally:
            for name, count in sorted(tally.killed.items()):
                print(f"{count:>5} times killed: {name}")
            print(
                f"{tally.rounds} rounds of seed {seed} in {time.monotonic() - began:.0f} s;"
                f" {tally.swept} folders and groups swept by the next start"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
