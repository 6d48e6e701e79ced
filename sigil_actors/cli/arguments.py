"""The arguments of a call, as they are written on the command line."""

import json
import sys
from typing import NoReturn

from sigil_actors.cli.errors import InvalidInputError, UsageError
from sigil_actors.core.json_value import JsonObject

STANDARD_INPUT = "-"

ARGUMENTS_BYTES_MAX = 4 * 1024 * 1024
"""What a runtime takes by default."""


def read_arguments(text: str) -> JsonObject:
    """Return the arguments that a text holds, or standard input where the text is a dash.

    Raises:
        UsageError: it looks like an option.
        InvalidInputError: it is no JSON object; names the place.
    """
    if text.startswith("--"):
        raise UsageError(f"unknown option {text!r}", remedy="See sigil-actors call --help")
    if text == STANDARD_INPUT:
        text = _read_standard_input()
    try:
        arguments = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InvalidInputError(
            f"the arguments aren't JSON: line {error.lineno}, column {error.colno}: {error.msg}",
            remedy='Write an object: {"text": "hello"}, in quotes that keep the shell away',
        ) from None
    except (ValueError, RecursionError) as error:
        told = str(error) if isinstance(error, ValueError) else "they are nested too deep"
        raise InvalidInputError(
            f"the arguments aren't JSON that can be used: {told}", remedy="Write a simple object"
        ) from None
    if not isinstance(arguments, dict):
        raise InvalidInputError(
            f"the arguments are {_kind(arguments)}, not a JSON object (line 1, column 1)",
            remedy='Write an object: {"text": "hello"}',
        )
    return arguments


def _read_standard_input() -> str:
    content = sys.stdin.buffer.read(ARGUMENTS_BYTES_MAX + 1)
    if len(content) > ARGUMENTS_BYTES_MAX:
        raise InvalidInputError(
            f"the arguments on standard input are over {ARGUMENTS_BYTES_MAX} bytes",
            remedy="Send less at once",
        )
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidInputError(
            f"the arguments aren't UTF-8 (line {line})", remedy="Save them as UTF-8"
        ) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case str():
            return "a text"
        case list():
            return "an array"
        case _:
            return "a number"
