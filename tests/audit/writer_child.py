"""Appends batches until it is killed, and tells how far it came: for test_crash.py.

The number of the last entry acknowledged goes to standard output, 8 bytes after each append.
"""

import random
import struct
import sys

import trio

from sigil_actors.audit.sqlite import SqliteAuditStore
from sigil_actors.testing.audit_store_contract import example_entry


async def write(folder: str, seed: int) -> None:
    """Append for ever."""
    sizes = random.Random(seed)
    async with SqliteAuditStore(folder) as store:
        while True:
            batch = [example_entry(number) for number in range(sizes.randint(1, 64))]
            stored = await store.append(batch)
            sys.stdout.buffer.write(struct.pack("<q", stored[-1].seq))
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    trio.run(write, sys.argv[1], int(sys.argv[2]))
