"""Holds a bubblewrap twice: until its file system is complete, and until every bound is set.

Where it waits for a byte (`--block-fd`), the byte is there already: that it was read says that the
file system is complete. Then it reads the system call filter, from a pipe, and that is what holds
it: without a filter nothing runs, so that a host that dies in between starts no plugin. (At the
block descriptor it would: an end of file counts as the byte there.)
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import trio

from sigil_actors.core.bwrap_args import SlotPurpose


class Gates:
    """The pipes between the host and a bubblewrap that is being started."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self.status_read, self.status_write = self._pipe()
        self.block_read, self.block_write = self._pipe()
        self.filter_read, self.filter_write = self._pipe()
        os.write(self.block_write, b"x")

    def _pipe(self) -> tuple[int, int]:
        pair = os.pipe()
        self._open.update(pair)
        return pair

    def passed(self) -> Mapping[SlotPurpose, int]:
        """Return what is bubblewrap's."""
        return {
            SlotPurpose.STATUS: self.status_write,
            SlotPurpose.BLOCK: self.block_read,
            SlotPurpose.SECCOMP: self.filter_read,
        }

    def close_passed(self) -> None:
        """Close the host's copies, so that an end of file means that bubblewrap's are closed."""
        for descriptor in self.passed().values():
            self._close(descriptor)

    def take_status(self) -> int:
        """Hand over the host's end of the status."""
        self._open.discard(self.status_read)
        return self.status_read

    async def wait_complete(self) -> None:
        """Wait until the byte was read, or bubblewrap has ended.

        Either way nobody can read from that pipe any more, of which its other end hears.
        """
        await trio.lowlevel.wait_readable(self.block_write)

    def let_go(self, system_call_filter: bytes) -> None:
        """Hand over the filter. A pipe takes all of it at once: it has room for ten."""
        with suppress(BrokenPipeError):  # it has ended; who waits for it will see
            os.write(self.filter_write, system_call_filter)
        self._close(self.filter_write)

    def _close(self, descriptor: int) -> None:
        if descriptor in self._open:
            self._open.remove(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Close what is still open."""
        for descriptor in tuple(self._open):
            self._close(descriptor)


@contextmanager
def open_gates() -> Iterator[Gates]:
    """Open the pipes; what nobody took or closed is closed with the block."""
    gates = Gates()
    try:
        yield gates
    finally:
        gates.close()
