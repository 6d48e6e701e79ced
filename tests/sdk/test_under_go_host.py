"""A plugin in Python runs under HashiCorp's own host."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sigil_actors.tiers.process.spawner import Spawner
from tests.tiers.process.machine import eventually, is_alive

PLUGIN = Path(__file__).with_name("example_plugin.py")
Go = Callable[[str], Path]

# Python as it is: its output buffered where it is no terminal.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.fixture
def host(go_program: Go) -> Callable[..., dict[str, Any]]:
    """Give `host(flags)`: what a Go host that ran the plugin tells."""
    program = go_program("pluginhost")

    def run(*flags: str) -> dict[str, Any]:
        done = subprocess.run(
            [program, *flags, "--", sys.executable, PLUGIN],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=ENVIRONMENT,
        )
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    return run


def call(tool: str, **arguments: object) -> str:
    return f"--call={tool}={json.dumps(arguments)}"


@pytest.mark.parametrize("mtls", [(), ("--auto-mtls",)], ids=["plain", "auto-mtls"])
def test_a_go_host_calls_tools_and_is_called_back(
    host: Callable[..., dict[str, Any]], mtls: tuple[str, ...]
) -> None:
    told = host(
        *mtls,
        "--session=token",
        "--until=from a child",
        call("echo", text="hello"),
        call("ask", capability="kv.get", payload="key"),
        call("ask", capability="denied.x"),
        call("ask_plainly", capability="kv.get"),
        call("may", capability="kv.get"),
        call("may", capability="denied.x"),
        call("run_child"),
    )
    assert [(one["text"], one["error"], one["done"]) for one in told["answers"]] == [
        ("hello", "", True),
        ("answer to key", "", True),
        ("", "HostDeniedError: denied.x: denied: plugin_allow_missing", False),
        ("answer to plain", "", True),
        ("True", "", True),
        ("False", "", True),
        ("ran", "", True),
    ]
    assert told["tools"][0]["description"] == "Answer the text as it came."
    assert told["tools"][0]["input_schema"]["required"] == ["text"]
    assert told["host_calls"] == [
        {"capability": "kv.get", "payload": "key", "session": "token"},
        {"capability": "denied.x", "payload": "", "session": "token"},
        {"capability": "kv.get", "payload": "plain", "session": "token"},
    ]
    # What was printed before the handshake isn't lost, and isn't in its way.
    assert told["stdout"] == "printed before the handshake\nprinted: hello\nfrom a child\n"
    (logged,) = [entry for entry in told["log"] if entry["@message"] == "echoing"]
    assert (logged["@level"], logged["@module"], logged["length"]) == ("warn", "example", 5)
    assert told["exit_status"] == 0
    assert told["kill_ms"] < 1500  # it went by itself: go-plugin kills after two seconds


def test_the_callers_token_is_taken_from_the_metadata_too(
    host: Callable[..., dict[str, Any]],
) -> None:
    told = host("--session=metadata:token", call("session"), call("ask", capability="kv.get"))
    assert told["answers"][0]["text"] == "metadata:token"
    assert told["host_calls"][0]["session"] == "metadata:token"


def test_a_print_of_more_than_a_pipe_takes_blocks_nobody(
    host: Callable[..., dict[str, Any]],
) -> None:
    told = host(call("print_much", bytes_count=200_000), "--until=xxx\n")
    assert told["stdout"].count("x") == 200_000


async def test_a_host_that_is_killed_leaves_no_plugin(go_program: Go) -> None:
    argv = (str(go_program("pluginhost")), "--stay", "--", sys.executable, str(PLUGIN))
    async with Spawner() as spawner, await spawner.spawn(argv, env=ENVIRONMENT) as running:
        plugin = int(await running.stdout.receive_some(100))
        assert is_alive(plugin)
        running.send_signal(signal.SIGKILL)
        # By itself: leaving the block would kill whatever the host had started.
        await eventually(lambda: not is_alive(plugin))
