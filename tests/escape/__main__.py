# ruff: noqa: T201 - it is a command, and this is its answer
"""`python -m tests.escape [NAME or AREA...]`: attack the sandbox, and see each attack work without.

As root it runs everything twice, as root's plugin and as an ordinary user's.
"""

import argparse
import json
import os
import sys
from collections import Counter

import attrs
import trio

from tests.escape.ordinary_user import interpreter, run_as_ordinary_user
from tests.escape.suite import Outcome, attacks, run_attacks


def show(outcomes: tuple[Outcome, ...], whose: str) -> bool:
    """Print what came of them; tell whether none got through."""
    areas = Counter(outcome.area for outcome in outcomes)
    works = Counter(outcome.area for outcome in outcomes if outcome.bare)
    through = [outcome for outcome in outcomes if outcome.boxed]
    print(f"\n{whose}\n{'area':<12}{'attacks':>8}{'work without':>14}{'got through':>13}")
    for area, count in areas.items():
        escaped = sum(outcome.area == area for outcome in through)
        print(f"{area:<12}{count:>8}{works[area]:>14}{escaped:>13}")
    print(f"{'all':<12}{len(outcomes):>8}{works.total():>14}{len(through):>13}")
    for outcome in through:
        print(f"GOT THROUGH: {outcome.name}: {outcome.boxed}")
    return not through


def ignore(_: Outcome) -> None:
    """Nobody watches."""


def show_progress(_: Outcome) -> None:
    """Tell whoever watches that it goes on."""
    print(".", end="", file=sys.stderr, flush=True)


def main() -> int:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(prog="make escape")
    parser.add_argument("names", nargs="*", metavar="NAME", help="attacks or areas; all by default")
    parser.add_argument("--json", action="store_true", help="print the outcomes as JSON")
    parser.add_argument("--here", action="store_true", help="only as this process's own user")
    asked = parser.parse_args()
    try:
        chosen = attacks(asked.names)
    except LookupError as error:
        print(error, file=sys.stderr)
        return 2
    quiet = asked.json or not sys.stderr.isatty()
    outcomes = trio.run(run_attacks, chosen, ignore if quiet else show_progress)
    if asked.json:
        print(json.dumps([attrs.asdict(outcome) for outcome in outcomes]))
        return int(any(outcome.boxed for outcome in outcomes))
    is_root = os.geteuid() == 0
    fine = show(outcomes, "a host that is root" if is_root else "an ordinary user's host")
    if is_root and not asked.here:
        if interpreter() is None:
            print("\nan ordinary user's host: skipped, no Python that an ordinary user may start")
        else:
            fine &= show(run_as_ordinary_user(asked.names), "an ordinary user's host")
    return int(not fine)


if __name__ == "__main__":
    sys.exit(main())
