"""A guest's memory, where every pointer and length comes from a stranger.

wasmtime's own `Memory.read` clamps what is out of range, so it gives a wrong answer and no error;
here it is an error. Used in the thread that is inside the guest.
"""

import ctypes

import wasmtime

_U32 = 0xFFFFFFFF


class OutOfMemoryRangeError(Exception):
    """The guest named a piece of memory that it doesn't have."""


def unsigned(value: int) -> int:
    """Return a pointer or length as the guest means it; wasmtime hands out signed numbers."""
    return value & _U32


class GuestMemory:
    """Reads and writes the memory of one instance."""

    def __init__(self, store: wasmtime.Store, memory: wasmtime.Memory) -> None:
        self._store = store
        self._memory = memory

    @property
    def size_bytes(self) -> int:
        """How large it is now; a guest can make it grow, never shrink."""
        return self._memory.data_len(self._store)

    def read(self, pointer: int, length: int) -> bytes:
        """Return a copy of what is there.

        Raises:
            OutOfMemoryRangeError: not all of it is inside.
        """
        self.check(pointer, length)
        # Not by `Memory.read`: it makes a new ctypes type for every length, which costs more than
        # the copy and is garbage in a cycle.
        return ctypes.string_at(self._address(pointer), length) if length else b""

    def write(self, pointer: int, data: bytes) -> None:
        """Copy `data` there.

        Raises:
            OutOfMemoryRangeError: not all of it fits.
        """
        self.check(pointer, len(data))
        if data:
            ctypes.memmove(self._address(pointer), data, len(data))

    def check(self, pointer: int, length: int) -> None:
        """Raise `OutOfMemoryRangeError` unless all of it is inside; both are unsigned."""
        if pointer + length > self.size_bytes:
            raise OutOfMemoryRangeError(
                f"{length} bytes at {pointer:#x}, in a memory of {self.size_bytes} bytes"
            )

    def _address(self, pointer: int) -> int:
        # Asked for each time: memory moves when it grows.
        return ctypes.addressof(self._memory.data_ptr(self._store).contents) + pointer
