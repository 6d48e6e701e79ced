"""gRPC's messages inside HTTP/2's DATA: five bytes of length before each, and none compressed."""

from collections import deque
from typing import Final

from sigil_actors.rpc.status import RpcError, StatusCode
from sigil_actors.rpc.stream import Stream

PREFIX_BYTES: Final = 5
MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""As much as one message may have unless a channel or server says otherwise: gRPC's own default."""

_FRAGMENTS_FREE: Final = 256
_FRAGMENT_BYTES: Final = 64
"""A message may come in 256 pieces and one more for each 64 bytes: a frame of one byte costs its
sender ten and us a hundred times that."""


def pack(body: bytes) -> bytes:
    """Return a message as it goes into DATA."""
    return b"\0" + len(body).to_bytes(4, "big") + body


class MessageStream(Stream):
    """A stream that cuts what arrives into messages.

    What is read is given back to the window by whoever reads; so a reader that is behind makes the
    sender wait, and `messages` never holds more than the window lets in.
    """

    __slots__ = (
        "_fragments",
        "_have",
        "_parts",
        "_want",
        "messages",
        "names_encoding",
        "receive_max",
        "unread",
    )

    def __init__(self) -> None:
        super().__init__()
        self.messages: deque[bytes] = deque()
        self.unread: int = 0
        """What the messages that wait cost of the window."""
        self.receive_max: int = MESSAGE_BYTES_MAX
        self.names_encoding: bool = False
        """Whether the peer named a compression for its messages."""
        self._parts: list[bytes] = []
        self._have = 0
        self._want = PREFIX_BYTES
        self._fragments = 0

    @property
    def is_inside_message(self) -> bool:
        """Whether a message has begun and isn't whole."""
        return self._have > 0

    def feed(self, data: bytes) -> None:
        """Take what came with DATA.

        Raises:
            RpcError: it can't be cut into messages, or one is over its bound.
        """
        if self._have:
            self._parts.append(data)
            self._have += len(data)
            self._fragments += 1
            if self._fragments > _FRAGMENTS_FREE + self._have // _FRAGMENT_BYTES:
                raise RpcError(StatusCode.RESOURCE_EXHAUSTED, "message in too many fragments")
            if self._have < self._want:
                return
            data = b"".join(self._parts)
            self._parts.clear()
            self._have = 0
        at, end = 0, len(data)
        self._want = PREFIX_BYTES
        while end - at >= PREFIX_BYTES:
            length = int.from_bytes(data[at + 1 : at + PREFIX_BYTES], "big")
            if data[at] or length > self.receive_max:
                self._refuse(data[at], length)
            after = at + PREFIX_BYTES + length
            if after > end:
                self._want = PREFIX_BYTES + length
                break
            self.messages.append(data[at + PREFIX_BYTES : after])
            at = after
        if at < end:
            self._parts.append(data[at:] if at else data)
            self._have = end - at
            self._fragments = 0

    def forget_messages(self) -> None:
        """Let go of all that came and wasn't read."""
        self.messages.clear()
        self._parts.clear()
        self._have = 0

    def _refuse(self, flag: int, length: int) -> None:
        if flag == 1 and self.names_encoding:
            raise RpcError(StatusCode.UNIMPLEMENTED, "compressed messages are not supported")
        if flag:
            raise RpcError(StatusCode.INTERNAL, f"message flag {flag} without grpc-encoding")
        raise RpcError(
            StatusCode.RESOURCE_EXHAUSTED,
            f"message of {length} bytes exceeds the limit of {self.receive_max}",
        )
