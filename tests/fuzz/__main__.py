"""Throws bytes at every parser of strangers' bytes: `make fuzz [ONLY=NAME] [CASES=N] [SEED=K]`.

Or `python -m tests.fuzz [NAME...] [--cases N] [--seed K]`. Each module of this package that has a
`NAME` and a `run` is a fuzzer (see `report.py`). Exit status 1 if any found something.
"""

import argparse
import importlib
import pkgutil
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from tests.fuzz.report import Fuzzer

CASES = 2000
"""A few seconds for each fuzzer."""

SEED_BITS = 32


def fuzzers() -> Mapping[str, Fuzzer]:
    """Return the fuzzers of this package, by name."""
    found: dict[str, Fuzzer] = {}
    for module_info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module_info.name.startswith(("_", "test_")):
            continue
        module = importlib.import_module(f"tests.fuzz.{module_info.name}")
        if hasattr(module, "NAME") and hasattr(module, "run"):
            fuzzer = cast("Fuzzer", module)
            found[fuzzer.NAME] = fuzzer
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program; returns its exit status."""
    known = fuzzers()
    parser = argparse.ArgumentParser(description="Fuzz the parsers of strangers' bytes.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(sorted(known))}")
    parser.add_argument("--cases", type=int, default=CASES, help=f"for each ({CASES})")
    parser.add_argument("--seed", type=int, help="of the first case; a fresh one each time")
    chosen = parser.parse_args(arguments)
    if unknown := sorted(set(chosen.names) - known.keys()):
        parser.error(f"no fuzzer is named {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    seed = random.SystemRandom().getrandbits(SEED_BITS) if chosen.seed is None else chosen.seed
    reports = []
    for name in chosen.names or sorted(known):
        report = known[name].run(chosen.cases, seed)
        sys.stdout.write(report.text() + "\n")
        sys.stdout.flush()
        reports.append(report)
    cases = sum(report.cases for report in reports)
    findings = sum(len(report.findings) for report in reports)
    sys.stdout.write(f"{len(reports)} fuzzers, {cases} cases, {findings} findings\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
