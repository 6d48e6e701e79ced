"""In which order plugins start, and who can't."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.dependencies import order_by_dependencies
from sigil_actors.core.execution import PluginType, WasmExecution
from sigil_actors.core.manifest import Manifest


def manifest(name: str, dependencies: dict[str, str], version: str = "1.0.0") -> Manifest:
    return Manifest(
        name=name,
        version=version,
        type=PluginType.TOOL,
        execution=WasmExecution(),
        dependencies=dependencies,
    )


def order(*manifests: Manifest) -> tuple[list[str], dict[str, str]]:
    ordered, problems = order_by_dependencies(manifests)
    return [each.name for each in ordered], dict(problems)


def test_dependencies_come_first_and_the_rest_goes_by_name() -> None:
    assert order(
        manifest("d", {"c": "*"}),
        manifest("b", {}),
        manifest("a", {"d": ">=1.0.0", "c": "^1"}),
        manifest("c", {}),
    ) == (["b", "c", "d", "a"], {})


def test_nothing_has_an_order_too() -> None:
    assert order() == ([], {})


def test_a_missing_dependency_keeps_all_from_starting_that_build_on_it() -> None:
    assert order(
        manifest("a", {"nope": "*"}),
        manifest("b", {"a": "*"}),
        manifest("c", {"b": "*", "d": "*"}),
        manifest("d", {}),
    ) == (
        ["d"],
        {
            "a": "depends on 'nope', which isn't there",
            "b": "depends on 'a', which can't start itself",
            "c": "depends on 'b', which can't start itself",
        },
    )


def test_a_version_out_of_range_names_range_and_version() -> None:
    assert order(manifest("a", {"b": ">= 2.0.0"}), manifest("b", {}, "1.9.0")) == (
        ["b"],
        {"a": "depends on 'b' '>= 2.0.0', but that is '1.9.0'"},
    )


def test_a_range_that_is_none_is_a_problem_and_no_exception() -> None:
    _, problems = order(manifest("a", {"b": "latest"}), manifest("b", {}))
    assert problems == {"a": "depends on 'b' 'latest', which is no range of versions, at 'latest'"}


def test_a_cycle_is_drawn_for_each_in_it_and_for_who_waits_for_it() -> None:
    ordered, problems = order(
        manifest("a", {"b": "*"}),
        manifest("b", {"c": "*"}),
        manifest("c", {"b": "*"}),
        manifest("d", {"a": "*", "e": "*"}),
        manifest("e", {}),
        manifest("f", {"f": "*"}),
    )
    assert ordered == ["e"]
    assert problems == {
        "a": "depends on a cycle: b → c → b",
        "b": "depends on itself by way of others: b → c → b",
        "c": "depends on itself by way of others: b → c → b",
        "d": "depends on a cycle: b → c → b",
        "f": "depends on itself: f → f",
    }


def test_a_long_cycle_is_cut_short() -> None:
    count = 2_000  # deeper than the interpreter's stack
    ring = [manifest(f"p{i:04}", {f"p{(i + 1) % count:04}": "*"}) for i in range(count)]
    ordered, problems = order(*ring)
    assert ordered == []
    assert len(problems) == count
    assert problems["p0000"].endswith("p0007 → … → p0000")


def test_a_long_chain_has_an_order() -> None:
    count = 2_000
    chain = [
        manifest(f"p{i:04}", {f"p{i + 1:04}": "*"} if i < count - 1 else {}) for i in range(count)
    ]
    ordered, _ = order(*chain)
    assert ordered == [f"p{i:04}" for i in reversed(range(count))]


names = st.sampled_from("abcdefg")
graphs = st.dictionaries(names, st.sets(names, max_size=3), max_size=7)


@given(graphs, st.randoms())
def test_every_plugin_is_ordered_after_its_dependencies_or_has_a_problem(
    graph: dict[str, set[str]],
    random: Random,
) -> None:
    manifests = [manifest(name, dict.fromkeys(wanted, "*")) for name, wanted in graph.items()]
    ordered, problems = order(*manifests)
    assert sorted([*ordered, *problems]) == sorted(graph)
    for index, name in enumerate(ordered):
        assert graph[name] <= set(ordered[:index])
    random.shuffle(manifests)
    assert order(*manifests) == (ordered, problems)


@pytest.mark.parametrize("count", [8, 9])
def test_a_cycle_of_eight_is_drawn_in_full(count: int) -> None:
    ring = [manifest(f"p{i}", {f"p{(i + 1) % count}": "*"}) for i in range(count)]
    _, problems = order(*ring)
    assert ("…" in problems["p0"]) == (count > 8)
