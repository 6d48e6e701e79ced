"""What the attacks in a sandbox said is a proof only where each was told of and held."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.sandbox_proof import (
    ATTACKS,
    END,
    MEMORY,
    AttackResult,
    SandboxProof,
    read_proof,
)

SOURCE = Path("sigil_actors/tiers/process/proof/attacks.c")


def said(**changed: str) -> str:
    """Return what the attacks say where all are held, but for what is changed, by name."""
    results = dict.fromkeys((*ATTACKS, END), "held") | changed
    return "".join(f"{name}\t{word}\tbecause\n" for name, word in results.items() if word)


def read(text: str, *, memory_ran_out: bool = False, was_killed: bool = False) -> SandboxProof:
    return read_proof(text, memory_ran_out=memory_ran_out, was_killed=was_killed)


def test_a_sandbox_in_which_every_attack_is_held_is_proven() -> None:
    assert read(said()).holds


def test_the_program_makes_exactly_the_attacks_that_are_asked_for() -> None:
    text = SOURCE.read_text()
    assert set(ATTACKS) == {
        *re.findall(r'"((?:files|network|processes|limits|identity|system calls): [^"%]+)"', text),
        *re.findall(r'"(namespaces: (?:unshare|clone)[^"%]+)"', text),
        *(
            f"namespaces: the host's own {kind}"
            for kind in ("user", "mnt", "pid", "net", "ipc", "uts")
        ),
    }


@pytest.mark.parametrize("name", ATTACKS)
def test_one_attack_that_gets_through_is_named(name: str) -> None:
    proof = read(said(**{name: "through"}))
    assert not proof.holds
    assert [failure.name for failure in proof.failures] == [name]


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_that_was_never_told_of_proves_nothing(name: str) -> None:
    proof = read(said(**{name: ""}))
    assert [(failure.name, failure.result) for failure in proof.failures] == [
        (name, AttackResult.MISSING)
    ]


def test_an_attack_with_nothing_to_attack_is_no_failure() -> None:
    proof = read(said(**{"network: a denied name by the proxy": "skipped"}))
    assert proof.holds
    assert proof.count(AttackResult.SKIPPED) == 1


def test_memory_is_bounded_where_the_kernel_ended_what_took_it() -> None:
    assert read(said(**{MEMORY: "started", END: ""}), memory_ran_out=True, was_killed=True).holds


def test_a_program_killed_by_somebody_else_proves_no_bound_on_memory() -> None:
    proof = read(said(**{MEMORY: "started", END: ""}), memory_ran_out=False, was_killed=True)
    assert [failure.name for failure in proof.failures] == [MEMORY]


def test_a_program_that_ends_while_it_takes_memory_proves_no_bound() -> None:
    proof = read(said(**{MEMORY: "started", END: ""}))
    assert [failure.name for failure in proof.failures] == [MEMORY]


def test_memory_that_could_be_taken_is_through_though_it_started_well() -> None:
    lines = said().replace(f"{MEMORY}\theld", f"{MEMORY}\tstarted\t\n{MEMORY}\tthrough")
    assert [failure.name for failure in read(lines).failures] == [MEMORY]


def test_the_worse_of_two_words_about_one_attack_counts() -> None:
    name = ATTACKS[0]
    for lines in (f"{name}\tthrough\t\n{said()}", f"{said()}{name}\tthrough\t\n"):
        assert [failure.name for failure in read(lines).failures] == [name]


@given(st.text())
def test_whatever_it_says_nothing_is_proven_but_by_every_attack_held(text: str) -> None:
    assert not read(text, memory_ran_out=True, was_killed=True).holds


def test_what_it_says_is_escaped() -> None:
    name = ATTACKS[0]
    proof = read(said().replace(f"{name}\theld\tbecause", f"{name}\theld\t\x1b[31mred"))
    assert "\x1b" not in proof.outcomes[0].what
