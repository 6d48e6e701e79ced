"""What a plugin prints is kept for its host, and never holds the plugin up."""

import os
import subprocess
import sys

import pytest
import trio

from sigil_actors._proto.plugin import stdio_pb2
from sigil_actors.sdk.captured_output import KEPT_BYTES_MAX, CapturedOutput, capturing
from sigil_actors.sdk.go_services import Stdio
from tests.tiers.process.machine import eventually


@pytest.fixture
def descriptor(tmp_path: os.PathLike[str]) -> int:
    """Give a descriptor to be captured, as the standard output would be."""
    return os.open(os.path.join(tmp_path, "original"), os.O_RDWR | os.O_CREAT)  # noqa: PTH118


async def all_of(output: CapturedOutput) -> bytes:
    pieces = []
    with trio.fail_after(5):
        while piece := await output.take():
            pieces.append(piece)
    return b"".join(pieces)


async def test_what_is_written_is_taken_and_then_the_descriptor_is_as_before(
    descriptor: int,
) -> None:
    output = CapturedOutput()
    with capturing(output, descriptor):
        os.write(descriptor, b"one\n")
        assert await output.take() == b"one\n"
        subprocess.run(  # noqa: ASYNC221 - short, and the descriptor is not one that trio's passes
            [sys.executable, "-c", "print('two')"], stdout=descriptor, check=True
        )
    os.write(descriptor, b"after\n")
    assert await all_of(output) == b"two\n"
    assert os.pread(descriptor, 100, 0) == b"after\n"
    os.close(descriptor)


async def test_a_write_in_the_event_loop_itself_never_waits_for_the_loop(descriptor: int) -> None:
    output = CapturedOutput()
    with capturing(output, descriptor):
        written = 0
        while written < 10 * KEPT_BYTES_MAX:  # nobody takes it meanwhile
            written += os.write(descriptor, b"x" * 50_000)
    os.close(descriptor)
    await eventually(lambda: output._has_ended)
    told = await all_of(output)
    kept, _, note = told.partition(b"[")
    assert KEPT_BYTES_MAX - 65_536 <= len(kept) <= KEPT_BYTES_MAX
    assert (
        note == f"{written - len(kept)} bytes of output were let go: nobody took them]\n".encode()
    )


async def test_what_outlives_the_event_loop_goes_nowhere(descriptor: int) -> None:
    def run() -> CapturedOutput:
        async def make() -> CapturedOutput:
            return CapturedOutput()

        return trio.run(make)

    output = await trio.to_thread.run_sync(run)
    output.put(b"late")
    output.end()
    os.close(descriptor)


async def test_it_is_streamed_as_go_plugin_streams_it() -> None:
    output = CapturedOutput()
    output.put(b"a")
    output.end()
    told = [message async for message in Stdio(output).StreamStdio(None, None)]
    assert told == [stdio_pb2.StdioData(channel=stdio_pb2.StdioData.STDOUT, data=b"a")]
