"""Whole plans as text: a change of any option shows as a difference of a committed file.

Where one is meant: SIGIL_WRITE_SNAPSHOTS=1 pytest tests/core/test_sandbox_snapshots.py
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from sigil_actors.core.bwrap_args import bwrap_command_line, bwrap_options
from sigil_actors.core.execution import Limits
from sigil_actors.core.host_facts import HostFacts, PathKind
from sigil_actors.core.manifest_yaml import parse_manifest
from sigil_actors.core.sandbox_mounts import Mount
from sigil_actors.core.sandbox_plan import SandboxPlan
from sigil_actors.core.seatbelt_profile import seatbelt_command_line
from tests.core.conftest import FULL_MANIFEST
from tests.core.sandbox_cases import DEBIAN, MACOS, OLD, manifest, plan

SNAPSHOTS = Path(__file__).parent / "snapshots"


def full() -> SandboxPlan:
    return plan(parse_manifest(FULL_MANIFEST), kinds={"/home/gateway/.ssh": PathKind.FOLDER})


def hidden() -> SandboxPlan:
    one = manifest(
        command=("./bin/tool", "--fast", "a b"),
        write_allow=("/data/self/*", "~/out"),
        read_allow=("/opt/venv/", "/data/self/models"),
        read_deny=(
            "/data/echo/a/b/secret",
            "/data/echo/cache/*",
            "/opt/venv/key",
            "/usr/share/doc/*",
            "/etc/ssl/*",
            "/gone",
        ),
    )
    kinds = {
        "/data/echo/cache": PathKind.FOLDER,
        "/usr/share/doc": PathKind.FOLDER,
        "/etc/ssl": PathKind.FOLDER,
        "/gone": PathKind.MISSING,
    }
    return plan(one, kinds=kinds)


def old() -> SandboxPlan:
    one = manifest(write_allow=("/data/self",), limits=Limits(memory=1 << 30, pids=7, cpu=0.5))
    return plan(one, OLD)


def macos() -> SandboxPlan:
    one = manifest(
        write_allow=("/opt/data/self",),
        read_deny=("/opt/data/echo/a/secret",),
        allow=("a.example:443",),
    )
    return plan(one, MACOS)


def mount_line(mount: Mount) -> str:
    values = attrs.asdict(mount)
    return f"{type(mount).__name__:14} " + " ".join(
        f"{name}={value:#o}" if name == "mode" else f"{name}={value!r}"
        for name, value in values.items()
        if value is not False
    )


def plan_text(one: SandboxPlan, facts: HostFacts) -> str:
    lines = [
        f"{field.name}: {getattr(one, field.name)!r}"
        for field in attrs.fields(SandboxPlan)
        if field.name not in {"mounts", "environment"}
    ]
    lines += [f"environment: {name}={value}" for name, value in one.environment.items()]
    lines += map(mount_line, one.mounts)
    if facts.bubblewrap is not None:
        options = bwrap_options(one, facts.bubblewrap)
        lines += ["", "# as launched", *by_option(options.readable())]
        lines += [f"unpinned: {bind.target}" for bind in options.unpinned]
        lines += ["", "# readable", *by_option(bwrap_command_line(one, facts.bubblewrap.path))]
    else:
        lines += ["", "# readable", *by_option(seatbelt_command_line(one))]
    return "\n".join(lines) + "\n"


def by_option(words: list[str] | tuple[str, ...]) -> list[str]:
    lines: list[list[str]] = []
    for word in words:
        if word.startswith("-") or not lines:
            lines.append([])
        lines[-1].append(word if word.isascii() and " " not in word else json.dumps(word))
    return ["  " + " ".join(line) for line in lines]


@pytest.mark.parametrize(
    ("make", "facts"),
    [
        (lambda: plan(manifest()), DEBIAN),
        (full, DEBIAN),
        (hidden, DEBIAN),
        (old, OLD),
        (macos, MACOS),
    ],
    ids=["nothing", "full", "hidden", "old", "macos"],
)
def test_a_plan_is_as_committed(
    make: Callable[[], SandboxPlan], facts: HostFacts, request: pytest.FixtureRequest
) -> None:
    committed = SNAPSHOTS / f"sandbox-{request.node.callspec.id}.txt"
    text = plan_text(make(), facts)
    if os.environ.get("SIGIL_WRITE_SNAPSHOTS"):
        committed.write_text(text)
    assert text == committed.read_text()
