"""The texts that the demo works on: one of this machine, and what is piped in."""

import json
import os
import select
import stat
import time
from pathlib import Path

import attrs

ARGUMENT_BYTES_MAX = 3 * 1024 * 1024
"""Of a text as JSON; a call's arguments are 4 MiB at most."""

READ_BYTES_MAX = 3 * 1024 * 1024

FIRST_S = 1.0
"""How long the first byte on standard input is waited for: somebody may hold it open and send
nothing, as many a CI does."""

MORE_S = 2.0
"""How long more is waited for, once something has come."""

ALL_S = 10.0
"""How long reading may take altogether; the demo is over within a minute."""


@attrs.frozen(kw_only=True)
class SourceText:
    """A text, and where it is from."""

    source: str
    text: str
    is_cut: bool = False
    """Whether there was more of it than the demo takes."""

    @property
    def size_bytes(self) -> int:
        """How large it is in UTF-8."""
        return len(self.text.encode(errors="surrogatepass"))


def large_text() -> SourceText:
    """Return a large text of this machine: Python's own manual pages, else its largest source."""
    try:
        from pydoc_data import topics

        manual = "\n".join(str(page) for page in topics.topics.values())
        return _cut(SourceText(source=topics.__file__, text=manual))
    except (ImportError, AttributeError):
        # Some distributions leave the manual out.
        library = Path(os.__file__).parent
        largest = max(library.glob("*.py"), key=lambda path: path.stat().st_size)
        return _cut(SourceText(source=str(largest), text=largest.read_text(errors="replace")))


def piped_text(descriptor: int = 0) -> SourceText | None:
    """Return what is piped in, or None: nothing, or not within a bounded time. Blocks that long."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return None  # it is closed
    # A terminal is for a person, and other devices (/dev/zero) may never end.
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return None
    content = bytearray()
    wait_s = FIRST_S
    deadline = time.monotonic() + ALL_S
    ended = False
    while len(content) <= READ_BYTES_MAX and time.monotonic() < deadline:
        if not select.select([descriptor], [], [], wait_s)[0]:
            break
        some = os.read(descriptor, 64 * 1024)
        if not some:
            ended = True
            break
        content += some
        wait_s = MORE_S
    if not content:
        return None
    text = bytes(content[:READ_BYTES_MAX]).decode(errors="replace")
    return _cut(SourceText(source="standard input", text=text, is_cut=not ended))


def _cut(one: SourceText) -> SourceText:
    # Escapes make up to six bytes of one, so the text is halved until it fits.
    while len(json.dumps(one.text)) > ARGUMENT_BYTES_MAX:
        one = attrs.evolve(one, text=one.text[: len(one.text) // 2], is_cut=True)
    return one
