"""How long the body of an HTTP/1 request is: passes its bytes on, and nothing behind them.

Owns the chunked coding (RFC 9112, section 7.1), without its extensions and trailers: nobody sends
them, and readers differ in what they make of them.
"""

import re
from typing import Final

import attrs

from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.http_request import BodyLength, Chunked, ProxyRequestError

_SIZE = re.compile(rb"[0-9a-fA-F]{1,8}")
_SIZE_LINE_BYTES_MAX: Final = 10
"""Eight digits, 4 GiB, and the line break."""
_END: Final = b"\r\n"


@attrs.define(eq=False)
class BodyReader:
    """Takes a body as it comes."""

    _length: BodyLength
    _left: int = attrs.field(init=False)
    """Bytes to come of the body, or of the chunk with its line break."""
    _line: bytearray = attrs.field(factory=bytearray, init=False)
    """What has come of a line that must be whole: a chunk's size, or the empty one at the end."""
    _is_last: bool = attrs.field(default=False, init=False)
    is_done: bool = attrs.field(init=False)
    """Whether all of it has come."""

    def __attrs_post_init__(self) -> None:
        self._left = 0 if isinstance(self._length, Chunked) else self._length
        self.is_done = self._length == 0

    def receive(self, data: bytes) -> bytes:
        """Take the next bytes; return those of the body, in its coding.

        A line of the coding is held until it is whole. What comes behind the body is dropped.

        Raises:
            ProxyRequestError: they don't follow the coding.
        """
        if not isinstance(self._length, Chunked):
            body = data[: self._left]
            self._left -= len(body)
            self.is_done = self._left == 0
            return body
        at = 0
        passed = bytearray()
        while at < len(data) and not self.is_done:
            take = self._take_content if self._left else self._take_line
            at = take(data, at, passed)
        return bytes(passed)

    def _take_content(self, data: bytes, at: int, passed: bytearray) -> int:
        """Take what there is of a chunk; its last two bytes are the line break."""
        count = min(self._left, len(data) - at)
        for offset, expected in zip((2, 1), _END, strict=True):
            place = self._left - offset
            if 0 <= place < count and data[at + place] != expected:
                raise _malformed("a chunk is longer than it says")
        self._left -= count
        passed += data[at : at + count]
        return at + count

    def _take_line(self, data: bytes, at: int, passed: bytearray) -> int:
        newline = data.find(b"\n", at)
        end = len(data) if newline < 0 else newline + 1
        self._line += data[at : min(end, at + _SIZE_LINE_BYTES_MAX + 1)]
        if len(self._line) > _SIZE_LINE_BYTES_MAX:
            raise _malformed("a chunk's size is too long")
        if newline >= 0:
            self._read_line(bytes(self._line))
            passed += self._line
            self._line.clear()
        return end

    def _read_line(self, line: bytes) -> None:
        text = line.removesuffix(_END)
        if text == line:
            raise _malformed("a line ends without a carriage return")
        if self._is_last:
            if text:
                raise _malformed("there is a trailer")
            self.is_done = True
        elif not _SIZE.fullmatch(text):
            raise _malformed("a chunk's size is no number")
        else:
            size = int(text, 16)
            self._is_last = size == 0
            self._left = size + len(_END) if size else 0


def _malformed(what: str) -> ProxyRequestError:
    return ProxyRequestError(what, EgressReason.MALFORMED_BODY)
