"""Header blocks that arrive: decoded, checked against RFC 9113 (8.2 and 8.3), and cached.

Decoding is the `hpack` library's work. What a block means to gRPC is the layer above's.
"""

import re
from typing import Final

import hpack

from sigil_actors.rpc.frames import Code
from sigil_actors.rpc.http2_error import ViolationError
from sigil_actors.rpc.limits import Limits

_FORBIDDEN: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
"""Belong to one hop of HTTP/1."""

_REQUEST_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority"))
_CONNECT_PSEUDO: Final = frozenset((b":method", b":authority"))
_NAME: Final = re.compile(rb"[!-9;-@\[-~]+")
"""Visible ASCII without upper case and colon: what RFC 9113, 8.2.1 wants checked at least."""
_BAD_VALUE: Final = re.compile(rb"[\0\r\n]|\A[ \t]|[ \t]\Z")
_STATUS: Final = re.compile(rb"[0-9]{3}")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
"""Eighteen digits are an exabyte."""

_SHOWN_MAX: Final = 40
_TABLE_DEFAULT: Final = 4096
"""A peer may use so large a table until it has read our first SETTINGS."""
_CACHED_BYTES_MAX: Final = 512
"""A longer block hardly repeats."""
_SIZE_UPDATE: Final = 0x20
_SIZE_UPDATE_MASK: Final = 0xE0


class Block:
    """A decoded header block. Read only, since equal blocks of one connection are one object.

    `wrong` says what is wrong with it wherever it comes, None if nothing is. `memo` is free for the
    layer above, which keeps there what it made of the fields.
    """

    __slots__ = ("length", "memo", "pairs", "pseudo", "wrong")

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self.pairs = pairs
        self.pseudo: dict[bytes, bytes] = {}
        self.length: int | None = None
        """The content-length, if there is one."""
        self.memo: object = None
        self.wrong: str | None = None
        seen_regular = False
        for name, value in pairs:
            if name[:1] == b":":
                if seen_regular or name in self.pseudo:
                    self.wrong = "misplaced pseudo-header"
                self.pseudo[name] = value
            else:
                seen_regular = True
                self._check_name(name, value)
            if _BAD_VALUE.search(value):
                self.wrong = f"bad value of {name[:_SHOWN_MAX]!r}"

    def _check_name(self, name: bytes, value: bytes) -> None:
        if (
            name in _FORBIDDEN
            or not _NAME.fullmatch(name)
            or (name == b"te" and value.lower() != b"trailers")
        ):
            self.wrong = f"forbidden header {name[:_SHOWN_MAX]!r}"
        elif name == b"content-length":
            if not _LENGTH.fullmatch(value) or self.length not in (None, int(value)):
                self.wrong = "bad content-length"
            else:
                self.length = int(value)

    def wrong_request(self) -> str | None:
        """Return what is wrong with it as a request, or None."""
        if self.wrong is not None:
            return self.wrong
        pseudo = self.pseudo
        if not pseudo.keys() <= _REQUEST_PSEUDO or b":method" not in pseudo:
            return "bad pseudo-headers"
        if pseudo[b":method"] == b"CONNECT":
            return None if pseudo.keys() == _CONNECT_PSEUDO else "bad CONNECT"
        return None if pseudo.get(b":scheme") and pseudo.get(b":path") else "missing pseudo-header"

    def wrong_response(self) -> str | None:
        """Return what is wrong with it as a response, interim or final, or None."""
        if self.wrong is not None:
            return self.wrong
        status = self.pseudo.get(b":status", b"")
        return None if len(self.pseudo) == 1 and _STATUS.fullmatch(status) else "bad :status"

    def wrong_trailers(self) -> str | None:
        """Return what is wrong with it as trailers, or None."""
        if self.wrong is not None:
            return self.wrong
        return "pseudo-header in trailers" if self.pseudo else None


class PartialBlock:
    """A header block of which the last frame isn't here yet."""

    __slots__ = ("_bytes_max", "_frames_max", "_parts", "_size", "end", "stream_id")

    def __init__(self, stream_id: int, first: bytes, limits: Limits, *, end: bool) -> None:
        self.stream_id = stream_id
        self.end = end
        self._parts = [first]
        self._size = len(first)
        self._bytes_max = limits.header_block_max
        self._frames_max = 1 + limits.continuations_max

    def add(self, part: bytes) -> None:
        """Take what a CONTINUATION brings.

        Raises:
            ViolationError: The block has become too long, or has too many frames.
        """
        self._parts.append(part)
        self._size += len(part)
        if self._size > self._bytes_max or len(self._parts) > self._frames_max:
            raise ViolationError(Code.ENHANCE_YOUR_CALM, "header block too long")

    def joined(self) -> bytes:
        """Return the whole block."""
        return b"".join(self._parts)


class BlockDecoder:
    """HPACK's state on the receiving side, and a cache of what it gave.

    While the peer keeps no dynamic table a block is a function of its bytes, and only then the
    cache is used. We offer a table of size 0, so that is from the peer's first block after it read
    our SETTINGS on; most peers send that block first of all.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._decoder = hpack.Decoder(max_header_list_size=limits.header_list_max)
        self._decoder.max_allowed_table_size = max(_TABLE_DEFAULT, limits.table_size)
        self._cache: dict[bytes, Block] = {}

    def settings_acknowledged(self) -> None:
        """Hold the peer to the table size that we offered.

        It has to say in its next block that it shrinks its table. Some peers that never use one
        (.NET's client) leave that out, so no table is taken for granted: whoever does refer to an
        entry fails then. Only for none at all, since two tables of different sizes could disagree
        about an entry without anyone noticing.
        """
        self._decoder.max_allowed_table_size = self._limits.table_size
        if self._limits.table_size == 0:
            self._decoder.header_table_size = 0

    def decode(self, raw: bytes) -> Block:
        """Return the block. Every block of a connection has to pass here, in its order.

        Raises:
            ViolationError: It isn't HPACK, or is over its bounds. The decoder's state is then lost,
                and the connection with it.
        """
        stateless = self._decoder.header_table.maxsize == 0
        if stateless and (cached := self._cache.get(raw)) is not None:
            return cached
        if len(raw) > self._limits.header_block_max:
            raise ViolationError(Code.ENHANCE_YOUR_CALM, "header block too long")
        try:
            fields = self._decoder.decode(raw, raw=True)
        except hpack.OversizedHeaderListError:
            raise ViolationError(Code.ENHANCE_YOUR_CALM, "header list too large") from None
        except Exception as error:  # noqa: BLE001 - a stranger's bytes in a library's hands
            what = f"HPACK: {type(error).__name__}"
            raise ViolationError(Code.COMPRESSION_ERROR, what) from None
        block = Block([(bytes(field[0]), bytes(field[1])) for field in fields])
        if stateless and _is_cacheable(raw):
            if len(self._cache) >= self._limits.cached_blocks_max:
                self._cache.clear()
            self._cache[raw] = block
        return block


def _is_cacheable(raw: bytes) -> bool:
    """Whether it is short, and doesn't begin with a change of the table's size."""
    if not raw or len(raw) > _CACHED_BYTES_MAX:
        return False
    return raw[0] & _SIZE_UPDATE_MASK != _SIZE_UPDATE
