"""What a guest asks of its host, and what it is told, whatever the host does."""

import base64
import json

import pytest

from sigil_actors.core.guest_ops import HostOp, HostRefusal
from sigil_actors.errors import (
    AuditUnavailableError,
    CapabilityDeniedError,
    HostFunctionFailedError,
    HostFunctionMissingError,
    InvalidCapabilityError,
    LimitExceededError,
    PluginCallError,
    PluginCrashedError,
    SigilError,
)
from sigil_actors.tiers.wasm import host_imports
from sigil_actors.tiers.wasm import native_dialect as dialect
from sigil_actors.tiers.wasm.limits import PAYLOAD_BYTES_MAX
from tests.tiers.wasm.conftest import Open, RecordingHost, guest, request

CALL = json.dumps(
    {"capability": "kv.get", "payload": base64.b64encode(b"{}").decode(), "session_id": "token"}
)

# Asks what its arguments say, and returns the answer's number as a text of eight digits.
ASKER = r"""
  (local.set $n (call $host_call (i32.const {op}) (i32.const {at}) (i32.const {length})
                                 (i32.const {out}) (i32.const {room})))
  (call $tell (local.get $n))
"""
TELL = r"""
  (func $tell (param $number i32)
    (local $at i32)
    (if (i32.lt_s (local.get $number) (i32.const 0)) (then
      (i32.store8 (i32.const 2041) (i32.const 45))
      (local.set $number (i32.sub (i32.const 0) (local.get $number)))))
    (local.set $at (i32.const 2050))
    (loop $digit
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at)
        (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (local.set $number (i32.div_u (local.get $number) (i32.const 10)))
      (br_if $digit (i32.gt_u (local.get $at) (i32.const 2042))))
    (drop (call $host_call (i32.const 3) (i32.const 2032) (i32.const 20)
                           (i32.const 0) (i32.const 0))))
  (data (i32.const 2032) "{\22text\22:\22+00000000\22}")
"""


def asker(
    message: str,
    *,
    op: int = HostOp.CALL,
    at: int = 8192,
    length: int | None = None,
    out: int = 16384,
    room: int = 1024,
    then: str = "",
) -> str:
    """Return a guest that asks its host by `message` and says what number it got."""
    quoted = message.replace("\\", "\\\\").replace('"', r"\22")
    ask = ASKER.format(
        op=op, at=at, length=len(message) if length is None else length, out=out, room=room
    )
    return guest(ask + then, more=TELL + f'(data (i32.const 8192) "{quoted}")')


REFUSALS: list[tuple[SigilError, HostRefusal]] = [
    (CapabilityDeniedError(plugin="p", capability="c", reason="r"), HostRefusal.DENIED),
    (AuditUnavailableError("disk full"), HostRefusal.DENIED),
    (HostFunctionMissingError("c"), HostRefusal.NO_FUNCTION),
    (HostFunctionFailedError("c", "ValueError"), HostRefusal.FAILED),
    (LimitExceededError("p", bound="payload", value="1", key=""), HostRefusal.FAILED),
    (PluginCallError("p", "reentrant"), HostRefusal.FAILED),
    (InvalidCapabilityError("..", "malformed"), HostRefusal.MALFORMED),
]


@pytest.mark.parametrize(("error", "refusal"), REFUSALS)
@pytest.mark.parametrize("op", [HostOp.CALL, HostOp.CHECK])
async def test_an_error_of_the_host_becomes_a_number(
    open_guest: Open, error: SigilError, refusal: HostRefusal, op: HostOp
) -> None:
    async with open_guest(asker(CALL, op=op), host=RecordingHost(error=error)) as opening:
        assert int(await opening.text()) == refusal
        assert int(await opening.text()) == refusal  # the instance goes on


async def test_a_call_reaches_the_host_as_it_was_asked(open_guest: Open) -> None:
    async with open_guest(asker(CALL)) as opening:
        reply = json.dumps(
            {"payload": base64.b64encode(b'"hello"').decode()}, separators=(",", ":")
        )
        assert int(await opening.text()) == len(reply)
        assert opening.host.calls == [("kv.get", b"{}", "token")]


async def test_a_check_tells_the_reason(open_guest: Open) -> None:
    host = RecordingHost(denied=frozenset({"kv.get"}))
    async with open_guest(asker(CALL, op=HostOp.CHECK), host=host) as opening:
        reply = '{"allowed":false,"reason":"plugin_allow_missing"}'
        assert int(await opening.text()) == len(reply)
        assert host.checks == [("kv.get", "token")]


FETCH = """
  (call $tell (call $host_reply (i32.const 16384) (i32.const 5)))
  (call $tell (call $host_reply (i32.const -16) (i32.const 1024)))
  (call $tell (call $host_reply (i32.const 16384) (i32.const 1024)))
  (call $tell (call $host_reply (i32.const 16384) (i32.const 1024)))
  (call $tell (i32.load8_u (i32.const 16384)))
"""


async def test_a_reply_that_did_not_fit_is_kept_until_it_is_fetched(open_guest: Open) -> None:
    async with open_guest(asker(CALL, room=5, then=FETCH)) as opening:
        async with opening.session.execute(request()) as chunks:
            numbers = [int(piece) async for piece in chunks]
    # Each `tell` is itself a host call, which drops what was kept: so only the first sees it.
    length = len('{"payload":"ImhlbGxvIg=="}')
    assert numbers == [length, -4, -4, -4, -4, 0]


FETCH_AT_ONCE = """
  (local.set $n (call $host_reply (i32.const -16) (i32.const 1024)))
  (local.set $n (i32.add (local.get $n) (call $host_reply (i32.const 16384) (i32.const 5))))
  (local.set $n (i32.add (local.get $n) (call $host_reply (i32.const 16384) (i32.const 64))))
  (local.set $n (i32.add (local.get $n) (call $host_reply (i32.const 16384) (i32.const 64))))
  (call $tell (local.get $n))
  (call $tell (i32.load8_u (i32.const 16384)))
"""


async def test_a_kept_reply_survives_buffers_that_are_too_small_or_not_there(
    open_guest: Open,
) -> None:
    fetching = asker(CALL, room=5, then=FETCH_AT_ONCE).replace("(call $tell (local.get $n))", "", 1)
    async with open_guest(fetching) as opening:
        async with opening.session.execute(request()) as chunks:
            numbers = [int(piece) async for piece in chunks]
    length = len('{"payload":"ImhlbGxvIg=="}')
    assert numbers == [-4 + length + length - 4, ord("{")]


async def test_a_reply_over_its_bound_has_failed(open_guest: Open) -> None:
    host = RecordingHost(reply=bytes(PAYLOAD_BYTES_MAX + 1))
    async with open_guest(asker(CALL), host=host) as opening:
        assert int(await opening.text()) == HostRefusal.FAILED


@pytest.mark.parametrize(
    "guest_of",
    [
        asker("no JSON"),
        asker("[]"),
        asker('{"capability":5}'),
        asker('{"capability":"x","payload":"!!!!"}'),
        asker(r'{"capability":"\ud800"}'),
        asker("[" * 3000),
        asker(CALL, op=0),
        asker(CALL, op=-1),
        asker(CALL, op=4),
        asker(CALL, at=-1),
        asker(CALL, at=131072),
        asker(CALL, length=-1),
        asker(CALL, length=200_000),
        asker(CALL, out=-8),
        asker(CALL, room=-1),
        asker(CALL, out=131072, room=1),
    ],
)
async def test_a_request_that_makes_no_sense_is_malformed_and_does_nothing(
    open_guest: Open, guest_of: str
) -> None:
    async with open_guest(guest_of) as opening:
        assert int(await opening.text()) == HostRefusal.MALFORMED
        assert opening.host.calls == []
        assert opening.host.checks == []


async def test_a_bug_in_the_host_reaches_the_caller_bare_and_stops_the_guest(
    open_guest: Open,
) -> None:
    host = RecordingHost(error=ZeroDivisionError())
    async with open_guest(asker(CALL), host=host) as opening:
        with pytest.raises(ZeroDivisionError):
            await opening.text()
        host.error = None
        assert int(await opening.text()) > 0  # in a fresh instance


async def test_what_breaks_inside_an_import_is_kept_aside(
    open_guest: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not be raised through wasmtime, which has one last exception for the process."""

    def broken(_data: bytes) -> dialect.CallAsked:
        raise MemoryError

    monkeypatch.setitem(
        host_imports._READERS,
        HostOp.CALL,
        ("x", 1000, broken),
    )
    async with open_guest(asker(CALL)) as opening, open_guest(guest("")) as other:
        with pytest.raises(MemoryError):
            await opening.text()
        assert "MemoryError" in (await opening.session.wait_ended()).reason
        with pytest.raises(PluginCrashedError):
            await opening.text()
        assert await other.text() == ""
