"""Manifests: read from a text, made in code, and what they say of themselves."""

import subprocess
import sys

import attrs
import pytest

from sigil_actors.core.execution import (
    ContainerExecution,
    ContainerNetwork,
    ExecutionTier,
    FilesystemPolicy,
    InstanceMode,
    Limits,
    NetworkPolicy,
    PluginType,
    ProcessExecution,
    RegisteredExecution,
    SandboxPolicy,
    WasmExecution,
    WasmLimits,
)
from sigil_actors.core.manifest import LifecyclePolicy, Manifest, Storage
from sigil_actors.core.manifest_yaml import parse_manifest
from sigil_actors.core.restart import RestartPolicy, RestartType

MIB = 1 << 20


def test_the_full_manifest_becomes_this_value(full_manifest: str) -> None:
    expected = Manifest(
        name="telegram-channel",
        version="1.2.0",
        type=PluginType.CHANNEL,
        engine=">= 1.0.0",
        license="MIT",
        capabilities=("sessions.read", "messages.send.*", "config.read.self", "kv.*"),
        deny_capabilities=("exec.*",),
        execution=ProcessExecution(
            command=("./bin/telegram",),
            env={"TZ": "UTC"},
            sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            start_timeout=60.0,
            sandbox=SandboxPolicy(
                filesystem=FilesystemPolicy(
                    write_allow=("/data/plugins/self/*",),
                    read_allow=("/opt/venvs/telegram",),
                    read_deny=("/etc/shadow", "~/.ssh/*"),
                ),
                network=NetworkPolicy(
                    allow=("api.telegram.org:443", "*.example.com:443"), proxy=True
                ),
                limits=Limits(memory=256 * MIB, pids=100, open_files=1024, cpu=1.0),
            ),
        ),
        config_schema={
            "type": "object",
            "properties": {"bot_token": {"type": "string", "secret": True}},
        },
        dependencies={"session-store": ">= 1.0.0"},
        lifecycle=LifecyclePolicy(
            hot_reload=True,
            graceful_shutdown_timeout=30.0,
            restart=RestartPolicy(
                type=RestartType.PERMANENT,
                max_restarts=5,
                period=60.0,
                backoff=0.1,
                backoff_max=30.0,
            ),
            health_interval=10.0,
        ),
        storage=Storage(kv=True),
    )
    assert parse_manifest(full_manifest) == expected
    assert parse_manifest(full_manifest.encode()) == expected
    assert expected.validate() == ()
    assert expected.remarks() == ()
    assert expected.secret_config_keys() == ("bot_token",)


def test_what_a_manifest_does_not_say_has_these_defaults() -> None:
    manifest = parse_manifest("{name: a, version: 1.0.0, type: tool, execution: {tier: process}}")
    assert manifest == Manifest(
        name="a", version="1.0.0", type=PluginType.TOOL, execution=ProcessExecution()
    )
    assert manifest.capabilities == ()
    assert manifest.engine is None
    assert manifest.storage == Storage(kv=False)
    assert manifest.lifecycle == LifecyclePolicy(
        hot_reload=True,
        graceful_shutdown_timeout=30.0,
        restart=RestartPolicy(RestartType.PERMANENT, 5, 60.0, 0.1, 30.0),
        health_interval=10.0,
    )
    execution = manifest.execution
    assert isinstance(execution, ProcessExecution)
    assert execution.tier is ExecutionTier.PROCESS
    assert execution.command_of("a") == ("./a",)
    assert execution.sandbox.network == NetworkPolicy(allow=(), proxy=True)
    assert execution.sandbox.limits == Limits(memory=256 * MIB, pids=100, open_files=1024, cpu=1.0)


def test_a_wasm_section_is_read() -> None:
    manifest = parse_manifest(
        "name: a\nversion: 1.0.0\ntype: tool\nexecution:\n  tier: wasm\n  module: ./x.wasm\n"
        "  wasm: {fuel: 5, timeout: 250ms, memory: 1Mi, instance: per-call}\n"
        f"  sha256: {'ab' * 32}\n  start_timeout: 5s\n"
    )
    assert manifest.execution == WasmExecution(
        module="./x.wasm",
        wasm=WasmLimits(fuel=5, timeout=0.25, memory=MIB, instance=InstanceMode.PER_CALL),
        sha256="ab" * 32,
        start_timeout=5.0,
    )
    assert manifest.execution.tier is ExecutionTier.WASM


def test_a_container_section_is_read() -> None:
    manifest = parse_manifest(
        "name: a\nversion: 1.0.0\ntype: tool\nexecution:\n  tier: container\n"
        "  image: ghcr.io/org/name:tag\n  network: restricted\n  memory_limit: 256Mi\n"
        "  env: {A: b}\n"
    )
    assert manifest.execution == ContainerExecution(
        image="ghcr.io/org/name:tag",
        network=ContainerNetwork.RESTRICTED,
        memory_limit=256 * MIB,
        env={"A": "b"},
    )


def test_the_tier_of_a_host_keeps_its_options_as_they_stand() -> None:
    manifest = parse_manifest(
        "name: a\nversion: 1.0.0\ntype: tool\nexecution: {tier: vm, cores: 2, disk: {size: 5}}\n",
        tiers=["vm"],
    )
    assert manifest.execution == RegisteredExecution(
        tier="vm", options={"cores": 2, "disk": {"size": 5}}
    )
    assert manifest.validate() == ()


def test_an_empty_list_and_an_empty_section_are_fine() -> None:
    manifest = parse_manifest(
        "{name: a, version: 1.0.0, type: tool, execution: {tier: process, sandbox: {}, env: {}},"
        " capabilities: [], config_schema: {}, dependencies: {}, lifecycle: {restart: {}}}"
    )
    assert manifest == Manifest(
        name="a", version="1.0.0", type=PluginType.TOOL, execution=ProcessExecution()
    )


def test_a_manifest_cannot_be_changed() -> None:
    env = {"A": "b"}
    execution = ProcessExecution(env=env)
    env["C"] = "d"
    assert dict(execution.env) == {"A": "b"}
    with pytest.raises(TypeError):
        execution.env["A"] = "c"  # type: ignore[index]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        execution.start_timeout = 1.0  # type: ignore[misc]


def test_one_text_is_no_list_of_texts_in_code_either() -> None:
    with pytest.raises(TypeError, match="the one text"):
        ProcessExecution(command="./run")
    assert ProcessExecution(command=["./run", "-v"]).command == ("./run", "-v")


def test_words_become_members_in_code_too() -> None:
    execution = ContainerExecution(image="a", memory_limit=MIB, network="host")
    assert execution.network is ContainerNetwork.HOST
    assert WasmLimits(instance="per-call").instance is InstanceMode.PER_CALL
    with pytest.raises(ValueError, match="bridge"):
        ContainerExecution(network="bridge")


def make(**changes: object) -> Manifest:
    good = Manifest(
        name="a",
        version="1.0.0",
        type=PluginType.TOOL,
        execution=WasmExecution(),
    )
    return attrs.evolve(good, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"name": "-a"}, ["name"]),
        ({"version": "1"}, ["version"]),
        ({"engine": "^2"}, ["engine"]),
        ({"capabilities": ["a..b"]}, ["capabilities[0]"]),
        ({"execution": ProcessExecution(command=["../x"])}, ["execution.command[0]"]),
        (
            {
                "execution": ProcessExecution(
                    sandbox=SandboxPolicy(network=NetworkPolicy(allow=["a"], proxy=False))
                )
            },
            ["execution.sandbox.network.allow[0]", "execution.sandbox.network.proxy"],
        ),
        ({"execution": ContainerExecution()}, ["execution.image", "execution.memory_limit"]),
        ({"execution": RegisteredExecution(tier="no word")}, ["execution.tier"]),
        ({"execution": WasmExecution(start_timeout=float("nan"))}, ["execution.start_timeout"]),
        ({"execution": WasmExecution(start_timeout=-1.0)}, ["execution.start_timeout"]),
        ({"execution": ProcessExecution(env={"A": "\ud800"})}, ["execution.env.A"]),
        ({"config_schema": {"type": 5}}, ["config_schema.type", "config_schema.type"]),
        ({"dependencies": {"b": "x"}}, ["dependencies.b"]),
        (
            {"lifecycle": LifecyclePolicy(restart=RestartPolicy(period=0.0, backoff=9e9))},
            [
                "lifecycle.restart.period",
                "lifecycle.restart.backoff_max",
                "lifecycle.restart.backoff",
            ],
        ),
    ],
)
def test_a_manifest_made_in_code_is_checked_alike(
    changes: dict[str, object], paths: list[str]
) -> None:
    problems = make(**changes).validate()
    assert [problem.path for problem in problems] == paths
    assert all(problem.line == 0 and problem.what and problem.remedy for problem in problems)


def test_a_deny_that_cuts_a_piece_out_of_a_grant_is_mentioned() -> None:
    manifest = make(
        capabilities=("filesystem.*", "kv.get", "a..b"),
        deny_capabilities=("filesystem.write.*", "exec.*", "filesystem.read./etc/*"),
    )
    remarks = manifest.remarks()
    assert [(remark.path, remark.line) for remark in remarks] == [
        ("deny_capabilities[0]", 0),
        ("deny_capabilities[2]", 0),
    ]
    assert remarks[0].what == "'filesystem.write.*' cuts a piece out of the grant 'filesystem.*'"
    assert [problem.path for problem in manifest.validate()] == ["capabilities[2]"]


def test_a_deny_of_the_whole_grant_is_a_problem_and_no_remark() -> None:
    manifest = make(capabilities=("exec.*",), deny_capabilities=("exec.*",))
    assert manifest.remarks() == ()
    assert [problem.path for problem in manifest.validate()] == ["capabilities[0]"]


def test_manifests_load_no_parser_until_one_is_needed() -> None:
    program = (
        "import sys, sigil_actors.core.manifest\n"
        "heavy = {'ruamel.yaml', 'cattrs', 'semver', 'jsonschema_rs', 'difflib'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
