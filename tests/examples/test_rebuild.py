"""The committed modules are what their sources say."""

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from sigil_actors.core.guest_ops import GuestOp, HostOp, HostRefusal

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("examples_build", EXAMPLES / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_rebuild_gives_the_committed_bytes(
    build: ModuleType, tmp_path: Path, require: Callable[[str], None]
) -> None:
    require("zig")
    if build.installed_zig() != build.ZIG_VERSION:
        pytest.skip(f"another zig gives other bytes: pip install ziglang=={build.ZIG_VERSION}")
    assert build.main([str(tmp_path)]) == 0
    assert len(build.sources()) == 5
    for name in build.sources():
        rebuilt = (tmp_path / name / "plugin.wasm").read_bytes()
        committed = (EXAMPLES / "plugins" / name / "plugin.wasm").read_bytes()
        assert rebuilt == committed, f"{name}: run `make examples` and commit what it made"


def test_every_example_with_a_module_has_its_source_and_manifest(build: ModuleType) -> None:
    modules = {path.parent.name for path in (EXAMPLES / "plugins").glob("*/plugin.wasm")}
    assert modules == set(build.sources())
    for name in modules:
        assert (EXAMPLES / "plugins" / name / "plugin.yaml").is_file()


@pytest.mark.parametrize(
    ("words", "prefix"),
    [(GuestOp, "SIGIL_GUEST_"), (HostOp, "SIGIL_HOST_"), (HostRefusal, "SIGIL_")],
)
def test_the_header_for_plugin_authors_has_our_numbers(
    words: type[GuestOp | HostOp | HostRefusal], prefix: str
) -> None:
    header = (EXAMPLES / "plugins" / "sigil.h").read_text()
    for word in words:
        assert re.search(rf"^ +{prefix}{word.name} = {word.value},$", header, re.MULTILINE), word


def test_the_modules_name_no_path_of_the_machine_that_built_them() -> None:
    for module in (EXAMPLES / "plugins").glob("*/plugin.wasm"):
        assert b"/" + sys.executable.split("/")[1].encode() + b"/" not in module.read_bytes()
