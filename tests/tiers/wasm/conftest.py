"""Real guests in WAT, and a host that records what they ask."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import attrs
import pytest
import wasmtime

from sigil_actors.core.calls import ExecuteRequest
from sigil_actors.core.execution import InstanceMode, PluginType, WasmExecution, WasmLimits
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.policy import DenyReason
from sigil_actors.errors import CapabilityDeniedError
from sigil_actors.ports.tier import Launch
from sigil_actors.tiers.wasm import WasmTier
from sigil_actors.tiers.wasm.session import WasmSession


@attrs.define
class RecordingHost:
    """Answers every host call with `reply`, or raises `error`; denies what is in `denied`."""

    reply: bytes = b'"hello"'
    error: BaseException | None = None
    denied: frozenset[str] = frozenset()
    calls: list[tuple[str, bytes, str]] = attrs.field(factory=list)
    checks: list[tuple[str, str]] = attrs.field(factory=list)

    async def call(self, capability: str, payload: bytes, session_id: str) -> bytes:
        self.calls.append((capability, payload, session_id))
        if self.error is not None:
            raise self.error
        if capability in self.denied:
            raise CapabilityDeniedError(
                plugin="guest", capability=capability, reason="plugin_allow_missing"
            )
        return self.reply

    async def check(self, capability: str, session_id: str) -> DenyReason:
        self.checks.append((capability, session_id))
        if self.error is not None:
            raise self.error
        return DenyReason.PLUGIN_ALLOW_MISSING if capability in self.denied else DenyReason.OK


PRELUDE = r"""
  (import "sigil" "host_call"
    (func $host_call (param i32 i32 i32 i32 i32) (result i32)))
  (import "sigil" "host_reply" (func $host_reply (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (global $entered (mut i32) (i32.const 0))
  (data (i32.const 16) "{\22ok\22:true}")
  (data (i32.const 32) "{\22text\22:\22tick\22}")
  (func (export "sigil_alloc") (param $length i32) (result i32) (i32.const 65536))
  (func $pack (param $pointer i32) (param $length i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $pointer)) (i64.const 32))
            (i64.extend_i32_u (local.get $length))))
  (func $ok (result i64) (call $pack (i32.const 16) (i32.const 11)))
  (func $tick (result i32)
    (call $host_call (i32.const 3) (i32.const 32) (i32.const 15) (i32.const 0) (i32.const 0)))
"""
"""What most guests of these tests share: requests are put at 65536, `$ok` is a good init answer."""

TOOL_IS_X = "(i32.eq (i32.load8_u (i32.const 65549)) (i32.const 120))"
"""Whether the tool's name begins with x: a request begins with `{"toolName":"`."""


def guest(execute: str, *, init: str = "(return (call $ok))", more: str = "") -> str:
    """Return the WAT of a guest that runs `execute` when it is called, `init` at its start."""
    return f"""(module {PRELUDE} {more}
      (func (export "sigil_call") (param $op i32) (param $ptr i32) (param $len i32) (result i64)
        (local $n i32)
        (global.set $entered (i32.add (global.get $entered) (i32.const 1)))
        (if (i32.eq (local.get $op) (i32.const 1)) (then {init}))
        (if (i32.eq (local.get $op) (i32.const 17)) (then {execute}))
        (i64.const 0)))"""


@attrs.frozen
class Opening:
    """A session, and what surrounds it."""

    session: WasmSession
    host: RecordingHost
    log: list[tuple[str, str]]

    async def text(self, tool: str = "t", arguments: str = "{}") -> str:
        """Call a tool and return all of its text."""
        async with self.session.execute(request(tool, arguments)) as chunks:
            return "".join([piece async for piece in chunks])


def request(tool: str = "t", arguments: str = "{}") -> ExecuteRequest:
    """Return a request with a token."""
    return ExecuteRequest(tool_name=tool, arguments=arguments, session_id="token")


Open: TypeAlias = Callable[..., AbstractAsyncContextManager[Opening]]


@pytest.fixture
def open_guest(tmp_path: Path) -> Open:
    """Give `open_guest(wat_or_bytes, limits=..., ...)`: a session with that guest."""

    @asynccontextmanager
    async def open_it(
        module: str | bytes,
        *,
        limits: WasmLimits | None = None,
        mode: InstanceMode = InstanceMode.SHARED,
        host: RecordingHost | None = None,
        sha256: str | None = None,
        start_timeout: float = 60.0,
        config: Mapping[str, str] | None = None,
        tier: WasmTier | None = None,
    ) -> AsyncGenerator[Opening, None]:
        data = bytes(wasmtime.wat2wasm(module)) if isinstance(module, str) else module
        (tmp_path / "plugin.wasm").write_bytes(data)
        host = host or RecordingHost()
        log: list[tuple[str, str]] = []
        manifest = Manifest(
            name="guest",
            version="1.0.0",
            type=PluginType.TOOL,
            execution=WasmExecution(
                wasm=attrs.evolve(limits or WasmLimits(), instance=mode),
                sha256=sha256,
                start_timeout=start_timeout,
            ),
        )
        launch = Launch(
            plugin="guest",
            generation=1,
            manifest=manifest,
            folder=tmp_path,
            host=host,
            log=lambda level, text: log.append((level, text)),
        )
        async with (tier or WasmTier()).open(launch) as session:
            await session.init(config or {})
            yield Opening(session, host, log)

    return open_it
