"""The first line is found however it arrives, and what is none is refused within bounds."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.handshake import LINE_BYTES_MAX
from sigil_actors.tiers.process.handshake_reader import NoHandshakeError, Output
from tests.tiers.process.pieces import Pieces


@given(
    st.binary(max_size=9000).map(lambda line: line.replace(b"\n", b"")),
    st.binary(max_size=9000),
    st.lists(st.integers(1, 5000), max_size=8),
)
def test_the_line_and_what_comes_after_it_are_told_apart(
    line: bytes, rest: bytes, cuts: list[int]
) -> None:
    sent, pieces = line + b"\n" + rest, list[bytes]()
    for cut in cuts:
        pieces.append(sent[:cut])
        sent = sent[cut:]
    pieces.append(sent)

    async def read() -> tuple[bytes, bytes]:
        output = Output(Pieces(*filter(None, pieces)))
        found, after = await output.read_line(), b""
        while piece := await output.receive_some(100):
            assert len(piece) <= 100
            after += piece
        return found, after

    assert trio.run(read) == (line.removesuffix(b"\r"), rest)


async def test_an_end_before_the_line_is_none() -> None:
    with pytest.raises(NoHandshakeError, match="closed its standard output"):
        await Output(Pieces(b"1|1|unix|/tmp")).read_line()


async def test_a_line_without_an_end_is_refused_before_it_grows() -> None:
    stream = Pieces(b"x" * 10_000_000)
    with pytest.raises(NoHandshakeError, match="64 KiB"):
        await Output(stream).read_line()
    assert stream.taken <= LINE_BYTES_MAX + 4096
