"""A whole runtime with one process plugin, kept busy until it is told to settle, or killed.

Runs as a program of its own, below `run.py`, which kills it or what it started. It takes a word a
line from its standard input, and tells one JSON object a line: see `_Host`.
"""

import json
import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import trio

from sigil_actors import (
    CapabilitySet,
    HostCall,
    Manifest,
    MemoryAuditStore,
    PluginCrashedError,
    PluginType,
    PluginUnavailableError,
    ProcessExecution,
    Runtime,
    RuntimeSettings,
    Session,
    SigilError,
    open_runtime,
)
from sigil_actors.core.execution import NetworkPolicy, SandboxPolicy
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.manifest import LifecyclePolicy
from sigil_actors.core.restart import RestartPolicy
from sigil_actors.runtime.settings import UidRange

NAME = "it"

LAST_WORDS = "the words before the end"

SETTLE_S = 20.0
"""Seconds to be quiet again after whatever happened: a restart takes a tenth of one."""

CALLS: Sequence[tuple[str, JsonObject]] = (
    ("echo", {"a": 1}),
    ("stream", {}),
    ("big", {"bytes": 10_000, "chunks": 20}),
    ("stderr", {"text": LAST_WORDS}),
    ("stdout", {"text": LAST_WORDS}),
    ("hostcall", {"capability": "greet", "payload": "you"}),
    ("hostcall", {"capability": "greet", "payload": "you", "by": "address"}),
    ("sleep", {"ms": 5}),
)
"""What callers do, besides having children started."""

CHILDREN_MAX = 8
"""Children that a plugin is made to start, within what its sandbox lets it have."""


def manifest(mode: str) -> Manifest:
    # A network, so that each start needs the program that enters namespaces.
    network = NetworkPolicy(allow=("example.com:443",) if mode == "boxed" else ())
    return Manifest(
        name=NAME,
        version="1.0.0",
        type=PluginType.TOOL,
        capabilities=("tool.*", "greet"),
        execution=ProcessExecution(
            env={"SERVES": "tool"}, start_timeout=SETTLE_S, sandbox=SandboxPolicy(network=network)
        ),
        lifecycle=LifecyclePolicy(
            graceful_shutdown_timeout=0.2,
            restart=RestartPolicy(max_restarts=1000, period=1.0, backoff=0.01, backoff_max=0.01),
        ),
    )


async def greet(call: HostCall) -> bytes:
    return b"hello " + call.payload


def descriptors() -> list[str]:
    """Return what this process has open, without its standard streams."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing
            if int(link.name) > 2:
                found.append(str(link.readlink()))
    return sorted(found)


@attrs.define(kw_only=True)
class _Host:
    """The words it takes: `calls` and `churn` make it busy, `settle` quiet, `count` has it
    tell its descriptors, `quit` ends it.

    In `calls` nothing starts or stops the plugin but its own end; in `churn` all the time.
    """

    runtime: Runtime
    moments: random.Random
    mode: str
    crashes: list[PluginCrashedError] = attrs.field(factory=list)
    busy: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    idle: trio.Event | None = None
    children: int = 0

    @property
    def session(self) -> Session:
        return self.runtime.session(
            workspace_id="ws",
            workspace_allow=CapabilitySet("*"),
            user_id="alice",
            user_permissions=CapabilitySet("*"),
        )

    async def call_at_random(self) -> None:
        while True:
            tool, arguments = self.moments.choice(CALLS)
            if self.children < CHILDREN_MAX and self.moments.random() < 0.2:
                self.children += 1
                leaves = self.mode == "boxed" and self.moments.random() < 0.5
                tool, arguments = "spawn", {"leaves": leaves}
            await self._call(tool, arguments)

    async def call_without_end(self) -> None:
        """Be in a call whenever the plugin ends, once it has said something."""
        while True:
            await self._call("stderr", {"text": LAST_WORDS})
            await self._call("endless", {})

    async def _call(self, tool: str, arguments: JsonObject) -> None:
        try:
            await self.session.execute_text(NAME, tool, arguments)
        except PluginCrashedError as error:
            self.children = 0
            self.crashes.append(error)
        except SigilError:
            await trio.sleep(0.005)  # it isn't there just now

    async def start_and_stop(self) -> None:
        while True:
            await trio.sleep(self.moments.random() * 0.05)
            try:
                if self.moments.random() < 0.3:
                    await self.runtime.reload(NAME)
                else:
                    await self.runtime.stop(NAME)
                    await self.runtime.start(NAME)
            except SigilError:
                pass
            self.children = 0

    async def be_busy(self, *, with_churn: bool) -> None:
        self.crashes.clear()
        idle = self.idle = trio.Event()
        with trio.CancelScope() as self.busy:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.call_without_end)
                nursery.start_soon(self.call_at_random)
                nursery.start_soon(self.call_at_random)
                if with_churn:
                    nursery.start_soon(self.start_and_stop)
        idle.set()

    async def settle(self) -> None:
        """End what is under way, see that the plugin works, and tell what there is.

        It is only started where it was stopped: after any crash it has to come back by itself.
        """
        if self.idle is not None:
            await trio.sleep(0.05)  # for a call to be told of a crash
            self.busy.cancel()
            await self.idle.wait()
            self.idle = None
        status = self.runtime.get(NAME)
        problem = ""
        try:
            with trio.fail_after(SETTLE_S):
                await self._be_up()
                # A start, which needs all that a start needs; and it leaves the children behind.
                await self.runtime.reload(NAME)
                await self.session.execute_text(NAME, "echo", {})
                await self._wait_alone()
        except (SigilError, trio.TooSlowError) as error:
            problem = f"{type(error).__name__}: {error}; before: {status}"
        self.children = 0
        tell(
            settled=True,
            problem=problem,
            crashes=[[str(error), LAST_WORDS in error.last_words] for error in self.crashes],
        )

    async def _be_up(self) -> None:
        while True:
            try:
                if str(self.runtime.get(NAME).state) in {"draining", "stopping", "stopped"}:
                    await self.runtime.start(NAME)
                await self.runtime.wait_until_running(NAME)
            except PluginUnavailableError:
                if str(self.runtime.get(NAME).state) not in {"draining", "stopping", "stopped"}:
                    raise
                await trio.sleep(0.005)  # it is being stopped
            else:
                return

    async def _wait_alone(self) -> None:
        """Wait until the instance before is gone, and what every host has is there."""
        # The guard, the plugin, and the program that enters namespaces.
        family = 3 if self.mode == "boxed" else 2
        while len(_children_of(os.getpid())) != family:  # noqa: ASYNC110 - no event tells
            await trio.sleep(0.005)


def _children_of(pid: int) -> list[str]:
    found: list[str] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += (task / "children").read_text().split()
        except OSError:
            continue
    return found


def tell(**what: object) -> None:
    """Tell the one who runs it."""
    os.write(1, json.dumps(what).encode() + b"\n")


async def _words() -> AsyncIterator[str]:
    async with trio.lowlevel.FdStream(os.dup(0)) as stream:
        rest = b""
        async for piece in stream:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.decode()


@asynccontextmanager
async def _opened(mode: str, plugin: Path, state: Path | None) -> AsyncIterator[Runtime]:
    async with open_runtime(
        manifests=[(manifest(mode), plugin)],
        audit_store=MemoryAuditStore(),
        host_functions={"greet": greet},
        settings=RuntimeSettings(
            plugin_uids=UidRange(first=1_904_000_000, count=1000),
            unsafe_no_sandbox=mode == "plain",
            restarts_per_minute=10_000,
            stop_grace_s=0.05,
        ),
        state_dir=state,
    ) as runtime:
        yield runtime


async def main(mode: str, seed: int, plugin: Path, state: Path | None) -> None:
    """Run it."""
    async with _opened(mode, plugin, state) as runtime, trio.open_nursery() as nursery:
        host = _Host(runtime=runtime, moments=random.Random(seed), mode=mode)
        async for word in _words():
            match word:
                case "calls" | "churn":
                    nursery.start_soon(lambda: host.be_busy(with_churn=word == "churn"))  # noqa: B023
                case "settle":
                    await host.settle()
                case "count":
                    tell(descriptors=descriptors())
                case _:
                    break
        nursery.cancel_scope.cancel()
    tell(left=True, descriptors=descriptors(), children=_children_of(os.getpid()))


if __name__ == "__main__":
    kept = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    trio.run(main, sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), kept)
