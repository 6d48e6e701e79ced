"""Every measure runs and gives whole rows. What the figures are is the benchmarks' own business."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.harness import (
    TINY,
    Compared,
    Goal,
    Measure,
    Row,
    Side,
    in_turn,
    ours_at_most,
    ratio_at_least,
    ratio_at_most,
)
from benchmarks.measures import MEASURES
from benchmarks.report import as_json, table_of

Require = Callable[[str], None]


@pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: measure.name)
def test_a_measure_gives_whole_rows(measure: Measure, require: Require) -> None:
    for peer in measure.peers:
        require(peer)
    rows = measure.run(TINY)
    assert rows
    for row in rows:
        assert row.name.partition("/")[0] == measure.name
        assert all(math.isfinite(value) for value in row.ours.values)
        assert (row.met is None) is (row.goal is None)
        if row.reference is not None:
            assert row.compared is not None
            assert len(row.reference.values) == len(row.ours.values)
    written = json.loads(json.dumps(as_json(rows, {})))
    fields = {"name", "unit", "ours", "reference", "ratio", "goal", "met"}
    assert all(fields <= row.keys() for row in written["rows"])
    assert table_of(rows).row_count == len(rows)


def test_measures_have_names_of_their_own() -> None:
    names = [measure.name for measure in MEASURES]
    assert len(set(names)) == len(names)


def test_sides_take_turns_from_both_ends() -> None:
    ours, reference = Side("ours"), Side("reference")
    assert [side.name for side in in_turn(2, ours, reference)] == [
        "ours",
        "reference",
        "reference",
        "ours",
    ]


def row(compared: Compared, **more: Any) -> Row:
    return Row(
        name="some",
        what="",
        unit="µs",
        ours=Side("ours", [1.0, 2.0, 50.0]),
        reference=Side("reference", [10.0, 20.0, 25.0]),
        compared=compared,
        **more,
    )


def test_a_ratio_is_taken_round_by_round_in_its_own_direction() -> None:
    assert row(Compared.FASTER).ratios == [10, 10, 0.5]
    assert row(Compared.RATE).ratios == row(Compared.COST).ratios == [0.1, 0.1, 2]
    assert row(Compared.FASTER).ratio == 10


@pytest.mark.parametrize(
    ("goal", "met", "text"),
    [
        (ratio_at_least(10), True, ">= 10x"),
        (ratio_at_least(11), False, ">= 11x"),
        (ratio_at_most(9), False, "<= 9x"),
        (ours_at_most(2), True, "<= 2 µs"),
        (ours_at_most(1.9), False, "<= 1.9 µs"),
    ],
)
def test_a_goal_is_held_against_the_median(goal: Goal, met: bool, text: str) -> None:  # noqa: FBT001
    judged = row(Compared.FASTER, goal=goal)
    assert judged.met is met
    assert judged.goal_text == text
    assert row(Compared.FASTER).met is None
