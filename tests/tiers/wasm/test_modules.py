"""What is in the plugin's folder, and what it takes to run it."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
import trio
import wasmtime

from sigil_actors.core.execution import PluginType, ProcessExecution, WasmExecution
from sigil_actors.core.manifest import Manifest
from sigil_actors.errors import LimitExceededError, PluginStartError, SettingsError
from sigil_actors.ports.tier import Launch
from sigil_actors.tiers.wasm import WasmTier, compiler, engine
from sigil_actors.tiers.wasm.engine import PROPOSALS_OFF
from sigil_actors.tiers.wasm.limits import MODULE_BYTES_MAX, THREAD_COMPILE_BYTES_MAX
from sigil_actors.wasm import WasmHost
from tests.tiers.wasm.conftest import Open, RecordingHost, guest

EMPTY_MODULE = b"\0asm\1\0\0\0"
COMPONENT = b"\0asm\x0d\0\1\0"

BAD_BYTES = {
    "nothing": (b"", "empty"),
    "text": (b"(module)", "WebAssembly text"),
    "rubbish": (bytes(range(256)), "no WebAssembly"),
    "escapes": (b"\x1b[31m", "no WebAssembly"),
    "half of a head": (b"\0asm\1", "cut off after 5 bytes"),
    "a component": (COMPONENT, "component"),
    "another version": (b"\0asm\2\0\0\0", "unknown version"),
    "truncated": (bytes(wasmtime.wat2wasm(guest("")))[:-10], "wasmtime refuses"),
    "rubbish behind a head": (EMPTY_MODULE + b"\xff" * 40, "wasmtime refuses"),
}


def leb(number: int) -> bytes:
    encoded = b""
    while number >= 0x80:
        encoded += bytes([number & 0x7F | 0x80])
        number >>= 7
    return encoded + bytes([number])


def section(identifier: int, content: bytes) -> bytes:
    return bytes([identifier]) + leb(len(content)) + content


def padding(size: int) -> bytes:
    """Return a custom section, which makes a module larger and means nothing."""
    return section(0, b"\1x" + bytes(size))


def slow_module(loops: int) -> bytes:
    """Return a module whose one function is as slow to compile as code can be."""
    body = b"\0" + b"\x03\x40\x0b" * loops + b"\x0b"
    return (
        EMPTY_MODULE
        + section(1, b"\1\x60\0\0")
        + section(3, b"\1\0")
        + section(10, b"\1" + leb(len(body)) + body)
    )


@pytest.mark.parametrize("kind", BAD_BYTES)
async def test_bytes_that_are_no_core_module_are_refused(open_guest: Open, kind: str) -> None:
    data, what = BAD_BYTES[kind]
    with pytest.raises(PluginStartError, match=what) as caught:
        async with open_guest(data):
            pass
    assert caught.value.remedy
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("kind", BAD_BYTES)
async def test_the_host_for_embedders_refuses_the_same(kind: str) -> None:
    data, what = BAD_BYTES[kind]
    with WasmHost() as host, pytest.raises(PluginStartError, match=what):
        await host.load_module("m", data)


async def test_a_huge_module_is_refused_before_wasmtime_sees_it(open_guest: Open) -> None:
    huge = EMPTY_MODULE + bytes(MODULE_BYTES_MAX)
    with WasmHost() as host, pytest.raises(LimitExceededError, match="module size"):
        await host.load_module("m", huge)
    with pytest.raises(LimitExceededError, match="module size"):
        async with open_guest(huge):
            pass


async def test_a_large_module_is_compiled_in_a_program_of_its_own(open_guest: Open) -> None:
    small = bytes(wasmtime.wat2wasm(guest("(drop (call $tick))")))
    large = small + padding(THREAD_COMPILE_BYTES_MAX)
    async with open_guest(large) as opening:
        assert await opening.text() == "tick"


async def test_what_is_wrong_with_a_large_module_is_told_in_wasmtimes_words(
    open_guest: Open,
) -> None:
    with pytest.raises(PluginStartError, match="wasmtime refuses"):
        async with open_guest(EMPTY_MODULE + padding(THREAD_COMPILE_BYTES_MAX) + b"\xff"):
            pass


async def test_compiling_is_bounded_in_time(open_guest: Open) -> None:
    with trio.fail_after(10), pytest.raises(LimitExceededError) as caught:
        async with open_guest(slow_module(200_000), start_timeout=0.3):
            pass
    assert (caught.value.bound, caught.value.value) == ("compile time", "300ms")
    assert caught.value.key == "execution.start_timeout"


async def test_compiling_is_bounded_in_memory(
    open_guest: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "COMPILE_MEMORY_BYTES_MAX", 384 << 20)
    with trio.fail_after(30), pytest.raises(LimitExceededError, match="compile memory"):
        async with open_guest(slow_module(60_000), start_timeout=30):
            pass


async def test_a_cancel_ends_the_compiling_program(open_guest: Open) -> None:
    with trio.fail_after(5):
        with trio.move_on_after(0.3) as scope:
            async with open_guest(slow_module(200_000)):
                pass
        assert scope.cancelled_caught


async def test_the_hash_is_checked(open_guest: Open) -> None:
    data = bytes(wasmtime.wat2wasm(guest("")))
    right = hashlib.sha256(data).hexdigest()
    async with open_guest(data, sha256=right):
        pass
    wrong = "0" * 64
    with pytest.raises(PluginStartError) as caught:
        async with open_guest(data, sha256=wrong):
            pass
    assert right in str(caught.value)
    assert wrong in str(caught.value)


FOREIGN_IMPORTS = {
    '(import "env" "abort" (func))': "env.abort",
    '(import "sigil" "other" (func))': "sigil.other",
    '(import "wasi_snapshot_preview1" "fd_write" (func))': "WASI isn't supported",
    '(import "extism:host/env" "input_length" (func (result i64)))': "Extism",
    '(import "sigil" "host_call" (func (param i32)))': "another signature",
    '(import "sigil" "host_call" (global i32))': "another signature",
    '(import "env" "memory" (memory 1))': "env.memory",
    r'(import "e\1b[31m" "x" (func))': r"e\\x1b\[31m\.x",
}


@pytest.mark.parametrize("wanted", FOREIGN_IMPORTS)
async def test_an_import_that_is_not_ours_is_named(open_guest: Open, wanted: str) -> None:
    with pytest.raises(PluginStartError, match=FOREIGN_IMPORTS[wanted]) as caught:
        async with open_guest(f"(module {wanted})"):
            pass
    assert str(caught.value).isprintable()
    assert "host_call" in str(caught.value)


async def test_a_thousand_foreign_imports_are_counted_not_listed(open_guest: Open) -> None:
    imports = "".join(f'(import "env" "f{number}" (func))' for number in range(1000))
    with pytest.raises(PluginStartError, match="995 more") as caught:
        async with open_guest(f"(module {imports})"):
            pass
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ('(export "memory")', '(export "ram")', "memory"),
        ('(export "sigil_alloc")', '(export "alloc")', "sigil_alloc"),
        ('(export "sigil_call")', '(export "call")', "sigil_call"),
        (
            '(func (export "sigil_alloc") (param $length i32) (result i32)',
            '(func (export "sigil_alloc") (param $length i64) (result i32)',
            "sigil_alloc",
        ),
        ('(memory (export "memory") 2)', '(memory 2) (global (export "memory") i32 (i32.const 1))',
         "memory"),
    ],
)  # fmt: skip
async def test_a_missing_export_is_named(open_guest: Open, old: str, new: str, name: str) -> None:
    with pytest.raises(PluginStartError, match=f"doesn't export '{name}'"):
        async with open_guest(guest("").replace(old, new)):
            pass


async def test_an_initialize_export_of_another_type_is_refused(open_guest: Open) -> None:
    with pytest.raises(PluginStartError, match="_initialize"):
        async with open_guest(guest("", more='(func (export "_initialize") (param i32))')):
            pass


@pytest.mark.parametrize(
    "wat",
    [
        "(module (memory i64 1))",
        "(module (memory 1) (memory 1))",
        "(module (memory 1 1 shared))",
        "(module (type (struct)))",
        "(module (tag))",
    ],
)
async def test_proposals_that_nobody_needs_are_off(wat: str) -> None:
    with WasmHost() as host, pytest.raises(PluginStartError, match="wasmtime refuses"):
        await host.load_module("m", bytes(wasmtime.wat2wasm(wat)))


def test_every_proposal_that_is_switched_off_is_one_that_wasmtime_knows() -> None:
    """Setting an unknown name on its Config would do nothing, silently."""
    for name in PROPOSALS_OFF:
        assert isinstance(getattr(wasmtime.Config, name), property)


def launch(folder: Path | None, module: str = "./plugin.wasm") -> Launch:
    manifest = Manifest(
        name="guest", version="1.0.0", type=PluginType.TOOL, execution=WasmExecution(module=module)
    )
    return Launch(
        plugin="guest", generation=1, manifest=manifest, folder=folder, host=RecordingHost(),
        log=lambda _level, _text: None,
    )  # fmt: skip


def plant(folder: Path, name: str = "plugin.wasm") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(wasmtime.wat2wasm(guest(""))))
    return path


async def test_a_module_may_lie_in_a_folder_below(tmp_path: Path) -> None:
    plant(tmp_path, "bin/deep/x.wasm")
    async with WasmTier().open(launch(tmp_path, "./bin/deep/x.wasm")):
        pass


@pytest.mark.parametrize("module", ["../x.wasm", "/etc/passwd", "a/../../x.wasm", "", "x\0y"])
async def test_a_module_outside_of_its_folder_is_refused(tmp_path: Path, module: str) -> None:
    plant(tmp_path.parent, "x.wasm")
    with pytest.raises(PluginStartError, match="not inside its folder") as caught:
        async with WasmTier().open(launch(tmp_path, module)):
            pass
    assert str(caught.value).isprintable()


async def test_links_are_not_followed(tmp_path: Path) -> None:
    plant(tmp_path / "outside")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "plugin.wasm").symlink_to(tmp_path / "outside" / "plugin.wasm")
    (inside / "bin").symlink_to(tmp_path / "outside")
    for module in ("plugin.wasm", "bin/plugin.wasm"):
        with pytest.raises(PluginStartError):
            async with WasmTier().open(launch(inside, module)):
                pass


async def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for module in ("pipe", "folder", "missing"):
        with trio.fail_after(5), pytest.raises(PluginStartError, match="module"):
            async with WasmTier().open(launch(tmp_path, module)):
                pass


async def test_a_plugin_of_another_tier_or_without_a_folder_is_refused(tmp_path: Path) -> None:
    other = launch(tmp_path)
    manifest = attrs.evolve(other.manifest, execution=ProcessExecution())
    with pytest.raises(PluginStartError, match="tier process"):
        async with WasmTier().open(attrs.evolve(other, manifest=manifest)):
            pass
    with pytest.raises(PluginStartError, match="no folder"):
        async with WasmTier().open(launch(None)):
            pass


# -- WasmHost


async def test_the_empty_module_is_fine() -> None:
    with WasmHost(fuel_limit=5) as host:
        loaded = await host.load_module("empty", EMPTY_MODULE)
        again = await host.load_module("empty", bytearray(EMPTY_MODULE))
    assert host.fuel_limit == 5
    assert loaded == again
    assert (loaded.name, loaded.size_bytes) == ("empty", 8)
    assert loaded.sha256 == hashlib.sha256(EMPTY_MODULE).hexdigest()


@pytest.mark.parametrize("name", ["", " ", "\t\n", "x" * 65, None, 5])
async def test_a_blank_name_is_refused(name: object) -> None:
    with WasmHost() as host, pytest.raises(PluginStartError, match="name"):
        await host.load_module(name, EMPTY_MODULE)  # type: ignore[arg-type]


async def test_text_instead_of_bytes_is_refused() -> None:
    with WasmHost() as host, pytest.raises(PluginStartError, match="as str, not as bytes"):
        await host.load_module("m", "(module)")  # type: ignore[arg-type]


async def test_a_closed_host_loads_nothing() -> None:
    host = WasmHost()
    await host.load_module("m", EMPTY_MODULE)
    host.close()
    host.close()
    with pytest.raises(PluginStartError, match="closed"):
        await host.load_module("m", EMPTY_MODULE)


@pytest.mark.parametrize("fuel_limit", [0, -1, True, 1.5, "5"])
def test_a_fuel_limit_on_which_nothing_runs_is_refused(fuel_limit: object) -> None:
    with pytest.raises(SettingsError, match="fuel_limit"):
        WasmHost(fuel_limit=fuel_limit)  # type: ignore[arg-type]


def test_the_package_loads_no_wasmtime_and_the_compiling_program_little_else() -> None:
    for statement, absent in (
        ("import sigil_actors", "wasmtime"),
        ("import sigil_actors.core.guest_ops", "wasmtime"),
        ("import runpy; runpy.run_path(sys.argv[1])", "trio"),
    ):
        code = f"import sys; {statement}; assert {absent!r} not in sys.modules"
        subprocess.run([sys.executable, "-c", code, str(engine.__file__)], check=True)
