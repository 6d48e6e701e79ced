"""Bubblewrap's options, and the descriptors that they take."""

import attrs
import pytest

from sigil_actors.core.bwrap_args import (
    Slot,
    SlotPurpose,
    bwrap_command_line,
    bwrap_options,
    with_handshake,
)
from sigil_actors.core.host_facts import BUBBLEWRAP_MIN, Bubblewrap
from sigil_actors.core.sandbox_plan import SandboxPlan
from sigil_actors.core.seccomp import filter_for
from sigil_actors.errors import SandboxUnavailableError
from tests.core.bwrap_words import parsed
from tests.core.sandbox_cases import DEBIAN, manifest, plan

NEW = Bubblewrap(path="bwrap", version=(0, 11, 0), binds_by_descriptor=True)


def one_plan() -> SandboxPlan:
    return plan(manifest(write_allow=("/data",), read_allow=("/opt/venv",)))


def test_every_descriptor_says_what_it_is_for() -> None:
    slots = bwrap_options(one_plan(), NEW).slots()
    purposes = [slot.purpose for slot in slots]
    assert purposes.count(SlotPurpose.STATUS) == purposes.count(SlotPurpose.BLOCK) == 1
    contents = {slot.path: slot.content for slot in slots if slot.purpose is SlotPurpose.CONTENT}
    assert contents.keys() == {"/etc/passwd", "/etc/group", "/etc/hosts", "/etc/resolv.conf"}
    assert b"localhost" in contents["/etc/hosts"]
    [seccomp] = [slot for slot in slots if slot.purpose is SlotPurpose.SECCOMP]
    assert seccomp.content == filter_for("x86_64")
    assert len(set(slots)) == len(slots)


def test_a_block_of_options_has_the_descriptors_numbers() -> None:
    options = bwrap_options(one_plan(), NEW)
    numbers = {slot: at for at, slot in enumerate(options.slots(), start=40)}
    words = options.block(numbers).split(b"\0")
    folder = Slot(purpose=SlotPurpose.FOLDER, path="/data")
    at = words.index(b"--bind-fd")
    assert words[at : at + 3] == [b"--bind-fd", b"%d" % numbers[folder], b"/data"]


def test_a_descriptor_that_wasnt_opened_is_a_fault_of_ours() -> None:
    with pytest.raises(KeyError):
        bwrap_options(one_plan(), NEW).block({})


def test_a_word_with_a_nul_never_reaches_bubblewrap() -> None:
    options = bwrap_options(attrs.evolve(one_plan(), folder="/x\0--bind\0/\0/"), NEW)
    with pytest.raises(AssertionError, match="NUL"):
        options.block(dict.fromkeys(options.slots(), 3))


def test_a_name_that_isnt_utf8_reaches_it_byte_for_byte() -> None:
    options = bwrap_options(attrs.evolve(one_plan(), folder="/x\udcff"), NEW)
    assert b"--chdir\0/x\xff\0" in options.block(dict.fromkeys(options.slots(), 3))


def test_where_folders_are_bound_by_path_they_are_named_to_be_checked() -> None:
    old = attrs.evolve(NEW, binds_by_descriptor=False)
    options = bwrap_options(one_plan(), old)
    assert not [slot for slot in options.slots() if slot.purpose is SlotPurpose.FOLDER]
    assert {bind.target for bind in options.unpinned} >= {"/data", "/opt/venv"}
    assert not any("/proc/self/fd" in word for word in options.readable())


def test_an_architecture_without_a_filter_has_no_options() -> None:
    with pytest.raises(SandboxUnavailableError):
        bwrap_options(attrs.evolve(one_plan(), architecture="riscv64"), NEW)


def test_the_readable_form_shows_no_content() -> None:
    words = bwrap_options(one_plan(), NEW).readable()
    assert "<descriptor: content /etc/passwd>" in words
    assert not any("nologin" in word or "bin/false" in word for word in words)


@pytest.mark.parametrize(("version", "is_enough"), [((0, 7, 9), False), (BUBBLEWRAP_MIN, True)])
def test_an_old_bubblewrap_lacks_options(version: tuple[int, ...], is_enough: object) -> None:
    assert attrs.evolve(NEW, version=version).is_recent_enough is is_enough


def test_a_readable_line_is_completed_for_one_launch() -> None:
    line = bwrap_command_line(plan(manifest(), socket_dir=None), "bwrap")
    ready = with_handshake(line, environment={"COOKIE": "--bind"}, socket_dir="/run/s/1")
    options = parsed(ready[1:-2])
    at = options.index(("--bind", "/run/s/1", "/run/s/1"))
    assert at < options.index(("--remount-ro", "/"))
    assert options[-1] == ("--setenv", "COOKIE", "--bind")
    assert ready[-2:] == line[-2:]
    assert [words for words in options if words[1:2] not in (("/run/s/1",), ("COOKIE",))] == parsed(
        line[1:-2]
    )


@pytest.mark.parametrize(
    "line", [(), ("--",), ("bwrap", "--", "/x"), ("bwrap", "--remount-ro", "/", "/x")]
)
def test_another_line_is_not_completed(line: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="the command line"):
        with_handshake(line, environment={}, socket_dir="/run/s/1")


def test_the_facts_of_a_machine_cant_be_changed() -> None:
    with pytest.raises(TypeError):
        DEBIAN.root_entries["bin"] = None  # type: ignore[index]
