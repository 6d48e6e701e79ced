"""Finds the code blocks of a Markdown page and runs them as a reader would, from top to bottom.

`python` blocks of one page share a namespace and may await at their top level, in trio. Of a
`console` block the lines after `$ ` are run by bash and must succeed; its other lines show output
and aren't compared. All blocks of a page share a working folder. A block below a comment
`<!-- not run: REASON -->` is left out; one below `<!-- file: PATH -->`, in any language, is written
to that file. Other languages are for reading.
"""

import ast
import inspect
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import attrs
import trio

RUN_LANGUAGES = ("python", "console")
COMMAND_TIME_S = 120  # a block that runs the demo or builds a plugin takes seconds, not minutes

_FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,})(?P<language>[\w+-]*)[^`]*")
_FILE = re.compile(r"<!--\s*file:\s*(?P<path>\S+)\s*-->")
_NOT_RUN = re.compile(r"<!--\s*not run:?(?P<reason>.*?)-->")


@attrs.frozen
class CodeBlock:
    """One fenced block."""

    language: str
    line: int
    """The line of its first line of code, from 1."""
    code: str
    not_run: str | None = None
    """The reason that its author gives for not running it."""
    file: str | None = None
    """The file that it is written to, instead of being run."""


class UnreasonedError(Exception):
    """A block is marked as not run, but without a reason."""


def blocks_of(text: str) -> Iterator[CodeBlock]:
    """Yield the blocks of a page that are run or written to a file."""
    lines = text.splitlines()
    number = 0
    not_run: str | None = None
    file: str | None = None
    while number < len(lines):
        line = lines[number]
        number += 1
        if marker := _NOT_RUN.search(line):
            not_run = marker["reason"].strip()
            if not not_run:
                raise UnreasonedError(f"line {number}: say why the block isn't run")
        elif named := _FILE.search(line):
            file = named["path"]
        elif fence := _FENCE.fullmatch(line):
            first = number
            while number < len(lines) and lines[number].strip() != fence["ticks"]:
                number += 1
            indent = len(fence["indent"])
            code = "\n".join(inside[indent:] for inside in lines[first:number])
            number += 1
            if file is not None or fence["language"] in RUN_LANGUAGES:
                yield CodeBlock(fence["language"], first + 1, code, not_run, file)
            not_run = file = None
        elif line.strip():
            not_run = file = None


def run_page(page: Path, folder: Path) -> None:
    """Run the blocks of a page in `folder`, which is the working folder already."""
    module = types.ModuleType(f"page_{page.stem.replace('-', '_')}")
    sys.modules[module.__name__] = module  # classes look their module up by name
    try:
        for block in blocks_of(page.read_text(encoding="utf-8")):
            if block.not_run is not None:
                continue
            if block.file is not None:
                target = folder / block.file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(block.code + "\n")
            elif block.language == "python":
                run_python(block, page, module)
            else:
                run_console(block, page, folder)
    finally:
        del sys.modules[module.__name__]


def run_python(block: CodeBlock, page: Path, module: types.ModuleType) -> None:
    """Run one block in the page's namespace; its lines in a traceback are those of the page."""
    code = compile(
        "\n" * (block.line - 1) + block.code,
        str(page),
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        dont_inherit=True,
    )
    if not code.co_flags & inspect.CO_COROUTINE:
        exec(code, vars(module))  # running what the page shows is the point
        return

    async def run() -> None:
        await eval(code, vars(module))

    trio.run(run)


def run_console(block: CodeBlock, page: Path, folder: Path) -> None:
    """Run the commands of one block in one shell, so that `cd` and variables last through it."""
    commands = commands_of(block.code)
    assert commands, f"{page}:{block.line}: a console block without a `$ ` line"
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(commands)],
        cwd=folder,
        env=os.environ
        | {
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / ".state"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIME_S,
        check=False,
    )
    assert run.returncode == 0, (
        f"{page}:{block.line}: exit status {run.returncode}\n{run.stdout}{run.stderr}"
    )


def commands_of(code: str) -> list[str]:
    """Return the lines after `$ `, with the lines that a backslash carries on to."""
    commands: list[str] = []
    goes_on = False
    for line in code.splitlines():
        if line.startswith("$ "):
            commands.append(line.removeprefix("$ "))
        elif goes_on:
            commands.append(line)
        else:
            continue
        goes_on = line.endswith("\\")
    return commands
