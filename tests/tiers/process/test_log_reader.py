"""All that a plugin writes reaches its log, within bounds, and the last of it is kept."""

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from sigil_actors.core.handshake import LINE_BYTES_MAX
from sigil_actors.tiers.process.log_reader import (
    LAST_WORDS_MAX,
    PIECE_BYTES,
    ROUND_BYTES_MAX,
    ROUND_LINES_MAX,
    Lines,
    OutputLog,
)
from tests.tiers.process.pieces import Pieces


class Log:
    """A `PluginLog` that keeps what it is told."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str]] = []

    def __call__(self, level: str, text: str) -> None:
        """Keep it."""
        self.entries.append((level, text))


@given(st.lists(st.binary(max_size=50)))
def test_lines_are_the_same_however_they_are_cut(pieces: list[bytes]) -> None:
    lines = Lines()
    found = [line for piece in pieces for line in lines.take(piece)] + lines.end()
    whole = b"".join(pieces)
    assert found == (whole.removesuffix(b"\n").split(b"\n") if whole else [])


def test_a_line_without_an_end_is_cut_before_it_grows() -> None:
    lines = Lines()
    found = [line for _ in range(100) for line in lines.take(b"x" * 10_000)] + lines.end()
    assert max(map(len, found)) == LINE_BYTES_MAX
    assert sum(map(len, found)) == 1_000_000


async def test_lines_keep_their_levels_and_what_they_say() -> None:
    log = Log()
    output = OutputLog(log)
    await output.read(
        Pieces(
            b'{"@level":"warn","@message":"hot","@module":"m","degrees":90}\r\n[ERROR] no',
            b"t good\nplain \xff\npanic: oh\n\ngoroutine 1",
        )
    )
    assert log.entries == [
        ("warn", "m: hot: degrees=90"),
        ("error", "not good"),
        ("debug", "plain \\xff"),
        ("error", "panic: oh"),
        ("error", ""),
        ("error", "goroutine 1"),
    ]
    assert output.last_words == (
        "m: hot: degrees=90",
        "not good",
        "plain \\\\xff",
        "panic: oh",
        "goroutine 1",
    )


async def test_the_last_words_are_the_last_and_safe_to_show() -> None:
    output = OutputLog(Log())
    await output.read(Pieces(*(f"line {number}\n".encode() for number in range(50)), b"\x1b[2J"))
    assert len(output.last_words) == LAST_WORDS_MAX
    assert output.last_words[-2:] == ("line 49", "\\x1b[2J")


async def test_a_flood_is_read_slowly_and_its_lines_are_dropped(autojump_clock: MockClock) -> None:
    log = Log()
    output = OutputLog(log)
    flood = b"spam\n" * (5 * ROUND_BYTES_MAX // 5)
    began = trio.current_time()
    await output.read(Pieces(flood, b"and then it died"))
    assert trio.current_time() - began >= 0.4
    assert len(log.entries) < 25 * (ROUND_LINES_MAX + 2)
    dropped = [text for level, text in log.entries if "dropped" in text and level == "warn"]
    assert sum(int(text.split()[0]) for text in dropped) > 1_000_000
    assert output.last_words[-1] == "and then it died"
    assert PIECE_BYTES < ROUND_BYTES_MAX


async def test_whoever_waits_for_all_that_was_said_hears_of_the_last_reader() -> None:
    output = OutputLog(Log())
    first, second = trio.testing.memory_stream_one_way_pair(), Pieces(b"b\n")
    heard = []

    async def wait() -> None:
        await output.wait_all_read()
        heard.append(output.last_words)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.read, first[1])
        nursery.start_soon(output.read, second)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        assert not heard
        await first[0].send_all(b"a")
        await first[0].aclose()
    assert heard == [("b", "a")]


async def test_a_stream_that_breaks_has_ended() -> None:
    class Broken(Pieces):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            if piece := await super().receive_some(max_bytes):
                return piece
            raise trio.BrokenResourceError

    log = Log()
    await OutputLog(log).read(Broken(b"x"))
    assert log.entries == [("debug", "x")]
