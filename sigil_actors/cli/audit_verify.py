"""`sigil-actors audit verify`: whether the log is what was written."""

import re
from typing import Annotated

from cyclopts import Parameter

from sigil_actors.cli.audit_log import LogParameter, log_path
from sigil_actors.cli.errors import InvalidInputError
from sigil_actors.cli.exit_codes import ExitCode
from sigil_actors.cli.options import JsonOption, StateOption
from sigil_actors.cli.output import Output, one_line

_HASH = re.compile(r"[0-9a-fA-F]{64}")


def verify(
    path: LogParameter = None,
    /,
    *,
    expected_head: Annotated[
        str | None,
        Parameter(help="The hash of an entry that must be there, noted elsewhere: 64 hex digits."),
    ] = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Check every entry, and name the first that isn't what was written.

    Reads only, also while a supervisor writes. Without an expected head, a tail that was cut off
    and a log that was written anew as a whole can't be told.
    """
    from sigil_actors import verify_log

    output = Output(as_json=json)
    head = None
    if expected_head is not None:
        if not _HASH.fullmatch(expected_head):
            raise InvalidInputError(
                f"--expected-head {expected_head!r} is no hash", remedy="Give its 64 hex digits"
            )
        head = bytes.fromhex(expected_head)
    report = verify_log(log_path(path, state), expected_head=head)
    bad = report.first_bad
    if output.as_json:
        output.document(
            {
                "ok": report.is_good,
                "entries": report.entries,
                "head": report.head.hex(),
                "first_bad": None
                if bad is None
                else {"seq": bad.seq, "kind": str(bad.kind), "what": bad.what},
            }
        )
    elif bad is None:
        output.text(f"OK: {report.entries} entries, head {report.head.hex()}")
    else:
        output.text(
            f"BAD: entry {bad.seq}: {bad.kind}: {one_line(bad.what)}\n"
            f"the {report.entries} entries before it are good, head {report.head.hex()}"
        )
    return ExitCode.OK if bad is None else ExitCode.INTEGRITY_BROKEN
