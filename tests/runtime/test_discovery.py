"""Finding plugins in a folder, and the manager that knows them."""

import os
from pathlib import Path

import pytest

from sigil_actors import (
    CapabilityDeniedError,
    CapabilitySet,
    CheckRequest,
    MemoryAuditStore,
    PluginNotFoundError,
    PluginState,
    open_enforcer,
    open_runtime,
)
from sigil_actors.manager import open_manager
from sigil_actors.runtime.discovery import MANIFEST_BYTES_MAX, discover
from sigil_actors.testing.fake_tier import FakeTier
from tests.runtime.world import alice

GOOD = """\
name: NAME
version: 1.0.0
type: tool
capabilities: [tool.*]
execution: {tier: wasm}
"""


def put(folder: Path, name: str, text: str | bytes | None = None) -> Path:
    plugin = folder / name
    plugin.mkdir()
    content = GOOD.replace("NAME", name) if text is None else text
    (plugin / "plugin.yaml").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    return plugin


async def test_sound_manifests_are_found_and_the_others_reported(tmp_path: Path) -> None:
    put(tmp_path, "good")
    put(tmp_path, "broken", "name: Broken\nversion: 1.0\n")
    (tmp_path / "empty-folder").mkdir()
    (tmp_path / "a-file").write_text("not a plugin")
    found = await discover(tmp_path)
    assert [one.manifest.name for one in found.found] == ["good"]
    (problem,) = found.problems
    assert problem.file.endswith("broken/plugin.yaml")
    assert {(one.path, one.line) for one in problem.problems} >= {("name", 1), ("version", 2)}
    assert f"{problem.file}:1: name:" in problem.render()


async def test_a_missing_folder_is_empty_and_an_unreadable_one_a_problem(tmp_path: Path) -> None:
    assert (await discover(tmp_path / "missing")).problems == ()
    (tmp_path / "file").write_text("")
    (problem,) = (await discover(tmp_path / "file")).problems
    assert "can't be read" in problem.render()


async def test_two_plugins_of_one_name_are_both_refused(tmp_path: Path) -> None:
    put(tmp_path, "one", GOOD.replace("NAME", "twin"))
    put(tmp_path, "two", GOOD.replace("NAME", "twin"))
    put(tmp_path, "other")
    found = await discover(tmp_path)
    assert [one.manifest.name for one in found.found] == ["other"]
    assert {Path(problem.file).parent.name for problem in found.problems} == {"one", "two"}
    assert all("two plugins are named 'twin'" in one.render() for one in found.problems)


@pytest.mark.parametrize(
    "text",
    [
        b"\x00\x01\x02\xff" * 100,
        b"a" * (10 * 1024 * 1024),
        b"[" * 1000,
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(
            b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9))
            for n in range(9)
        ),
        b"",
    ],
    ids=["binary", "10 MiB", "deep", "exploding aliases", "empty"],
)
async def test_rubbish_is_one_reported_problem_and_the_rest_goes_on(
    tmp_path: Path, text: bytes
) -> None:
    put(tmp_path, "rubbish", text)
    put(tmp_path, "good")
    found = await discover(tmp_path)
    assert [one.manifest.name for one in found.found] == ["good"]
    (problem,) = found.problems
    assert problem.problems
    assert all(one.remedy for one in problem.problems)


async def test_only_a_bounded_piece_of_a_manifest_is_read(tmp_path: Path) -> None:
    plugin = put(tmp_path, "sparse")
    with (plugin / "plugin.yaml").open("r+b") as file:
        file.truncate(1 << 40)
    (problem,) = (await discover(tmp_path)).problems
    assert str(MANIFEST_BYTES_MAX // 1024) in problem.render()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
async def test_a_manifest_that_is_no_file_is_refused_without_waiting(
    tmp_path: Path, kind: str
) -> None:
    plugin = tmp_path / "odd"
    plugin.mkdir()
    file = plugin / "plugin.yaml"
    if kind == "link":
        (tmp_path / "elsewhere.yaml").write_text(GOOD.replace("NAME", "odd"))
        file.symlink_to(tmp_path / "elsewhere.yaml")
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        file.mkdir()
    found = await discover(tmp_path)
    assert found.found == ()
    assert "can't be read" in found.problems[0].render()


async def test_a_folder_whose_name_is_hostile_is_shown_escaped(tmp_path: Path) -> None:
    put(tmp_path, "evil\x1b[31m\nname", "name: 5")
    (problem,) = (await discover(tmp_path)).problems
    assert problem.file.isprintable()


async def test_what_depends_on_another_comes_after_it_and_what_lacks_one_is_refused(
    tmp_path: Path,
) -> None:
    put(tmp_path, "a", GOOD.replace("NAME", "a") + 'dependencies: {b: ">= 1.0.0"}\n')
    put(tmp_path, "b")
    put(tmp_path, "c", GOOD.replace("NAME", "c") + 'dependencies: {nobody: ">= 1.0.0"}\n')
    found = await discover(tmp_path)
    assert [one.manifest.name for one in found.found] == ["b", "a"]
    (problem,) = found.problems
    assert problem.plugin == "c"
    assert "nobody" in problem.render()


# The manager


async def test_the_manager_registers_what_it_finds_and_forgets_what_is_gone(
    tmp_path: Path,
) -> None:
    put(tmp_path, "zeta")
    gone = put(tmp_path, "alpha")
    everything = CapabilitySet("*")
    async with open_enforcer(MemoryAuditStore()) as enforcer:
        async with open_manager(tmp_path, enforcer) as manager:
            assert manager.list() == []
            manifests = await manager.discover()
            assert [one.name for one in manifests] == ["alpha", "zeta"]
            assert manager.list() == manifests
            assert manager.get("zeta").name == "zeta"
            with pytest.raises(PluginNotFoundError, match="alpha"):
                manager.get("alhpa")
            request = CheckRequest("alpha", "tool.x", "ws", everything, everything)
            await enforcer.check(request)
            (gone / "plugin.yaml").unlink()
            await manager.discover()
            with pytest.raises(CapabilityDeniedError, match="plugin_not_registered"):
                await enforcer.check(request)


async def test_a_managers_problems_are_those_of_its_last_look(tmp_path: Path) -> None:
    broken = put(tmp_path, "broken", "name: 5")
    async with open_enforcer(MemoryAuditStore()) as enforcer:
        async with open_manager(tmp_path, enforcer) as manager:
            assert await manager.discover() == []
            assert manager.problems
            (broken / "plugin.yaml").write_text(GOOD.replace("NAME", "mended"))
            assert [one.name for one in await manager.discover()] == ["mended"]
            assert not manager.problems


async def test_a_manager_of_a_missing_folder_is_empty(tmp_path: Path) -> None:
    async with open_enforcer(MemoryAuditStore()) as enforcer:
        async with open_manager(tmp_path / "missing", enforcer) as manager:
            assert await manager.discover() == []
            assert manager.problems == ()


# Together with the runtime


async def test_a_runtime_runs_what_the_folder_holds_and_reports_the_rest(tmp_path: Path) -> None:
    put(tmp_path, "good")
    put(tmp_path, "broken", "name: 5")
    async with open_runtime(tmp_path, audit_store=MemoryAuditStore(), tiers=[FakeTier()]) as (
        runtime
    ):
        await runtime.wait_until_running("good")
        assert [status.name for status in runtime.list()] == ["good"]
        assert len(runtime.problems) == 1
        assert await alice(runtime).execute_text("good", "echo") == "{}"


async def test_a_reload_reads_the_folder_again_and_a_bad_one_changes_nothing(
    tmp_path: Path,
) -> None:
    from sigil_actors import PluginStartError

    plugin = put(tmp_path, "good")
    async with open_runtime(tmp_path, audit_store=MemoryAuditStore(), tiers=[FakeTier()]) as (
        runtime
    ):
        await runtime.wait_until_running("good")
        text = (plugin / "plugin.yaml").read_text()
        (plugin / "plugin.yaml").write_text("name: 5")
        with pytest.raises(PluginStartError, match=r"plugin\.yaml:1"):
            await runtime.reload("good")
        assert runtime.get("good").state is PluginState.RUNNING
        (plugin / "plugin.yaml").write_text(text.replace("1.0.0", "1.1.0"))
        await runtime.reload("good")
        status = runtime.get("good")
        assert (status.version, status.generation) == ("1.1.0", 2)
