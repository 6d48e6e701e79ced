"""The layers of the architecture hold, and the check that says so can see."""

from pathlib import Path

import pytest

from tests.architecture.import_check import check_package
from tests.architecture.layers import LAYERS

PACKAGE = Path(__file__).resolve().parents[2] / "sigil_actors"


def plant(root: Path, module: str, text: str) -> Path:
    """Write one module into a package of the same shape as ours."""
    package = root / "sigil_actors"
    for file in ("errors.py", "core/__init__.py", "core/policy.py", "runtime/__init__.py"):
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        (package / file).touch()
    path = package / module
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return package


def test_every_import_is_one_that_the_architecture_allows() -> None:
    problems = check_package(PACKAGE, LAYERS)
    assert problems == [], "\n".join(["", *problems])


@pytest.mark.parametrize(
    ("module", "text", "line", "target"),
    [
        ("core/policy.py", "import attrs\nimport trio\n", 2, "trio"),
        ("core/policy.py", "import os.path\n", 1, "os.path"),
        ("core/policy.py", "from socket import AF_INET, socket\n", 1, "socket"),
        ("core/policy.py", "from pathlib import Path\n", 1, "pathlib"),
        ("core/policy.py", "import pathlib\n", 1, "pathlib"),
        ("core/policy.py", "from io import open\n", 1, "io"),
        ("core/policy.py", "def f():\n    import socket\n", 2, "socket"),
        ("core/policy.py", "def f():\n    async def g():\n        import time\n", 3, "time"),
        ("core/policy.py", "if TYPE_CHECKING:\n    import logging\n", 2, "logging"),
        ("core/policy.py", "try:\n    import grpc\nexcept ImportError: pass\n", 2, "grpc"),
        ("core/policy.py", "import_module('random')\n", 1, "random"),
        ("core/policy.py", "importlib.import_module('wasmtime')\n", 1, "wasmtime"),
        ("core/policy.py", "x = __import__('subprocess')\n", 1, "subprocess"),
        ("core/policy.py", "import jsonschema_rs\n", 1, "jsonschema_rs"),
        ("core/json_schema.py", "import ruamel.yaml\n", 1, "ruamel.yaml"),
        ("core/policy.py", "from sigil_actors import runtime\n", 1, "sigil_actors.runtime"),
        ("core/policy.py", "from sigil_actors import Runtime\n", 1, "sigil_actors"),
        ("core/policy.py", "from .. import runtime\n", 1, "sigil_actors.runtime"),
        ("core/policy.py", "from ..runtime import x\n", 1, "sigil_actors.runtime"),
        ("core/__init__.py", "from ..runtime import x\n", 1, "sigil_actors.runtime"),
        ("errors.py", "import attrs\n", 1, "attrs"),
        ("errors.py", "from sigil_actors.core import policy\n", 1, "sigil_actors.core.policy"),
        ("actors/mailbox.py", "import sigil_actors.core.policy\n", 1, "sigil_actors.core.policy"),
        ("runtime/session.py", "from sigil_actors.audit import x\n", 1, "sigil_actors.audit"),
        ("runtime/session.py", "import sigil_actors.wasm\n", 1, "sigil_actors.wasm"),
        ("tiers/wasm/a.py", "import sigil_actors.tiers.process\n", 1, "sigil_actors.tiers.process"),
        ("tiers/wasm/a.py", "import sigil_actors.runtime\n", 1, "sigil_actors.runtime"),
        ("tiers/process/a.py", "import wasmtime\n", 1, "wasmtime"),
        ("sdk/serve.py", "import sigil_actors.runtime\n", 1, "sigil_actors.runtime"),
        ("wasm.py", "import sigil_actors.cli.main\n", 1, "sigil_actors.cli.main"),
        ("__init__.py", "import sigil_actors.cli\n", 1, "sigil_actors.cli"),
        ("testing/fake.py", "import sigil_actors.assembly\n", 1, "sigil_actors.assembly"),
    ],
)
def test_a_forbidden_import_is_named_with_its_file_and_line(
    tmp_path: Path, module: str, text: str, line: int, target: str
) -> None:
    package = plant(tmp_path, module, text)
    importer = f"sigil_actors.{module.removesuffix('.py').replace('/', '.')}"
    importer = importer.removesuffix(".__init__")
    assert check_package(package, LAYERS) == [
        f"sigil_actors/{module}:{line}: {importer} may not import {target}"
    ]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("core/policy.py", "import attrs\nfrom collections.abc import Mapping\n"),
        ("core/policy.py", "from pathlib import PurePosixPath\n"),
        ("core/policy.py", "from sigil_actors import errors\n"),
        ("core/policy.py", "from . import manifest\nfrom ..errors import SigilError\n"),
        ("core/__init__.py", "from .policy import decide\n"),
        ("core/yaml_document.py", "from ruamel.yaml import YAML\nfrom ruamel import yaml\n"),
        ("core/manifest.py", "from sigil_actors.core.manifest_yaml import parse\n"),
        ("actors/supervisor.py", "from sigil_actors.core.restart import plan_restart\n"),
        ("audit/sqlite.py", "import os, sqlite3, trio\n"),
        ("tiers/process/a.py", "import sigil_actors.tiers.remote.session\n"),
        ("assembly.py", "import sigil_actors.tiers.wasm.tier, sigil_actors.audit.sqlite\n"),
        ("wasm.py", "import sigil_actors.tiers.wasm.host\n"),
        ("cli/call.py", "import rich, sigil_actors\nfrom sigil_actors.assembly import x\n"),
        ("_proto/a/b_pb2.py", "from google.protobuf import descriptor\n"),
    ],
)
def test_an_allowed_import_passes(tmp_path: Path, module: str, text: str) -> None:
    assert check_package(plant(tmp_path, module, text), LAYERS) == []


def test_a_module_of_no_layer_is_named(tmp_path: Path) -> None:
    package = plant(tmp_path, "helpers/misc.py", "")
    assert check_package(package, LAYERS) == [
        "sigil_actors/helpers/misc.py:1: sigil_actors.helpers.misc is in no layer"
    ]


def test_no_rule_names_a_layer_that_does_not_exist() -> None:
    for name, layer in LAYERS.items():
        for other in layer.ours:
            assert other in LAYERS or other.startswith(tuple(f"{known}." for known in LAYERS)), (
                f"{name} may import {other}, which is nothing"
            )


def test_the_layers_have_no_cycle() -> None:
    def reachable(name: str, seen: frozenset[str]) -> frozenset[str]:
        below = {other for other in LAYERS[name].ours if other in LAYERS}
        for other in below - seen:
            seen = reachable(other, seen | {other})
        return seen

    for name in LAYERS:
        assert name not in reachable(name, frozenset()), name
