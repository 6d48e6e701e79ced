"""What bubblewrap says on its status descriptor: the sandbox's first process, and how it ended.

It writes one JSON object a line, in pieces. See bwrap(1), --json-status-fd.
"""

import json
import os

import trio

STATUS_BYTES_MAX = 16 * 1024
"""All that it ever says: some 200 bytes."""

PIECE_BYTES = 4096

SIGNAL_STATUS = 128
"""A shell's way to tell a signal in an exit status, which is bubblewrap's too."""


class BwrapStatus:
    """Reads the host's end. One task at a time."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._stream = trio.lowlevel.FdStream(descriptor)
        self._read = b""

    async def first_process(self) -> int | None:
        """Return the first process of the sandbox, as the host sees it; None: it was never made."""
        return await self._number("child-pid")

    async def exit_code(self) -> int | None:
        """Return what the plugin ended with; None where bubblewrap was ended itself."""
        return await self._number("exit-code")

    async def _number(self, key: str) -> int | None:
        while True:
            line, end, rest = self._read.partition(b"\n")
            if end:
                self._read = rest
                said = json.loads(line)
                if key in said:
                    return int(said[key])
                continue
            if len(self._read) > STATUS_BYTES_MAX:
                raise AssertionError("bubblewrap says more than it has to say")
            piece = await self._stream.receive_some(PIECE_BYTES)
            if not piece:
                return None
            self._read += piece

    async def aclose(self) -> None:
        """Close the descriptor."""
        await self._stream.aclose()
