"""What is shown to people as tables. Strangers' text is escaped before it gets here, or here."""

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from sigil_actors.cli.output import one_line
from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.core.json_value import JsonValue

DETAILS_CHARACTERS_MAX = 100
"""Of an entry's details in a table; `--json` has them whole."""

NARROW_BELOW = 120
"""Characters of a line that hold all columns of the log, with some room for the details."""

_COLOURS = {
    "denied": "red",
    "crashed": "red",
    "quarantined": "bold red",
    "error": "red",
    "limit": "yellow",
    "cancelled": "yellow",
    "allowed": "green",
    "ok": "green",
    "running": "green",
}


def new_table(*columns: str) -> Table:
    """Return an empty table in the form that all of ours have."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def plugins_table(plugins: Iterable[Mapping[str, JsonValue]]) -> Table:
    """Return a table of plugins as `status_json` has them."""
    table = new_table("plugin", "version", "type", "tier", "state", "generation", "restarts")
    for plugin in plugins:
        state = "quarantined" if plugin["quarantined"] else str(plugin["state"])
        table.add_row(
            *(_cell(plugin[name]) for name in ("name", "version", "type", "tier")),
            coloured(state),
            _cell(plugin["generation"]),
            _cell(plugin["restarts"]),
        )
    return table


def audit_table(entries: Sequence[AuditEntry], *, width: int) -> Table:
    """Return a table of entries of the log, in some `width` characters.

    Where that isn't enough for all, actor and details are left out, and of the reasons all but
    those of denials. `--json` has them whole.
    """
    is_narrow = width < NARROW_BELOW
    days = {entry.timestamp.date() for entry in entries}
    is_one_day = len(days) == 1
    table = new_table(
        "seq",
        f"{days.pop()}, UTC" if is_one_day else "time (UTC)",
        *("action", "plugin", "capability", "result"),
        *(() if is_narrow else ("reason", "actor", "details")),
    )
    table.columns[0].justify = "right"
    for column in table.columns[:3]:
        column.no_wrap = True
    for entry in entries:
        at = f"{entry.timestamp:%H:%M:%S}.{entry.timestamp.microsecond // 1000:03d}"
        table.add_row(
            str(entry.seq),
            at if is_one_day else f"{entry.timestamp:%Y-%m-%d} {at}",
            _cell(entry.action),
            _cell(entry.plugin),
            _cell(entry.capability),
            _narrow_result(entry) if is_narrow else coloured(entry.result),
            *(() if is_narrow else _rest(entry)),
        )
    return table


def _narrow_result(entry: AuditEntry) -> Text:
    """Return a result with its reason, where a denial's reason has no column of its own."""
    result = coloured(entry.result)
    return result if entry.result != "denied" else result.append(f" ({one_line(entry.reason)})")


def _rest(entry: AuditEntry) -> tuple[Text, Text, Text]:
    reason = "" if entry.reason == "ok" else entry.reason
    return _cell(reason), _cell(entry.actor), _cell(_details(entry))


def coloured(word: str) -> Text:
    """Return a word of a state or a result in its colour."""
    return Text(one_line(word), style=_COLOURS.get(word, ""))


def _details(entry: AuditEntry) -> str:
    # A hash says nothing to a person, and would be most of the line.
    shown = {name: value for name, value in entry.details.items() if not name.endswith("sha256")}
    text = " ".join(f"{name}={_short(value)}" for name, value in shown.items())
    return text if len(text) <= DETAILS_CHARACTERS_MAX else text[: DETAILS_CHARACTERS_MAX - 1] + "…"


def _short(value: JsonValue) -> str:
    return f"[{len(value)}]" if isinstance(value, list) else str(value)


def _cell(value: JsonValue) -> Text:
    return Text(one_line(str(value)))
