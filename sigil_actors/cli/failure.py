"""Says on standard error what went wrong, what to do and whose fault it is."""

import json
import sys
import traceback

from sigil_actors.cli.exit_codes import ExitCode, exit_code
from sigil_actors.cli.output import console, terminal_text
from sigil_actors.control.error_report import ErrorReport, report_of
from sigil_actors.errors import SigilError

REPORT_BUGS = "This is a bug in sigil-actors. Please report it, with the lines above."


def tell_error(error: SigilError, *, as_json: bool) -> ExitCode:
    """Tell an error; return the exit code it gets."""
    return tell_report(report_of(error), as_json=as_json)


def tell_report(report: ErrorReport, *, as_json: bool) -> ExitCode:
    """Tell what is known of an error; return the exit code it gets."""
    code = exit_code(report.kinds)
    if as_json:
        print(json.dumps({"error": {**report.to_json(), "exit_code": code}}), file=sys.stderr)  # noqa: T201
    else:
        _show(report)
    return code


def tell_bug(error: BaseException) -> ExitCode:
    """Tell an error that nobody raised on purpose, with all that helps to find it."""
    traceback.print_exception(error)
    print(REPORT_BUGS, file=sys.stderr)  # noqa: T201 - the command line's own output
    return ExitCode.FAILED


def only_sigil_error(error: BaseException) -> SigilError | None:
    """Return the error that a command failed with; None where there is more to it: a bug."""
    if isinstance(error, SigilError):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = [only_sigil_error(inner) for inner in error.exceptions]
        # Several at once come from several tasks; the first is told, as it is for any caller.
        return found[0] if all(found) else None
    return None


def _show(report: ErrorReport) -> None:
    from rich.text import Text

    err = console(sys.stderr)
    shown = Text("error: ", style="bold red")
    shown.append(terminal_text(report.what), style="not bold default")
    err.print(shown, soft_wrap=True)
    for label, value in (("what to do", report.remedy), ("whose fault", report.fault)):
        if value:
            line = Text(f"  {label}: ", style="dim")
            line.append(terminal_text(value), style="not dim")
            err.print(line, soft_wrap=True)
    for explained in report.explanation:
        err.print(Text(f"  {terminal_text(explained)}"), soft_wrap=True)
