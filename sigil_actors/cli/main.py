"""The entry point: which commands there are, and how whatever they raise leaves the process."""

import errno
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from sigil_actors.cli.exit_codes import INTERRUPTED, ExitCode

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError

    from sigil_actors.errors import SigilError

HELP = "Run plugins under supervision, in their bounds, and on the record."

_PATH_ERRORS = frozenset({errno.ENAMETOOLONG, errno.ELOOP})
"""What the system says of a path that can't be one."""

_COMMANDS = (
    ("run", "run", "Run the supervisor in the foreground until a signal ends it."),
    ("ps", "ps", "Show the plugins of the running supervisor, and how each of them is."),
    ("events", "events", "Follow what happens to plugins, a line an event."),
    ("orders", "start", "Start a plugin that is stopped or quarantined."),
    ("orders", "stop", "Stop a plugin; its calls get some seconds."),
    ("orders", "drain", "Let a plugin finish its calls, take no new ones, and stop it."),
    ("reload", "reload", "Bring a plugin's new version in without dropping a call."),
    ("approve", "approve", "Let a version run that asks for more than the one before."),
    ("call", "call", "Call a tool of a plugin; its answer goes to standard output as it streams."),
    (
        "describe",
        "describe",
        "Show the tools of a plugin: what each takes, and a call to begin with.",
    ),
    ("validate", "validate", "Check manifests, and name every problem with its file and line."),
    ("explain", "explain", "Say why a plugin may do something or not, and what would change that."),
    ("sandbox", "sandbox", "Show what a plugin's sandbox will be on this machine; nothing is run."),
    ("doctor", "doctor", "Say what this machine can and can't do, with remedies."),
    ("demo", "demo", "Show the whole story in a minute: no root, no network."),
)
"""The module, the command's name, which is its function's as well, and its line of help."""


def build_app() -> "App":
    """Return the commands; each one's module is loaded when it is run."""
    from cyclopts import App

    app = App(name="sigil-actors", help=HELP, version=_version, result_action="return_value")
    for module, name, text in _COMMANDS:
        app.command(f"sigil_actors.cli.{module}:{name}", name=name, help=text)
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
    if sys.argv[1:2] == ["run"]:
        # To a supervisor a hangup is an order to look into its folder, which it is about to do
        # anyhow; until it listens, that would kill it. First of all: loading it takes a while.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
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
        from cyclopts import CycloptsError

        try:
            command, bound, _ = build_app().parse_args(
                list(arguments), exit_on_error=False, print_error=False
            )
        except CycloptsError as error:
            return _tell_usage(error, arguments, as_json=as_json)
        code = command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
        return int(code or ExitCode.OK)
    except KeyboardInterrupt:
        return INTERRUPTED + signal.SIGINT
    except SystemExit:
        # Nobody reads the help any more: rich, which shows it, ends the process in its own way.
        return INTERRUPTED + signal.SIGPIPE
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

    told = only_sigil_error(error) or _wrong_path(error)
    return tell_bug(error) if told is None else tell_error(told, as_json=as_json)


def _tell_usage(error: "CycloptsError", arguments: Sequence[str], *, as_json: bool) -> int:
    from sigil_actors.cli.errors import UsageError
    from sigil_actors.cli.failure import tell_error

    usage = UsageError(_usage_text(error), remedy=_usage_remedy(error, arguments))
    return tell_error(usage, as_json=as_json)


def _usage_text(error: "CycloptsError") -> str:
    from cyclopts import UnusedCliTokensError

    if isinstance(error, UnusedCliTokensError):
        from sigil_actors.core.wording import shown

        return f"too much on the command line: {', '.join(map(shown, error.unused_tokens or ()))}"
    return str(error)


def _usage_remedy(error: "CycloptsError", arguments: Sequence[str]) -> str:
    from cyclopts import MissingArgumentError

    command, plugin = (*arguments, "", "")[:2]
    lacks_tool = isinstance(error, MissingArgumentError) and " TOOL " in str(error)
    if command == "call" and lacks_tool and plugin[:1] not in {"", "-"}:
        return f"{shlex.join(('sigil-actors', 'describe', plugin))} names its tools"
    if command in {name for _, name, _ in _COMMANDS}:
        return f"See sigil-actors {command} --help"
    return "See sigil-actors --help, or --help after a command"


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_full(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_full, error.exceptions))
    return isinstance(error, OSError) and error.errno == errno.ENOSPC


def _wrong_path(error: BaseException) -> "SigilError | None":
    """Return what to tell where a path was at fault that nobody looked at before; None else."""
    if isinstance(error, BaseExceptionGroup):
        found = [_wrong_path(inner) for inner in error.exceptions]
        return found[0] if all(found) else None
    if not isinstance(error, OSError):
        return None
    if error.errno not in _PATH_ERRORS and not (error.errno == errno.ENOENT and _is_lost()):
        return None
    from sigil_actors.cli.errors import InvalidInputError
    from sigil_actors.core.wording import shown

    named = "the current folder" if error.filename is None else shown(os.fsdecode(error.filename))
    return InvalidInputError(
        f"{named}: {error.strerror}", remedy="Correct the path, and look whether its folders exist"
    )


def _is_lost() -> bool:
    """Tell whether the current folder is gone, so that no relative path means anything."""
    try:
        os.getcwd()  # noqa: PTH109 - pathlib isn't loaded here
    except FileNotFoundError:
        return True
    return False


def _is_broken_pipe(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_broken_pipe, error.exceptions))
    return isinstance(error, BrokenPipeError)


def _version() -> str:
    from importlib.metadata import version

    return f"sigil-actors {version('sigil-actors')}"
