"""The command line that is made without a look at the machine."""

import os
from pathlib import Path

import pytest

from sigil_actors.core.execution import (
    ContainerExecution,
    Execution,
    PluginType,
    ProcessExecution,
    RegisteredExecution,
    WasmExecution,
)
from sigil_actors.core.manifest import Manifest
from sigil_actors.errors import SandboxRequestError, SandboxUnavailableError
from sigil_actors.sandbox import generate_args
from tests.core.bwrap_words import parsed
from tests.core.sandbox_cases import manifest

BINARY = "/opt/plugins/echo/echo"


def plugin(execution: Execution) -> Manifest:
    return Manifest(name="echo", version="1.0.0", type=PluginType.TOOL, execution=execution)


def linux(one: Manifest, binary: str | Path = BINARY) -> list[str]:
    arguments = generate_args(one, binary, platform="linux")
    assert arguments is not None
    return arguments


def test_on_linux_it_is_bubblewrap_and_ends_in_the_binary() -> None:
    arguments = linux(manifest())
    assert Path(arguments[0]).name == "bwrap"
    assert arguments[-2:] == ["--", BINARY]
    options = parsed(arguments[1:-2])
    assert ("--ro-bind", "/usr", "/usr") in options
    assert ("--ro-bind", BINARY, BINARY) in options
    assert ("--unshare-net",) in options


def test_where_no_bubblewrap_is_found_its_name_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert linux(manifest())[0] == "bwrap"


def test_it_is_made_without_touching_the_machines_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: "/b/bwrap")

    def touched(*_arguments: object, **_named: object) -> None:
        raise AssertionError

    one = manifest(write_allow=("/data/self",), read_deny=("/etc/shadow", "/data/echo/x"))
    for name in ("stat", "lstat", "open", "readlink", "listdir", "scandir"):
        monkeypatch.setattr(os, name, touched)
    monkeypatch.setattr("builtins.open", touched)
    monkeypatch.setenv("HOME", "/home/somebody")
    arguments = generate_args(one, BINARY, platform="linux")
    monkeypatch.undo()
    assert arguments is not None
    assert arguments[0] == "/b/bwrap"


def test_on_macos_it_is_sandbox_exec() -> None:
    arguments = generate_args(manifest(write_allow=("/opt/data",)), BINARY, platform="darwin")
    assert arguments is not None
    assert arguments[0] == "sandbox-exec"
    assert arguments[-2:] == ["--", BINARY]
    assert "(deny default)" in arguments[-3]


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize("execution", [WasmExecution(), ContainerExecution(image="x")])
def test_other_tiers_need_none(execution: Execution, platform: str) -> None:
    assert generate_args(plugin(execution), BINARY, platform=platform) is None
    assert generate_args(plugin(execution), "", platform=platform) is None


def test_a_tier_of_the_host_isolates_itself() -> None:
    with pytest.raises(SandboxRequestError, match=r"execution\.tier"):
        generate_args(plugin(RegisteredExecution(tier="vm")), BINARY)


@pytest.mark.parametrize(
    "binary",
    ["", "/", "-x", "--bind", "../x", "/a/../b", "/a\nb", "/a\0b", "/a\x1bb", "~other/x", "/opt/",
     "/proc/self/exe", "/dev/fd/3", "/sys/x", "/a\udc80"],
)  # fmt: skip
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_an_empty_or_unsafe_path_is_refused(binary: str, platform: str) -> None:
    with pytest.raises(SandboxRequestError) as refused:
        generate_args(manifest(), binary, platform=platform)
    assert refused.value.key == "binary"
    assert refused.value.remedy


def test_a_relative_binary_means_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert linux(manifest(), "bin/echo")[-1] == f"{tmp_path}/bin/echo"
    assert linux(manifest(), tmp_path / "echo")[-1] == f"{tmp_path}/echo"


def test_only_the_binary_is_shown_unless_its_folder_is_named() -> None:
    arguments = generate_args(manifest(), BINARY, platform="linux", folder="/opt/plugins/echo")
    assert arguments is not None
    assert ("--ro-bind", "/opt/plugins/echo", "/opt/plugins/echo") in parsed(arguments[1:-2])
    assert BINARY not in arguments[:-1]


def test_a_handshake_can_be_passed_through() -> None:
    arguments = generate_args(
        manifest(),
        BINARY,
        platform="linux",
        socket_dir="/run/s/1",
        environment={"SIGIL_PLUGIN": "cookie"},
    )
    assert arguments is not None
    options = parsed(arguments[1:-2])
    assert ("--bind", "/run/s/1", "/run/s/1") in options
    assert ("--setenv", "SIGIL_PLUGIN", "cookie") in options


def test_what_may_be_missing_on_some_machine_is_tried_and_no_more() -> None:
    options = parsed(linux(manifest())[1:-2])
    etc = {words[0] for words in options if words[-1].startswith("/etc/")}
    assert etc == {"--ro-bind-try"}


def test_what_is_hidden_is_taken_for_a_folder_if_it_is_written_as_one() -> None:
    one = manifest(read_allow=("/opt/venv",), read_deny=("/opt/venv/key", "/opt/venv/keys/*"))
    options = parsed(linux(one)[1:-2])
    assert ("--ro-bind", "/dev/null", "/opt/venv/key") in options
    assert ("--tmpfs", "/opt/venv/keys") in options


def test_a_platform_without_a_sandbox_is_named() -> None:
    with pytest.raises(SandboxUnavailableError, match="win32"):
        generate_args(manifest(), BINARY, platform="win32")


def test_by_default_it_is_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    arguments = generate_args(plugin(ProcessExecution()), BINARY)
    assert arguments is not None
    assert arguments[0] == "sandbox-exec"
