"""A plugin that doesn't start says why, and one that ends says how, with its last words."""

import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from sigil_actors.core.handshake import HandshakeOffer, Network
from sigil_actors.errors import HandshakeError, PluginStartError
from sigil_actors.tiers.process import running_plugin
from sigil_actors.tiers.process.group_guard import open_group_guard
from sigil_actors.tiers.process.plain_program import open_plain_program
from sigil_actors.tiers.process.program import ProgramEnd
from sigil_actors.tiers.process.running_plugin import RunningPlugin, open_running_plugin
from sigil_actors.tiers.process.spawner import Spawner
from tests.tiers.process.machine import children, descriptors

FOLDER = Path("/tmp/sockets")
OFFER = HandshakeOffer(socket_dir=FOLDER)
LINE = f"1|1|unix|{FOLDER}/s|grpc"


@asynccontextmanager
async def running(
    script: str, *, start_timeout_s: float = 5
) -> AsyncGenerator[RunningPlugin, None]:
    """Run a shell script as a plugin."""
    async with AsyncExitStack() as stack:
        spawner = await stack.enter_async_context(Spawner())
        guard = await stack.enter_async_context(open_group_guard(spawner))
        program = await stack.enter_async_context(
            open_plain_program(
                "it",
                ("/bin/sh", "-c", script),
                env={},
                cwd=Path("/"),
                socket_dir=FOLDER,
                spawner=spawner,
                guard=guard,
            )
        )
        yield await stack.enter_async_context(
            open_running_plugin(
                "it", program, lambda _level, _text: None, start_timeout_s=start_timeout_s
            )
        )


async def shake(script: str, *, start_timeout_s: float = 5) -> str:
    """Return what the error says that the handshake with a script ends in."""
    before = descriptors(), children()
    with pytest.raises(HandshakeError) as caught:
        async with running(script, start_timeout_s=start_timeout_s) as plugin:
            await plugin.shake_hands(OFFER)
    assert (descriptors(), children()) == before
    return str(caught.value)


async def test_an_honest_line_is_a_handshake() -> None:
    async with running(f"echo '{LINE}'; sleep 1000") as plugin:
        handshake = await plugin.shake_hands(OFFER)
        assert (handshake.network, handshake.address) == (Network.UNIX, f"{FOLDER}/s")
        assert plugin.end is None


async def test_a_plugin_that_exits_first_says_with_which_status_and_what_it_said_last() -> None:
    told = await shake("echo first >&2; echo 'no such config' >&2; exit 3")
    assert "plugin 'it' exited with status 3, and told no address before" in told
    assert "first | no such config" in told


async def test_a_plugin_that_is_killed_first_says_so() -> None:
    assert "was killed by SIGKILL" in await shake("kill -9 $$")


async def test_a_plugin_that_leaves_its_output_to_a_child_is_seen_to_end() -> None:
    assert "exited with status 4" in await shake("setsid sleep 3 & exit 4")


async def test_a_plugin_that_says_nothing_is_given_up_on_in_time() -> None:
    told = await shake("echo hm >&2; sleep 1000", start_timeout_s=0.2)
    assert "gave no handshake within 0.2 s" in told
    assert "hm" in told


async def test_a_plugin_that_closes_its_output_is_given_up_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running_plugin, "LEAVE_S", 0.05)
    assert "closed its standard output" in await shake("exec >&-; sleep 1000")


async def test_a_line_without_an_end_is_refused() -> None:
    assert "64 KiB" in await shake("exec tr '\\0' x </dev/zero")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("hello, world", "no handshake"),
        ("1|7|unix|/tmp/sockets/s|grpc", "speaks version '7'"),
        ("1|1|unix|/tmp/sockets/s", "netrpc"),
        ("1|1|unix|/run/docker.sock|grpc", "listens where it may not"),
        ("1|1|tcp|10.0.0.1:80|grpc", "listens where it may not"),
    ],
)
async def test_a_line_that_answers_no_offer_is_refused(line: str, why: str) -> None:
    assert why in await shake(f"echo '{line}'; sleep 1000")


async def test_a_step_of_the_start_ends_with_the_plugin_or_its_time() -> None:
    async with running(f"echo '{LINE}'; echo bye >&2; read line; exit 5") as plugin:
        await plugin.shake_hands(OFFER)
        with pytest.raises(PluginStartError, match="exited with status 5; its last words: bye"):
            async with plugin.starting("wasn't healthy"):
                await trio.sleep_forever()
        with pytest.raises(PluginStartError, match="exited with status 5"):
            async with plugin.starting("wasn't healthy"):
                await trio.sleep_forever()
    async with running("sleep 1000", start_timeout_s=0.01) as plugin:
        with pytest.raises(PluginStartError, match=r"wasn't healthy within 0.01 s"):
            async with plugin.starting("wasn't healthy"):
                await trio.sleep_forever()


async def test_an_error_of_a_step_leaves_it_bare() -> None:
    async with running("sleep 1000") as plugin:
        with pytest.raises(ZeroDivisionError):
            async with plugin.starting("wasn't healthy"):
                raise ZeroDivisionError


async def test_an_end_is_told_once_all_was_read() -> None:
    script = f"echo '{LINE}'; for n in 1 2 3; do echo $n >&2; done; echo 4; kill -11 $$"
    async with running(script) as plugin, trio.open_nursery() as nursery:
        await plugin.shake_hands(OFFER)
        nursery.start_soon(plugin.read_output)
        assert await plugin.wait_ended() == ProgramEnd(signal=signal.SIGSEGV)
        error = plugin.crash()
        assert "was killed by SIGSEGV" in str(error)
        assert sorted(error.last_words) == ["1", "2", "3", "4"]


@pytest.mark.parametrize("was_asked", [True, False])
@pytest.mark.parametrize(
    ("trap", "end"),
    [("'exit 6'", ProgramEnd(exit_status=6)), ("-", ProgramEnd(signal=15)), ("''", None)],
)
async def test_a_stop_is_polite_and_bounded(
    monkeypatch: pytest.MonkeyPatch, *, trap: str, was_asked: bool, end: ProgramEnd | None
) -> None:
    monkeypatch.setattr(running_plugin, "EXIT_S", 0.05)
    monkeypatch.setattr(running_plugin, "TERM_S", 5 if end else 0.05)
    script = f"trap {trap} TERM; echo '{LINE}'; while :; do sleep 0.01; done"
    async with running(script) as plugin:
        await plugin.shake_hands(OFFER)
        await plugin.stop(was_asked=was_asked)
        if end is None:
            assert plugin.end is None
        else:
            assert await plugin.wait_ended() == end


async def test_a_plugin_that_goes_by_itself_is_sent_no_signal() -> None:
    async with running(f"echo '{LINE}'; sleep 0.01") as plugin:
        await plugin.shake_hands(OFFER)
        await plugin.stop(was_asked=True)
        assert await plugin.wait_ended() == ProgramEnd(exit_status=0)


async def test_a_stop_that_is_cancelled_waits_for_nothing() -> None:
    async with running(f"trap '' TERM; echo '{LINE}'; sleep 1000") as plugin:
        await plugin.shake_hands(OFFER)
        with trio.move_on_after(0.05) as scope:
            await plugin.stop(was_asked=True)
        assert scope.cancelled_caught
