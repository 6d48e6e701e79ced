"""The entry point: which commands there are, and how whatever they raise leaves the process."""

import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from cyclopts import App, CycloptsError

from sigil_actors.cli.exit_codes import INTERRUPTED, ExitCode

HELP = "Run plugins under supervision, in their bounds, and on the record."


def build_app() -> App:
    """Return the commands; each one's module is loaded when it is run."""
    app = App(name="sigil-actors", help=HELP, version=_version, result_action="return_value")
    for name, text in (
        ("run", "Run the supervisor in the foreground until a signal ends it."),
        ("call", "Call a tool of a plugin; its answer goes to standard output as it streams."),
        ("validate", "Check manifests, and name every problem with its file and line."),
        ("explain", "Say why a plugin may do something or not, and what would change that."),
        ("doctor", "Say what this machine can and can't do, with remedies."),
        ("demo", "Show the whole story in a minute: no root, no network."),
    ):
        app.command(f"sigil_actors.cli.{name}:{name}", name=name, help=text)
    audit = App(name="audit", help="Read and verify the audit log.")
    audit.command(
        "sigil_actors.cli.audit_query:query", name="query", help="Show entries of the audit log."
    )
    audit.command(
        "sigil_actors.cli.audit_verify:verify",
        name="verify",
        help="Check every entry, and name the first that isn't what was written.",
    )
    app.command(audit)
    return app


def main() -> NoReturn:
    """Run the command of this process's arguments, and exit with its code."""
    _open_standard_streams()
    sys.exit(run(sys.argv[1:]))


def _open_standard_streams() -> None:
    """Open /dev/null in the place of a standard stream that is closed.

    Else the next file that is opened would take its number, and get what was meant for a person.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken, and those below are open by now.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def run(arguments: Sequence[str]) -> int:
    """Run a command; return its exit code."""
    as_json = "--json" in arguments
    try:
        try:
            command, bound, _ = build_app().parse_args(
                list(arguments), exit_on_error=False, print_error=False
            )
        except CycloptsError as error:
            return _tell_usage(error, as_json=as_json)
        code = command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
        return int(code or ExitCode.OK)
    except KeyboardInterrupt:
        return INTERRUPTED + signal.SIGINT
    except Exception as error:  # noqa: BLE001 - the process ends here, and says why
        return _tell(error, as_json=as_json)


def _tell(error: Exception, *, as_json: bool) -> int:
    if _is_broken_pipe(error):
        # Whoever read our output has enough of it. What Python still holds must not fail again.
        _drop_output()
        return INTERRUPTED + signal.SIGPIPE
    if _is_full(error):
        _drop_output()
        print("error: the output can't be written: no space left", file=sys.stderr)  # noqa: T201
        return ExitCode.FAILED
    from sigil_actors.cli.failure import only_sigil_error, tell_bug, tell_error

    told = only_sigil_error(error)
    return tell_bug(error) if told is None else tell_error(told, as_json=as_json)


def _tell_usage(error: CycloptsError, *, as_json: bool) -> int:
    from sigil_actors.cli.errors import UsageError
    from sigil_actors.cli.failure import tell_error

    usage = UsageError(str(error), remedy="See sigil-actors --help, or --help after a command")
    return tell_error(usage, as_json=as_json)


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_full(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_full, error.exceptions))
    return isinstance(error, OSError) and error.errno == errno.ENOSPC


def _is_broken_pipe(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_broken_pipe, error.exceptions))
    return isinstance(error, BrokenPipeError)


def _version() -> str:
    from importlib.metadata import version

    return f"sigil-actors {version('sigil-actors')}"
