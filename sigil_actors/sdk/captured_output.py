"""A plugin's standard output after the handshake: what it prints goes to its host by gRPC.

A thread reads it, since a `print` in the event loop would otherwise wait for that same loop. What
no host takes is kept up to a bound and let go beyond it: a plugin that prints never stands still.
"""

import io
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import trio

KEPT_BYTES_MAX: Final = 256 * 1024
"""Of output that no host has taken yet: four pipes' worth. go-plugin keeps none, and blocks."""

_READ_BYTES: Final = 65_536
"""As much as a pipe holds."""

STDOUT: Final = 1


class CapturedOutput:
    """What was written and not yet taken. Filled by a thread, emptied by one task of trio's."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._changed = trio.Event()
        self._lock = threading.Lock()
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._lost = 0
        self._has_ended = False

    def put(self, piece: bytes) -> None:
        """Keep a piece, or count it as lost where there are too many."""
        with self._lock:
            if self._size + len(piece) > KEPT_BYTES_MAX:
                self._lost += len(piece)
            else:
                self._pieces.append(piece)
                self._size += len(piece)
        self._wake()

    def end(self) -> None:
        """Take it that nothing more comes."""
        self._has_ended = True
        self._wake()

    async def take(self) -> bytes:
        """Return the next piece, waiting for it; empty at the end."""
        while True:
            changed = self._changed
            with self._lock:
                if self._pieces:
                    piece = self._pieces.popleft()
                    self._size -= len(piece)
                    return piece
                if self._lost:
                    lost, self._lost = self._lost, 0
                    return f"[{lost} bytes of output were let go: nobody took them]\n".encode()
                if self._has_ended:
                    return b""
            await changed.wait()

    def _wake(self) -> None:
        with suppress(trio.RunFinishedError):  # nobody is left to take it
            self._token.run_sync_soon(self._tell, idempotent=True)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@contextmanager
def capturing(output: CapturedOutput, descriptor: int = STDOUT) -> Iterator[None]:
    """Have what is written to the descriptor go to `output` for as long as the block lasts.

    By the descriptor, so that it holds for libraries and child processes too.
    """
    original = os.dup(descriptor)
    reading, writing = os.pipe()
    os.dup2(writing, descriptor)
    os.close(writing)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A line is taken when it is written, as on a terminal.
        sys.stdout.reconfigure(line_buffering=True)
    threading.Thread(target=_read, args=(reading, output), daemon=True).start()
    try:
        yield
    finally:
        with suppress(OSError, ValueError):  # closed by the plugin itself
            sys.stdout.flush()
        # The last writer is gone with it, and the thread ends: unless a child still has it.
        os.dup2(original, descriptor)
        os.close(original)


def _read(reading: int, output: CapturedOutput) -> None:
    try:
        while piece := os.read(reading, _READ_BYTES):
            output.put(piece)
    finally:
        os.close(reading)
        output.end()
