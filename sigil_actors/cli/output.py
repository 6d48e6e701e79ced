"""Standard output for data, standard error for everything else; nothing unsafe on a terminal."""

import errno
import json
import os
import re
import sys
from typing import TYPE_CHECKING, TextIO

import trio

from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.text import escape_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH_WITHOUT_TERMINAL = 160
"""Characters of a line where no terminal says how wide it is: wide enough for our tables."""

_ESCAPE_LENGTH_MAX = 10  # characters that one becomes when it is escaped

_KEPT = re.compile(r"([\n\t\\]+)")


def terminal_text(text: str) -> str:
    """Return a stranger's text so that a terminal only shows it: lines and tabs stay.

    A backslash stays as well, since this text is shown, not logged: it stands alone.
    """
    return "".join(
        part if _KEPT.fullmatch(part) else escape_text(part, limit=_ESCAPE_LENGTH_MAX * len(part))
        for part in _KEPT.split(text)
        if part
    )


def one_line(text: str) -> str:
    """Return a text on one line, so that nobody can forge a second one; a backslash stays."""
    return terminal_text(text).replace("\n", "\\n")


def is_coloured(stream: TextIO) -> bool:
    """Tell whether colour is wanted there, as https://no-color.org has it."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def console(stream: TextIO) -> "Console":
    """Return a console that shows text as it is: no markup, no guesses, colour on a terminal."""
    from rich.console import Console

    class PipeConsole(Console):
        """Leaves a closed pipe to `main`; rich would end the process from wherever it is."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    return PipeConsole(
        file=stream,
        markup=False,
        highlight=False,
        emoji=False,
        color_system="auto" if is_coloured(stream) else None,
        width=None if stream.isatty() else WIDTH_WITHOUT_TERMINAL,
    )


class Output:
    """What one command says."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def document(self, document: JsonObject) -> None:
        """Write a whole JSON document."""
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        sys.stdout.flush()

    def line(self, value: JsonObject) -> None:
        """Write one JSON line."""
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()

    def text(self, text: str) -> None:
        """Write lines for people."""
        print(text, flush=True)  # noqa: T201 - the command line's own output

    @property
    def width(self) -> int:
        """How many characters a line of standard output has room for."""
        return console(sys.stdout).width

    def show(self, renderable: "RenderableType") -> None:
        """Show a table or the like to people."""
        show_on(console(sys.stdout), renderable)

    def note(self, text: str) -> None:
        """Say something that is no data."""
        note(text)

    async def streamed_line(self, text: str) -> None:
        """Write a line, and wait until it is taken; a cancel doesn't wait."""
        encoding = sys.stdout.encoding or "utf-8"
        await self._write(f"{text}\n".encode(encoding, "backslashreplace"))

    async def chunk(self, text: str) -> None:
        """Write a piece of a plugin's answer, and wait until it is taken.

        As it is, where standard output is no terminal; otherwise so that it can't steer one.
        """
        if self.as_json:
            content = json.dumps({"chunk": text}).encode() + b"\n"
        elif sys.stdout.isatty():
            encoding = sys.stdout.encoding or "utf-8"
            content = terminal_text(text).encode(encoding, "backslashreplace")
        else:
            content = text.encode("utf-8", "surrogatepass")
        await self._write(content)

    async def end_line(self, *, ends_line: bool) -> None:
        """Go to the next line of a terminal where the answer has left it in the middle of one."""
        if not (ends_line or self.as_json) and sys.stdout.isatty():
            await self.chunk("\n")

    async def _write(self, content: bytes) -> None:
        sys.stdout.flush()
        # In a thread, so that a reader that has stopped taking it doesn't keep Ctrl-C away; by its
        # descriptor, so that a thread that is left behind holds no lock of Python's own buffers.
        await trio.to_thread.run_sync(_write, sys.stdout.fileno(), content, abandon_on_cancel=True)


def show_on(shown_on: "Console", renderable: "RenderableType") -> None:
    """Show a table or the like, its short columns whole where there is room for them."""
    from rich.table import Table

    from sigil_actors.cli.tables import keep_short_columns_whole

    if isinstance(renderable, Table):
        keep_short_columns_whole(renderable, width=shown_on.width)
    if shown_on.is_terminal:
        shown_on.print(renderable)
        return
    # Nothing shows them in a pipe, and they get in the way of whatever reads it.
    with shown_on.capture() as captured:
        shown_on.print(renderable)
    lines = (line.rstrip(" ") for line in captured.get().split("\n"))
    shown_on.file.write("\n".join(lines))
    shown_on.file.flush()


def note(text: str) -> None:
    """Say something that is no data."""
    # In one piece, since the log goes to the same place from a thread.
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
