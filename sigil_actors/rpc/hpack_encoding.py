"""HPACK, the encoding side: a header block that needs no state at either end.

Only literals that aren't to be indexed, and entries of the static table (RFC 7541, appendix A). So
a block is a function of its fields, and what is the same in each call is encoded once. Huffman's
code is left out: it would save some 60 bytes a call and cost more than they do.
"""

from collections.abc import Iterable, Mapping
from typing import Final

TABLE_SIZE_ZERO: Final = b"\x20"
"""Says that the dynamic table isn't used: first in the first block, allowed under any setting."""

_FIELD_INDEX: Final[Mapping[tuple[bytes, bytes], int]] = {
    (b":method", b"POST"): 3,
    (b":scheme", b"http"): 6,
    (b":scheme", b"https"): 7,
    (b":status", b"200"): 8,
}
_NAME_INDEX: Final[Mapping[bytes, int]] = {
    b":authority": 1,
    b":method": 2,
    b":path": 4,
    b":scheme": 6,
    b":status": 8,
    b"content-type": 31,
    b"user-agent": 58,
}
_INDEXED = 0x80
_LITERAL = 0x00
_LITERAL_NEW_NAME = b"\0"
_NAME_INDEX_BITS = 4
_LENGTH_BITS = 7
_BYTE_BITS = 7
_BYTE_MASK = 0x7F
_MORE = 0x80


def encode_integer(number: int, bits: int, first: int) -> bytes:
    """Return a number with a prefix of so many bits, in a byte that begins as `first`."""
    top = (1 << bits) - 1
    if number < top:
        return bytes((first | number,))
    out = bytearray((first | top,))
    number -= top
    while number > _BYTE_MASK:
        out.append(number & _BYTE_MASK | _MORE)
        number >>= _BYTE_BITS
    out.append(number)
    return bytes(out)


def encode_string(text: bytes) -> bytes:
    """Return a text with its length before it."""
    return encode_integer(len(text), _LENGTH_BITS, 0) + text


def header(name: bytes, value: bytes) -> bytes:
    """Return one field, encoded. Blocks are joined by `+`."""
    if (field := _FIELD_INDEX.get((name, value))) is not None:
        return bytes((_INDEXED | field,))
    index = _NAME_INDEX.get(name)
    if index is None:
        return _LITERAL_NEW_NAME + encode_string(name) + encode_string(value)
    return encode_integer(index, _NAME_INDEX_BITS, _LITERAL) + encode_string(value)


def encode(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a header block. Pseudo-headers come first, names are in lower case."""
    return b"".join([header(name, value) for name, value in pairs])
