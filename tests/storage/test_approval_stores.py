"""What plugins were allowed: both stores keep their promise, and the file holds against damage."""

import errno
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
import trio

from sigil_actors.core.approvals import (
    APPROVED_MAX,
    PluginApprovals,
    with_accepted,
    with_approved,
)
from sigil_actors.core.authority import authority_of
from sigil_actors.core.manifest_yaml import parse_manifest
from sigil_actors.errors import ApprovalsUnavailableError, Fault
from sigil_actors.ports.approval_store import ApprovalStore
from sigil_actors.storage.approvals_file import FILE_BYTES_MAX, FileApprovalStore
from sigil_actors.storage.memory_approvals import MemoryApprovalStore
from sigil_actors.storage.state_folder import open_state_folder

MANIFEST = """\
name: p
version: 1.0.0
type: tool
capabilities: [tool.*, "filesystem.read./data/\u00fc/*"]
execution: {tier: process, env: {A: hunter2}, sandbox: {network: {allow: ["a.example:443"]}}}
"""


def sha(number: int) -> str:
    return f"{number:064x}"


def example(approved: int = 1) -> PluginApprovals:
    approvals = with_accepted(
        PluginApprovals(), authority_of(parse_manifest(MANIFEST)), "1.0.0", sha(1)
    )
    for number in range(approved):
        approvals = with_approved(approvals, sha(number))
    return approvals


class ApprovalStoreContract:
    """What every approval store promises; the class that inherits brings the fixture `store`."""

    async def test_a_plugin_that_nothing_is_known_of_has_an_empty_record(
        self, store: ApprovalStore
    ) -> None:
        assert await store.read("p") == PluginApprovals()

    async def test_what_was_written_is_read_and_takes_the_place_of_what_was_there(
        self, store: ApprovalStore
    ) -> None:
        await store.write("p", example())
        assert await store.read("p") == example()
        await store.write("p", example(APPROVED_MAX))
        assert await store.read("p") == example(APPROVED_MAX)
        await store.write("p", PluginApprovals())
        assert await store.read("p") == PluginApprovals()

    async def test_plugins_have_their_own_records(self, store: ApprovalStore) -> None:
        names = ["p", "p.json", "p-1", "0_x.tmp", "a" * 64]
        for number, name in enumerate(names):
            await store.write(name, example(number))
        for number, name in enumerate(names):
            assert await store.read(name) == example(number)

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "..",
            "../p",
            "/p",
            "a/b",
            ".p.tmp",
            "P",
            "p\n",
            "p\0",
            "a" * 65,
            "\u00e9",
            "a\x1b",
        ],
    )
    async def test_a_name_that_is_no_plugins_is_refused(
        self, store: ApprovalStore, name: str
    ) -> None:
        with pytest.raises(ApprovalsUnavailableError, match="can't be the name") as caught:
            await store.read(name)
        assert str(caught.value).isprintable()
        with pytest.raises(ApprovalsUnavailableError, match="can't be the name"):
            await store.write(name, example())

    async def test_a_write_that_is_cancelled_before_it_begins_keeps_nothing(
        self, store: ApprovalStore
    ) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.write("p", example())
        assert scope.cancelled_caught
        assert await store.read("p") == PluginApprovals()

    async def test_many_at_once_dont_mix(self, store: ApprovalStore) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(store.write, f"p{number % 3}", example(number % 3))
        for number in range(3):
            assert await store.read(f"p{number}") == example(number)


class TestMemoryApprovalStore(ApprovalStoreContract):
    @pytest.fixture
    def store(self) -> ApprovalStore:
        return MemoryApprovalStore()


class TestFileApprovalStore(ApprovalStoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> ApprovalStore:
        return FileApprovalStore(tmp_path / "approvals")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "approvals"


async def test_a_later_store_reads_what_an_earlier_one_wrote(folder: Path) -> None:
    await FileApprovalStore(folder).write("p", example())
    assert await FileApprovalStore(folder).read("p") == example()


async def test_only_its_user_can_read_it_and_no_secret_is_in_it(folder: Path) -> None:
    before = os.umask(0)
    try:
        await FileApprovalStore(folder).write("p", example())
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "p.json").stat().st_mode) == 0o600
    assert b"hunter2" not in (folder / "p.json").read_bytes()
    assert [path.name for path in folder.iterdir()] == ["p.json"]


async def test_reading_makes_nothing(folder: Path) -> None:
    await FileApprovalStore(folder).read("p")
    assert not folder.exists()


Damage = Callable[[Path], object]


def changed(**changes: object) -> Damage:
    def change(file: Path) -> None:
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))

    return change


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def made_twice(file: Path) -> None:
    file.write_text(file.read_text().replace('"format": 1,', '"format": 1, "format": 1,'))


def link(file: Path) -> None:
    file.rename(file.with_name("other"))
    file.symlink_to("other")


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def folder_instead(file: Path) -> None:
    file.unlink()
    file.mkdir(mode=0o700)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_bytes(b""), "holds no JSON"),
        (lambda file: file.write_bytes(b"\xff\x00" * 100), "holds no JSON"),
        (lambda file: file.write_bytes(b"[" * 1_000_000), "holds no JSON"),
        (lambda file: file.write_bytes(b'{"format": ' + b"9" * 10_000 + b"}"), "holds no JSON"),
        (lambda file: file.write_bytes(b"{}"), "no object with just"),
        (lambda file: file.write_bytes(b"[]"), "no object with just"),
        (cut, "holds no JSON"),
        (made_twice, "a key twice"),
        (changed(format=2), "another format"),
        (changed(plugin="q"), "another plugin's"),
        (changed(more=1), "no object with just"),
        (changed(approvals={}), "no object with just"),
        (changed(approvals=None), "no object with just"),
        (lambda file: os.truncate(file, FILE_BYTES_MAX + 1), "more than"),
        (link, "Too many levels|symbolic link"),
        (pipe, "not a regular file"),
        (folder_instead, "not a regular file"),
        (lambda file: file.chmod(0o620), "others may write it"),
        (lambda file: file.chmod(0o602), "others may write it"),
        (lambda file: file.parent.chmod(0o770), "its folder"),
        (lambda file: file.parent.chmod(0o702), "its folder"),
    ],
)
async def test_a_record_that_isnt_what_was_written_is_an_error_and_never_empty(
    folder: Path, damage: Damage, said: str
) -> None:
    store = FileApprovalStore(folder)
    await store.write("p", example())
    await store.write("q", example())
    damage(folder / "p.json")
    descriptors = len(os.listdir("/dev/fd"))  # noqa: PTH208
    with pytest.raises(ApprovalsUnavailableError, match=said) as caught:
        await store.read("p")
    assert caught.value.fault is Fault.OPERATOR
    assert caught.value.remedy
    assert "p.json" in str(caught.value)
    assert len(os.listdir("/dev/fd")) == descriptors  # noqa: PTH208
    if folder.stat().st_mode & 0o022 == 0:
        assert await store.read("q") == example()


async def test_what_belongs_to_another_user_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileApprovalStore(folder)
    await store.write("p", example())
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ApprovalsUnavailableError, match="another user"):
        await store.read("p")
    with pytest.raises(ApprovalsUnavailableError, match="another user"):
        await store.write("p", example())


async def test_a_folder_that_is_a_link_is_an_error(folder: Path, tmp_path: Path) -> None:
    await FileApprovalStore(tmp_path / "elsewhere").write("p", example())
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ApprovalsUnavailableError, match="can't be read"):
        await FileApprovalStore(folder).read("p")
    with pytest.raises(ApprovalsUnavailableError, match="can't be written"):
        await FileApprovalStore(folder).write("p", PluginApprovals())
    assert await FileApprovalStore(tmp_path / "elsewhere").read("p") == example()


async def test_a_folder_that_cant_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ApprovalsUnavailableError, match="can't be written"):
        await FileApprovalStore(tmp_path / "no" / "state").write("p", example())


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
async def test_a_write_that_fails_leaves_the_record_from_before_and_nothing_else(
    folder: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = FileApprovalStore(folder)
    await store.write("p", example())
    real = os.open

    def fail(*args: object, **kwargs: object) -> int:
        if step == "open" and not str(args[0]).endswith(".tmp"):
            return real(*args, **kwargs)  # type: ignore[arg-type]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises(ApprovalsUnavailableError, match="No space left"):
            await store.write("p", example(5))
    assert await store.read("p") == example()
    assert [path.name for path in folder.iterdir()] == ["p.json"]


async def test_each_write_is_synced_before_it_takes_the_place_and_the_folder_after(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        mode = os.fstat(descriptor).st_mode
        steps.append("sync folder" if stat.S_ISDIR(mode) else "sync file")
        real_fsync(descriptor)

    def replace(*args: object, **kwargs: object) -> None:
        steps.append("replace")
        real_replace(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    await FileApprovalStore(folder).write("p", example())
    assert steps == ["sync folder", "sync file", "replace", "sync folder"]


@pytest.mark.parametrize("kind", ["file", "link"])
async def test_what_a_killed_write_left_behind_is_in_nobodys_way(folder: Path, kind: str) -> None:
    store = FileApprovalStore(folder)
    await store.write("p", example())
    left = folder / ".p.tmp"
    target = folder.parent / "target"
    if kind == "file":
        left.write_text("half a rec")
    else:
        target.write_text("not ours to change")
        left.symlink_to(target)
    await store.write("p", example(2))
    assert await store.read("p") == example(2)
    assert not left.is_symlink()
    assert not left.exists()
    assert kind == "file" or target.read_text() == "not ours to change"


async def test_a_record_that_could_not_be_read_back_is_not_written(folder: Path) -> None:
    store = FileApprovalStore(folder)
    await store.write("p", example())
    huge = attrs.evolve(example(), accepted={"capabilities": "x" * FILE_BYTES_MAX})
    with pytest.raises(ApprovalsUnavailableError, match="more than"):
        await store.write("p", huge)
    assert await store.read("p") == example()


async def test_a_state_folder_has_a_place_for_it_unless_nothing_is_kept(tmp_path: Path) -> None:
    async with open_state_folder(tmp_path / "state") as state:
        assert state.approvals == tmp_path / "state" / "approvals"
    async with open_state_folder(None) as state:
        assert state.approvals is None
