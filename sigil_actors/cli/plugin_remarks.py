"""What is to be said of plugins beyond a table's row: what is wrong, what waits for somebody."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sigil_actors.core.json_value import JsonValue


def remarks_on(status: Mapping[str, JsonValue], state: Path | None) -> Iterator[str]:
    """Yield lines for people about one plugin, as `status_json` has it; none where all is well."""
    name = status["name"]
    is_down = bool(status["reason"])
    if is_down:
        again = status["restart_in_s"]
        later = f"; it is started again in {again:.1f} s" if isinstance(again, float | int) else ""
        down, reason = _down(status), str(status["reason"])
        # One that was stopped has that as its reason, which the table says already.
        if reason != down or later:
            yield f"{name}: {down}{'' if reason == down else f': {reason}'}{later}"
        if status["remedy"]:
            yield f"    what to do: {status['remedy']}"
        yield from (
            f"    its last words: {line}"
            for line in dict.fromkeys(_texts(status["last_words"]))
            if line not in reason
        )
    elif status["last_error"]:
        yield f"{name}: ended by itself before: {status['last_error']}"
    if status["health"] not in {None, "healthy"}:
        yield f"{name}: says that it is {status['health']}: {status['health_message'] or '-'}"
    if status["reload_failed"]:
        yield f"{name}: its newest version isn't what runs: {status['reload_failed']}"
    generations = status["draining_generations"]
    if isinstance(generations, list) and generations:
        yield f"{name}: still finishing calls: generation {', '.join(map(str, generations))}"
    yield from held_lines(str(name), status["held"], state)


def _down(status: Mapping[str, JsonValue]) -> str:
    return "quarantined" if status["quarantined"] else str(status["state"])


def held_lines(name: str, held: JsonValue, state: Path | None) -> Iterator[str]:
    """Yield lines for people about a version that waits to be approved; none where none does."""
    if not isinstance(held, dict):
        return
    yield f"{name}: version {held['version']} is held: it asks for more than the one before"
    yield from (f"    {line}" for line in _texts(held["differences"]))
    yield f"    if that is right: {approve_command(name, state)}"


def approve_command(name: str, state: Path | None) -> str:
    """Return what approves the version of a plugin that is held, as it is typed."""
    options = () if state is None else ("--state", str(state))
    return shlex.join(("sigil-actors", "approve", name, *options))


def _texts(value: JsonValue) -> Iterable[str]:
    return map(str, value) if isinstance(value, list) else ()
