"""The Wasm tier keeps the promises of every tier, in both modes."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import ClassVar

import pytest

from sigil_actors.core.execution import InstanceMode
from sigil_actors.ports.tier import TierSession
from sigil_actors.testing.tier_contract import Behaviour, OpenSession, TierSessionContract
from tests.tiers.wasm.conftest import Open, guest

EMIT = """(drop (call $host_call (i32.const 3) (i32.const {at}) (i32.const {length})
                                 (i32.const 0) (i32.const 0)))"""


def emits(*chunks: str, then: str = "") -> tuple[str, str]:
    """Return code that emits these chunks, and the data that it needs."""
    code, more = "", ""
    for number, chunk in enumerate(chunks):
        at = 1024 + 64 * number
        quoted = chunk.replace('"', r"\22")
        more += f'(data (i32.const {at}) "{quoted}")'
        code += EMIT.format(at=at, length=len(chunk))
    return code + then, more


# The arguments of a request stand between `"arguments":` and `,"sessionId"`; the text of a chunk is
# spelled just the same, so the echo puts its own words around them, in place.
ECHO = r"""
  (local.set $n (i32.const 65550))
  (loop $seek
    (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if $seek (i32.ne (i32.load8_u (local.get $n)) (i32.const 58))))  ;; the colon
  (i64.store (i32.sub (local.get $n) (i32.const 7)) (i64.const 0x3a2274786574227b))  ;; {"text":
  (local.set $ptr (i32.sub (local.get $n) (i32.const 7)))
  (local.set $n (i32.sub (i32.add (i32.const 65536) (local.get $len)) (i32.const 40)))
  (i32.store8 (local.get $n) (i32.const 125))  ;; }
  (return (call $pack (local.get $ptr)
                      (i32.add (i32.const 1) (i32.sub (local.get $n) (local.get $ptr)))))
"""

CODE = {
    Behaviour.ECHO: (ECHO, ""),
    Behaviour.STREAM: emits(*(f'{{"text":"{letter}"}}' for letter in "abc")),
    Behaviour.ERROR: emits('{"text":"so far"}', '{"error":"it went wrong"}'),
    Behaviour.CRASH: emits(then="unreachable"),
    Behaviour.ENDLESS: emits('{"text":"started"}', then="(loop $again (br $again))"),
}


def wat(behaviour: Behaviour) -> str:
    """Return a guest that has one tool."""
    code, more = CODE[behaviour]
    described = rf"{{\22tools\22:[{{\22name\22:\22{behaviour.value}\22}}]}}"
    length = len(described.replace(r"\22", '"'))
    healthy = r"{\22status\22:1,\22clean\22:true}"
    more += f"""
      (data (i32.const 256) "{described}")
      (data (i32.const 512) "{healthy}")"""
    whole = guest(code, more=more).replace('"memory") 2)', '"memory") 8)')
    return whole.replace(
        "(i64.const 0)))",
        f"""(if (result i64) (i32.eq (local.get $op) (i32.const 16))
              (then (call $pack (i32.const 256) (i32.const {length})))
              (else (call $pack (i32.const 512) (i32.const 25))))))""",
    )


class SessionsOfTheWasmTier(TierSessionContract):
    """What both modes share."""

    mode: ClassVar[InstanceMode]

    @pytest.fixture
    def open_session(self, open_guest: Open) -> OpenSession:
        @asynccontextmanager
        async def open_it(behaviour: Behaviour) -> AsyncGenerator[TierSession]:
            async with open_guest(wat(behaviour), mode=self.mode) as opening:
                yield opening.session

        def open_session(behaviour: Behaviour) -> AbstractAsyncContextManager[TierSession]:
            return open_it(behaviour)

        return open_session


class TestShared(SessionsOfTheWasmTier):
    mode = InstanceMode.SHARED


class TestPerCall(SessionsOfTheWasmTier):
    mode = InstanceMode.PER_CALL
    crash_ends_the_session = False
