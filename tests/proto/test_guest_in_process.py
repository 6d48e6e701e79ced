"""The generated code is a guest in somebody else's process: it claims no names but its own."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool, json_format

from sigil_actors._proto.plugin.v1 import channel_pb2, lifecycle_pb2, tool_pb2

PROTO = Path(__file__).resolve().parents[2] / "sigil_actors" / "_proto"

IMPORT_ALL = """
import importlib, json, pathlib, sys
before = set(sys.modules)
root = pathlib.Path(sys.argv[1])
for path in sorted(root.rglob("*.py")):
    parts = path.relative_to(root).with_suffix("").parts
    importlib.import_module(".".join(("sigil_actors", "_proto", *parts)).removesuffix(".__init__"))
"""

CLAIM = """
from google.protobuf import descriptor_pb2, descriptor_pool
for name, package, message in [
    ("common/v1/common.proto", "common.v1", "Message"),
    ("plugin/v1/tool.proto", "plugin.v1", "ExecuteRequest"),
    ("grpc_health/v1/health.proto", "grpc.health.v1", "HealthCheckRequest"),
]:
    file = descriptor_pb2.FileDescriptorProto(name=name, package=package)
    file.message_type.add(name=message).field.add(name="other", number=7, type=5, label=1)
    descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, PROTO],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_all_of_it_claims_no_top_level_name() -> None:
    script = IMPORT_ALL + "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    loaded = set(json.loads(run(script)))
    assert "sigil_actors" in loaded
    assert loaded.isdisjoint({"common", "plugin", "sigil"})


def test_no_generated_line_imports_a_sibling_as_a_top_level_package() -> None:
    claim = re.compile(r"\s*(from|import) (common|plugin|sigil|grpc\.health)\b")
    for path in PROTO.rglob("*_pb2*"):
        if path.suffix in {".py", ".pyi"}:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                assert not claim.match(line), f"{path}:{number}: {line}"


@pytest.mark.parametrize(
    "script", [CLAIM + IMPORT_ALL, IMPORT_ALL + CLAIM], ids=["after", "before"]
)
def test_it_loads_beside_an_application_with_messages_of_the_same_names(
    script: str,
) -> None:
    # With protobuf's C core, that is, which every wheel has. Its pure-Python fallback enters each
    # class in the one default pool besides, whatever pool its descriptor came from.
    run(script)


def test_nothing_of_ours_is_in_the_default_pool() -> None:
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindFileByName(tool_pb2.DESCRIPTOR.name)


def test_the_well_known_types_work_in_place() -> None:
    init = lifecycle_pb2.InitRequest()
    init.config.update({"list": [1, None], "flag": True})
    again = lifecycle_pb2.InitRequest.FromString(init.SerializeToString())
    assert json_format.MessageToDict(again) == {"config": {"list": [1.0, None], "flag": True}}

    message = channel_pb2.InboundMessage(message_id="m", metadata={"k": "v"})
    message.timestamp.FromDatetime(datetime(2026, 1, 2, tzinfo=UTC))
    assert json_format.MessageToDict(message) == {
        "messageId": "m",
        "metadata": {"k": "v"},
        "timestamp": "2026-01-02T00:00:00Z",
    }
    assert (
        json_format.ParseDict(
            json_format.MessageToDict(message, preserving_proto_field_name=True),
            channel_pb2.InboundMessage(),
        )
        == message
    )
