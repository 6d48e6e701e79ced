"""The states of an instance: every pair of them against the specification's table."""

from itertools import product

import pytest

from sigil_actors.core.lifecycle import (
    TRANSITIONS,
    PluginInstance,
    PluginState,
    valid_transition,
)
from sigil_actors.errors import InvalidTransitionError

# Written out from the specification, in words, so that it can't follow a mistake in the code.
ALLOWED = {
    ("discovered", "validating"),
    ("validating", "loading"),
    ("validating", "error"),
    ("loading", "running"),
    ("loading", "error"),
    ("running", "draining"),
    ("running", "error"),
    ("draining", "stopping"),
    ("draining", "error"),
    ("stopping", "stopped"),
    ("stopping", "error"),
}
FINAL = {"stopped", "error"}
WORDS = {
    "discovered",
    "validating",
    "loading",
    "running",
    "draining",
    "stopping",
    "stopped",
    "error",
}

PAIRS = list(product(PluginState, repeat=2))


def test_the_states_are_the_words_of_the_specification() -> None:
    assert {state.value for state in PluginState} == WORDS
    assert set(TRANSITIONS) == set(PluginState)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_step_is_taken_just_when_the_table_has_it(
    source: PluginState, target: PluginState
) -> None:
    allowed = (source.value, target.value) in ALLOWED
    instance = PluginInstance("echo", state=source)
    assert valid_transition(source, target) is allowed
    if allowed:
        instance.transition_to(target)
        assert instance.state is target
        return
    with pytest.raises(InvalidTransitionError) as refused:
        instance.transition_to(target)
    assert instance.state is source
    assert refused.value.plugin == "echo"
    assert (refused.value.source, refused.value.target) == (source, target)
    assert f"from {source.value} to {target.value}" in str(refused.value)


@pytest.mark.parametrize("state", PluginState)
def test_the_final_states_are_stopped_and_error(state: PluginState) -> None:
    assert PluginInstance("echo", state=state).is_final is (state.value in FINAL)


def test_an_instance_starts_discovered_in_the_first_generation() -> None:
    instance = PluginInstance("echo")
    assert instance.state is PluginState.DISCOVERED
    assert instance.generation == 1


def test_every_state_but_the_first_can_be_reached_and_none_is_a_trap() -> None:
    reached = {PluginState.DISCOVERED}
    for _ in PluginState:
        reached |= {target for source in reached for target in TRANSITIONS[source]}
    assert reached == set(PluginState)
    for state in set(PluginState) - {PluginState.DISCOVERED}:
        assert (
            PluginInstance("echo", state=state).is_final
            or PluginState.ERROR in (TRANSITIONS[state])
        )


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[PluginState.STOPPED] = frozenset(PluginState)  # type: ignore[index]
