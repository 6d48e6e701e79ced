"""`sigil-actors audit query`: entries of the log that fit."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import attrs
import trio
from cyclopts import Parameter, validators

from sigil_actors.cli.audit_log import LogParameter, entry_json, log_path
from sigil_actors.cli.errors import InvalidInputError
from sigil_actors.cli.exit_codes import ExitCode
from sigil_actors.cli.options import JsonOption, StateOption
from sigil_actors.cli.output import Output
from sigil_actors.cli.signals import run_until_signal
from sigil_actors.control.protocol import Verb
from sigil_actors.core.audit_entry import AuditEntry, AuditFilter
from sigil_actors.core.lifecycle import PluginState
from sigil_actors.core.wording import guess_or_list, shown

PAGE = 1000
"""Entries read at once: some hundred KiB."""

_At = Annotated[
    str | None,
    Parameter(help="A time like 2026-01-31T12:00:00, in UTC unless it says otherwise."),
]
_Number = Annotated[int, Parameter(validator=validators.Number(gte=0, lte=2**63 - 1))]
"""What a number of SQLite's holds."""

ACTIONS = frozenset(
    {
        "capability_check",
        "plugin_registered",
        "lifecycle",
        "outcome",
        "operator",
        "plugin_approved",
        "audit_gap",
        "sandbox_disabled",
        "sandbox_proof",
        "egress",
    }
)
RESULTS = frozenset(
    {
        *("allowed", "denied", "registered", "approved", "gap", "quarantined", "disabled"),
        *("holds", "broken", "ended"),
        *("ok", "error", "cancelled", "crashed", "limit", "stopped"),
        *(state.value for state in PluginState),
        *(verb.value for verb in Verb),
        *("approve", "rescan"),
    }
)
"""The words that this version writes. Others are legitimate: a log may be older or newer."""


def query(
    path: LogParameter = None,
    /,
    *,
    action: str | None = None,
    actor: str | None = None,
    plugin: str | None = None,
    workspace_id: str | None = None,
    user_id: str | None = None,
    session_id: str | None = None,
    capability: Annotated[str | None, Parameter(help="A capability pattern.")] = None,
    result: str | None = None,
    since: _At = None,
    until: _At = None,
    after_seq: Annotated[_Number, Parameter(help="Only entries after this one.")] = 0,
    limit: Annotated[_Number, Parameter(help="At most so many.")] = 1000,
    newest_first: Annotated[
        bool, Parameter(negative=(), show_default=False, help="The last ones, in that order.")
    ] = False,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Show entries of the audit log: a table, or JSON lines.

    Reads only, also while a supervisor writes. Where more entries fit than the limit lets through,
    standard error says so.
    """
    output = Output(as_json=json)
    wanted = AuditFilter(
        action=action,
        actor=actor,
        plugin=plugin,
        workspace_id=workspace_id,
        user_id=user_id,
        session_id=session_id,
        capability=capability,
        result=result,
        since=_time("--since", since),
        until=_time("--until", until),
        after_seq=after_seq,
        limit=limit,
        newest_first=newest_first,
    )
    log = log_path(path, state)
    for option, word, known in (("--action", action, ACTIONS), ("--result", result, RESULTS)):
        if word is not None and word not in known:
            guess = guess_or_list(word, known)
            output.note(f"{option} {shown(word)} is no word of this version's log. {guess}")

    async def carry_out() -> int:
        await _show(log, wanted, output)
        return ExitCode.OK

    return trio.run(run_until_signal, carry_out)


def _time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInputError(
            f"{option} {text!r} is no time", remedy="Write it like 2026-01-31T12:00:00"
        ) from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


async def _show(log: Path, wanted: AuditFilter, output: Output) -> None:
    count = 0
    entries: list[AuditEntry] = []
    async for page in _pages(log, wanted):
        count += len(page)
        if output.as_json:
            for entry in page:
                output.line(entry_json(entry))
        else:
            entries += page
    if not output.as_json:
        from sigil_actors.cli.tables import audit_table, has_more

        output.show(audit_table(entries, width=output.width))
        if any(map(has_more, entries)):
            output.note("hashes and long details are left out; --json has them")
    if count and count == wanted.limit:
        output.note(f"the limit of {count} is reached; --limit or --after-seq shows more")


async def _pages(log: Path, wanted: AuditFilter) -> AsyncIterator[Sequence[AuditEntry]]:
    """Read what fits, a page at a time, so that a long log needs no memory of its own size."""
    from sigil_actors import SqliteAuditStore

    store = SqliteAuditStore(log)
    left = wanted.limit or 0
    if wanted.newest_first:
        yield await store.query(wanted)
        return
    after_seq = wanted.after_seq
    while left:
        size = min(PAGE, left)
        page = await store.query(attrs.evolve(wanted, after_seq=after_seq, limit=size))
        yield page
        if len(page) < size:
            return
        left -= len(page)
        after_seq = page[-1].seq
