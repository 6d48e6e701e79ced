"""Tells the demo to people while it happens; to programs it tells nothing."""

import sys
from typing import TYPE_CHECKING

from sigil_actors.cli.output import Output, console, terminal_text

if TYPE_CHECKING:
    from rich.console import RenderableType

_INDENT = 3


class Story:
    """What is told, a heading and some lines an act."""

    def __init__(self, output: Output) -> None:
        self._acts = 0
        self._console = None if output.as_json else console(sys.stdout)

    @property
    def width(self) -> int:
        """How many characters a line has room for."""
        return 0 if self._console is None else self._console.width

    def act(self, title: str) -> None:
        """Begin an act."""
        self._acts += 1
        if self._console is None:
            return
        from rich.text import Text

        if self._acts > 1:
            self._console.print()
        self._console.print(Text(f"{self._acts}. {title}", style="bold cyan"))

    def say(self, text: str, *, style: str = "") -> None:
        """Tell some lines; a stranger's text in them can't steer the terminal."""
        if self._console is not None:
            from rich.text import Text

            for line in terminal_text(text).split("\n"):
                self._console.print(Text(" " * _INDENT + line, style=style), soft_wrap=True)

    def good(self, text: str) -> None:
        """Tell something that went well."""
        self.say(text, style="green")

    def bad(self, text: str) -> None:
        """Tell something that went wrong, on purpose."""
        self.say(text, style="red")

    def show(self, renderable: "RenderableType") -> None:
        """Show a table."""
        if self._console is not None:
            from rich.padding import Padding
            from rich.table import Table

            from sigil_actors.cli.tables import keep_short_columns_whole

            if isinstance(renderable, Table):
                keep_short_columns_whole(renderable, width=self._console.width - _INDENT)
            self._console.print(Padding(renderable, (0, 0, 0, _INDENT)))
