"""What a fuzzer is and what it says at its end. A fuzzer is a module of this package."""

import time
from collections.abc import Callable
from random import Random
from typing import Protocol

import attrs

FINDINGS_SHOWN = 5
"""Of one fuzzer: more of them are mostly the first one again."""


@attrs.frozen(kw_only=True)
class FuzzReport:
    """What a run of one fuzzer came to."""

    name: str
    cases: int
    seed: int
    seconds: float
    findings: tuple[str, ...] = ()
    """Each tells what was found and the seed of its case."""
    counts: tuple[tuple[str, int], ...] = ()
    """What the cases were made of, so that a fuzzer that hits nothing is noticed."""

    def text(self) -> str:
        """Return the report as lines for a terminal."""
        lines = [
            f"{self.name:16} {self.cases:9} cases {self.seconds:8.1f} s  "
            f"{len(self.findings)} findings  (seed {self.seed})"
        ]
        lines += [f"    {count:9} {what}" for what, count in self.counts]
        lines += [f"  FOUND {finding}" for finding in self.findings[:FINDINGS_SHOWN]]
        if len(self.findings) > FINDINGS_SHOWN:
            lines.append(f"  and {len(self.findings) - FINDINGS_SHOWN} more")
        return "\n".join(lines)


class Fuzzer(Protocol):
    """What a module of this package offers to be run by `python -m tests.fuzz`."""

    NAME: str

    def run(self, cases: int, seed: int) -> FuzzReport:
        """Run so many cases, the first with `seed` and each other with the next number.

        So a finding of the seed 1234 is had again by `--cases 1 --seed 1234`.
        """


def run_cases(
    name: str,
    cases: int,
    seed: int,
    case: Callable[[Random], None],
    *,
    counts: Callable[[], dict[str, int]] = dict,
) -> FuzzReport:
    """Run `case` with one generator of random numbers each; whatever it raises is a finding."""
    began = time.monotonic()
    findings = []
    for case_seed in range(seed, seed + cases):
        try:
            case(Random(case_seed))
        except Exception as error:  # noqa: BLE001 - each is what a fuzzer is for
            findings.append(f"{name} --cases 1 --seed {case_seed}: {_told(error)}")
    return FuzzReport(
        name=name,
        cases=cases,
        seed=seed,
        seconds=time.monotonic() - began,
        findings=tuple(findings),
        counts=tuple(sorted(counts().items())),
    )


def _told(error: Exception) -> str:
    place = ""
    traceback = error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        place = f"{code.co_filename.rpartition('/')[2]}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return f"{type(error).__name__} at {place}: {str(error)[:400]}"
