"""`python -m benchmarks`: run measures, print a table, perhaps write JSON."""

import json
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from benchmarks.harness import FULL, BenchmarkError, Measure, Row
from benchmarks.measures import MEASURES
from benchmarks.report import as_json, table_of
from sigil_actors.cli.output import console

app = App(name="python -m benchmarks", help=__doc__, version_flags=[])


@app.default
def run(
    *,
    only: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    json_file: Annotated[Path | None, Parameter(name="--json", allow_leading_hyphen=True)] = None,
    list_names: Annotated[bool, Parameter(name="--list", negative="")] = False,
) -> int:
    """Measure, and compare with the peers in the same run.

    Args:
        only: A measure's name, or a pattern like `audited_*`; may be repeated.
        json_file: Where the rows go as JSON; `-` is standard output, in place of the table.
        list_names: Only say which measures there are.

    Returns:
        The exit code: 0, 1 where something couldn't be measured, 2 for a name that isn't one. A
        goal that isn't met is a figure like any other: the machine may be slow or busy.
    """
    errors = console(sys.stderr)
    chosen = [measure for measure in MEASURES if not only or _is_chosen(measure, only)]
    unknown = [name for name in only if not any(_is_chosen(one, [name]) for one in MEASURES)]
    if unknown:
        errors.print(f"no measure is called {', '.join(unknown)}; see --list")
        return 2
    if list_names:
        for measure in chosen:
            sys.stdout.write(f"{measure.name:12} {measure.what}\n")
        return 0
    rows: list[Row] = []
    problems: dict[str, str] = {}
    for measure in chosen:
        with errors.status(f"{measure.name}: {measure.what}"):
            try:
                rows += measure.run(FULL)
            except BenchmarkError as error:
                problems[measure.name] = str(error)
                errors.print(f"{measure.name} can't be measured: {error}")
    text = json.dumps(as_json(rows, problems), indent=2)
    if json_file == Path("-"):
        sys.stdout.write(text + "\n")
    else:
        console(sys.stdout).print(table_of(rows))
        if json_file is not None:
            json_file.write_text(text + "\n")
    return 1 if problems else 0


def _is_chosen(measure: Measure, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(measure.name, pattern) for pattern in patterns)


if __name__ == "__main__":
    sys.exit(app())
