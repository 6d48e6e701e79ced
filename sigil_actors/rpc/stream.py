"""A stream of an HTTP/2 connection: what both sides have said, and how much they may still send."""

from collections import deque


class Stream:
    """One stream. The connection owns every field; the layer above subclasses it and only reads.

    A plain class with slots and not attrs: one is made for each call, by a factory without
    arguments that the layer above gives.
    """

    __slots__ = (
        "__weakref__",
        "end_after",
        "id",
        "length_left",
        "local_done",
        "opened",
        "pending",
        "receive_window",
        "remote_done",
        "sealed",
        "send_window",
        "trailers",
        "unreturned",
    )

    def __init__(self) -> None:
        self.id: int = 0
        """0 until the connection has opened it."""
        self.opened: bool = False
        """Whether the peer's first header block is here (a final one, not 1xx)."""
        self.remote_done: bool = False
        """Nothing more comes."""
        self.local_done: bool = False
        """END_STREAM has left, or the stream is gone."""
        self.sealed: bool = True
        """The application has said its last, though it may not have left yet: no more commands."""
        self.send_window: int = 0
        """Bytes that the peer takes. Negative after it lowered its initial window."""
        self.receive_window: int = 0
        """Bytes that the peer may still send."""
        self.unreturned: int = 0
        """Bytes read by the application, but not yet given back to the peer as window."""
        self.length_left: int | None = None
        """What its content-length still lacks; None where it named none."""
        self.pending: deque[memoryview] | None = None
        """DATA that windows or a full output hold back; None when there is none."""
        self.end_after: bool = False
        """END_STREAM goes with the last of `pending`."""
        self.trailers: bytes | None = None
        """The block that goes after `pending`, and ends the stream."""
