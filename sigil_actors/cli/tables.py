"""What is shown to people as tables. Strangers' text is escaped before it gets here, or here."""

from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sigil_actors.cli.output import one_line
from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.core.json_value import JsonValue
from sigil_actors.core.lifecycle import PluginState

DETAILS_CHARACTERS_MAX = 100
"""Of an entry's details in a table; `--json` has them whole."""

NARROW_BELOW = 120
"""Characters of a line that hold all columns of the log, with some room for the details."""

GAP = 2
"""Characters between two columns."""

SHORT_MAX = 24
"""Characters of a column whose words are kept together: names, versions, states."""

LONG_MIN = 16
"""Characters that a longer column needs at least to be readable."""

_ALIVE = frozenset({PluginState.RUNNING, PluginState.DRAINING})
"""States in which a plugin answers questions."""

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
    "healthy": "green",
    "degraded": "yellow",
    "unhealthy": "red",
    "held": "yellow",
}


def new_table(*columns: str) -> Table:
    """Return an empty table in the form that all of ours have."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def keep_short_columns_whole(table: Table, *, width: int) -> Table:
    """Keep the words of short columns together where `width` allows it; the long ones wrap.

    Else rich takes from all columns alike, and breaks words where a line of text could give way.
    """
    longest = [
        max(cell_len(line) for cell in (column.header, *column.cells) for line in _lines(cell))
        for column in table.columns
    ]
    gaps = GAP * (len(longest) - 1)
    needed = sum(length if length <= SHORT_MAX else LONG_MIN for length in longest) + gaps
    if needed <= width:
        for column, length in zip(table.columns, longest, strict=True):
            column.no_wrap = column.no_wrap or length <= SHORT_MAX
    return table


def _lines(cell: RenderableType) -> Sequence[str]:
    return str(cell).split("\n")


def plugins_table(plugins: Iterable[Mapping[str, JsonValue]]) -> Table:
    """Return a table of plugins as `status_json` has them."""
    table = new_table("plugin", "version", "state", "generation", "restarts", "in flight", "health")
    for plugin in plugins:
        # What is down is as healthy as its last answer, which says nothing any more.
        health = plugin["health"] if plugin["state"] in _ALIVE else None
        table.add_row(
            *(cell(plugin[name]) for name in ("name", "version")),
            _state(plugin),
            *(cell(plugin[name]) for name in ("generation", "restarts", "in_flight")),
            coloured(str(health or "-")),
        )
    return table


def _state(plugin: Mapping[str, JsonValue]) -> Text:
    state = coloured("quarantined" if plugin["quarantined"] else str(plugin["state"]))
    held = plugin["held"]
    if isinstance(held, dict):
        state.append(f", {one_line(str(held['version']))} held", style=_COLOURS["held"])
    return state


def audit_table(entries: Sequence[AuditEntry], *, width: int) -> Table:
    """Return a table of entries of the log, in some `width` characters.

    Where that isn't enough for all columns, what they hold stands on lines below one another.
    """
    is_narrow = width < NARROW_BELOW
    days = {entry.timestamp.date() for entry in entries}
    is_one_day = len(days) == 1
    table = new_table(
        "seq",
        f"{days.pop()}, UTC" if is_one_day else "time (UTC)",
        *(
            ("result", "action, plugin, capability; reason, actor, details")
            if is_narrow
            else ("action", "plugin", "capability", "result", "reason", "actor", "details")
        ),
    )
    table.columns[0].justify = "right"
    for column in table.columns[:3]:
        column.no_wrap = True
    for entry in entries:
        at = f"{entry.timestamp:%H:%M:%S}.{entry.timestamp.microsecond // 1000:03d}"
        table.add_row(
            str(entry.seq),
            at if is_one_day else f"{entry.timestamp:%Y-%m-%d} {at}",
            *(_narrow_cells(entry) if is_narrow else _wide_cells(entry)),
        )
    return table


def has_more(entry: AuditEntry) -> bool:
    """Tell whether a table leaves out some of an entry's details."""
    return _details(entry) != _spelled(entry.details)


def _wide_cells(entry: AuditEntry) -> tuple[Text, ...]:
    return (
        *(cell(entry.action), cell(entry.plugin), cell(entry.capability)),
        *(coloured(entry.result), cell(_reason(entry)), cell(entry.actor)),
        cell(_details(entry)),
    )


def _narrow_cells(entry: AuditEntry) -> tuple[Text, Text]:
    first = (entry.action, entry.plugin, entry.capability)
    second = (_reason(entry), entry.actor, _details(entry))
    lines = ("  ".join(one_line(part) for part in line if part) for line in (first, second))
    return coloured(entry.result), Text("\n".join(line for line in lines if line))


def _reason(entry: AuditEntry) -> str:
    return "" if entry.reason == "ok" else entry.reason


def coloured(word: str) -> Text:
    """Return a word of a state or a result in its colour."""
    return Text(one_line(word), style=_COLOURS.get(word, ""))


def _details(entry: AuditEntry) -> str:
    # A hash says nothing to a person, and would be most of the line.
    shown = {name: value for name, value in entry.details.items() if not name.endswith("sha256")}
    text = _spelled({name: _short(value) for name, value in shown.items()})
    return text if len(text) <= DETAILS_CHARACTERS_MAX else text[: DETAILS_CHARACTERS_MAX - 1] + "…"


def _spelled(details: Mapping[str, JsonValue]) -> str:
    return " ".join(f"{name}={value}" for name, value in details.items())


def _short(value: JsonValue) -> str:
    return f"[{len(value)}]" if isinstance(value, list) else str(value)


def cell(value: JsonValue) -> Text:
    """Return a stranger's text, or anything else, as what stands in a table."""
    return Text(one_line(str(value)))
