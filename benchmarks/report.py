"""The result for people, as a table, and for programs, as JSON."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from benchmarks.harness import Row

_PACKAGES = ("sigil-actors", "trio", "wasmtime", "cedarpy", "pycasbin", "pykka")


def table_of(rows: Sequence[Row]) -> Table:
    """Return a table, one row a measure."""
    table = Table(title="Medians of rounds in which ours and the reference take turns")
    table.add_column("measure", no_wrap=True)
    table.add_column("ours", justify="right", no_wrap=True)
    table.add_column("reference", justify="right")
    table.add_column("ratio", justify="right")
    table.add_column("goal", justify="right", no_wrap=True)
    table.add_column("met", justify="center")
    for row in rows:
        table.add_row(
            row.name,
            f"{figure(row.ours.median)} {row.unit}",
            _reference(row),
            _ratio(row),
            row.goal_text,
            _met(row),
        )
    return table


def figure(value: float) -> str:
    """Return a number with three or four digits that count."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _reference(row: Row) -> str:
    if row.reference is None:
        return ""
    return f"{row.reference.name} {figure(row.reference.median)} {row.unit}"


def _ratio(row: Row) -> str:
    if row.ratio is None or row.compared is None:
        return ""
    return f"{figure(row.ratio)}{row.compared.value}"


def _met(row: Row) -> Text:
    if row.met is None:
        return Text("")
    return Text("yes", style="green") if row.met else Text("NO", style="bold red")


def as_json(rows: Sequence[Row], problems: Mapping[str, str]) -> Mapping[str, object]:
    """Return everything that a program may want of a run."""
    return {
        "version": 1,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "processors": os.cpu_count(),
            "load": os.getloadavg()[0],
        },
        "packages": {name: _version(name) for name in _PACKAGES},
        "rows": [row.as_json() for row in rows],
        "problems": dict(problems),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
