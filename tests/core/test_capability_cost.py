"""Hostile patterns stay linear. Steps are counted, since clocks lie on busy machines.

A step is a line of the matcher. Apart from lines it spends time in `str.find` and its kin, and
each of those costs at most its piece of the pattern times the segment.
"""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from sigil_actors.core import capability as module
from sigil_actors.core.capability import LENGTH_MAX, CapabilitySet, match_capability


def count_steps(ask: Callable[[], object]) -> int:
    steps = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal steps
        if frame.f_code.co_filename != module.__file__:
            return None
        steps += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        ask()
    finally:
        sys.settrace(before)
    return steps


def in_segment(size: int) -> tuple[str, str]:
    return "a*" * size + "b", "a" * 2 * size


def literal_pieces(size: int) -> tuple[str, str]:
    return "*" + "aab*" * (size // 2) + "c", "a" * 2 * size


def in_path(size: int) -> tuple[str, str]:
    return "f./" + "*a" * size + "b", "f./" + "a" * 2 * size


def in_both(size: int) -> tuple[str, str]:
    segment = "a*" * (size // 16)
    return ".".join(["*", f"{segment}b"] * 8), ".".join(["a" * (size // 16)] * 31 + ["b"])


HOSTILE = [in_segment, literal_pieces, in_path, in_both]


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("size", [64, 256, 500])
def test_a_match_takes_no_more_steps_than_pattern_times_capability(
    hostile: Callable[[int], tuple[str, str]], size: int
) -> None:
    pattern, capability = hostile(size)
    bound = len(pattern) * len(capability)
    assert count_steps(lambda: match_capability(pattern, capability)) <= bound
    patterns = CapabilitySet(pattern)
    assert count_steps(lambda: patterns.contains(capability)) <= bound
    assert count_steps(lambda: patterns.covers(pattern)) <= len(pattern) ** 2


@pytest.mark.parametrize("hostile", HOSTILE)
def test_twice_the_size_takes_four_times_the_steps_at_most(
    hostile: Callable[[int], tuple[str, str]],
) -> None:
    small, large = (
        count_steps(lambda size=size: match_capability(*hostile(size)))  # type: ignore[misc]
        for size in (250, 500)
    )
    assert small > 0
    assert large <= 4.2 * small


@pytest.mark.parametrize("stars", [5, 15, 30])
def test_many_whole_stars_compare_each_pair_of_segments_once(stars: int) -> None:
    pattern = "*." * stars + "z"
    capability = ".".join(["a"] * 32)
    steps = count_steps(lambda: match_capability(pattern, capability))
    assert steps <= 20 * (stars + 1) * 32


def test_a_set_looks_at_a_long_path_once() -> None:
    patterns = CapabilitySet("f./a/*")
    path = "f." + "/b" * ((LENGTH_MAX - 2) // 2)
    assert count_steps(lambda: patterns.contains(path)) < 150
