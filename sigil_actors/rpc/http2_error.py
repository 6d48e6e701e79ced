"""The two ways in which the use of an HTTP/2 connection goes wrong: the peer's fault, and ours."""

from sigil_actors.rpc.frames import Code


class ViolationError(Exception):
    """The peer broke the protocol or a bound, so the whole connection ends. Never leaves `rpc`.

    `code` goes to the peer in GOAWAY, `text` into our log and to the peer as debug data.
    """

    def __init__(self, code: Code, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(text)


class UsageError(Exception):
    """A command that the state of the connection or of the stream forbids.

    Often it is no bug: the stream ended while the caller was busy, and its event says why.
    """
