"""Valid bytes of an HTTP/2 peer, broken in some places."""

from random import Random

from sigil_actors.rpc import frames
from sigil_actors.rpc.frames import HEAD_BYTES, frame

_HEAD_VALUES = (0, 1, 2, 4, 5, 8, 9, 32, 44, 127, 255)
"""Types and flags that mean something, and some lengths."""


def mutated(random: Random, data: bytes) -> bytes:
    """Break valid bytes in some places: in single bits, in frames, in their order."""
    broken = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 10))):
        if not broken:
            break
        change = random.choices(
            (
                *(_set_byte, _flip_bit, _cut, _insert_noise),
                *(_repeat, _break_head, _resize, _insert_frame),
            ),
            (25, 10, 10, 10, 10, 15, 10, 10),
        )[0]
        change(random, broken)
    return bytes(broken)


def _set_byte(random: Random, data: bytearray) -> None:
    data[random.randrange(len(data))] = random.randrange(256)


def _flip_bit(random: Random, data: bytearray) -> None:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _cut(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data))
    del data[at : at + random.choice((1, 2, 9, 50))]


def _insert_noise(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data))
    data[at:at] = random.randbytes(random.choice((1, 9, 50)))


def _repeat(random: Random, data: bytearray) -> None:
    start = random.randrange(len(data))
    piece = data[start : start + random.choice((9, 20, 100))]
    at = random.randrange(len(data))
    data[at:at] = piece * random.choice((1, 1, 3, 50))


def _break_head(random: Random, data: bytearray) -> None:
    starts = _frame_starts(data)
    if starts:
        at = random.choice(starts) + random.randrange(HEAD_BYTES)
        data[at] = random.choice((*_HEAD_VALUES, random.randrange(256)))


def _resize(random: Random, data: bytearray) -> None:
    """Make a frame's payload longer or shorter, and its head say so."""
    starts = _frame_starts(data)
    if not starts:
        return
    at = random.choice(starts)
    length = int.from_bytes(data[at : at + 3], "big")
    sizes = (0, 1, 3, length - 1, length + 1, length - 5, length // 2)
    resized = min(max(0, random.choice(sizes)), frames.FRAME_MAX_LIMIT)
    body = at + HEAD_BYTES
    payload = data[body : body + min(length, resized)]
    data[body : body + length] = payload + bytes(max(0, resized - len(payload)))
    data[at : at + 3] = resized.to_bytes(3, "big")


def _insert_frame(random: Random, data: bytearray) -> None:
    payload = random.randbytes(random.choice((0, 1, 4, 5, 6, 8, 12, 40)))
    flags = random.choice((0, 1, 4, 5, 8, 13, 36, 255))
    stream_id = random.choice((0, 1, 2, 3, 5, 7, 101))
    at = random.choice(_frame_starts(data) or [random.randrange(len(data))])
    data[at:at] = frame(random.randrange(12), flags, stream_id, payload)


def _frame_starts(data: bytearray) -> list[int]:
    position = len(frames.PREFACE) if data.startswith(frames.PREFACE[:3]) else 0
    starts = []
    while position + HEAD_BYTES <= len(data):
        starts.append(position)
        position += HEAD_BYTES + int.from_bytes(data[position : position + 3], "big")
    return starts
