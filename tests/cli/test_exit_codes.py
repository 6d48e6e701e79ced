"""Which exit code each error gets, and that none is forgotten."""

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import sigil_actors
from sigil_actors.cli.exit_codes import CODES, ExitCode, exit_code
from sigil_actors.cli.failure import only_sigil_error
from sigil_actors.control.error_report import report_of
from sigil_actors.errors import (
    AuditIntegrityError,
    CapabilityDeniedError,
    PluginNotFoundError,
    SandboxUnavailableError,
    SigilError,
)
from tests.cli.command import EXAMPLES, error_of, sigil


def subclasses(kind: type[SigilError]) -> Iterator[type[SigilError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from subclasses(below)


def every_error() -> set[str]:
    for module in pkgutil.walk_packages(sigil_actors.__path__, "sigil_actors."):
        if "_proto" not in module.name and not module.name.endswith("__main__"):
            import_module(module.name)
    return {
        error.__name__
        for error in subclasses(SigilError)
        # What a plugin in Python raises stays in that plugin's own process.
        if error.__module__.startswith("sigil_actors.")
        and not error.__module__.startswith("sigil_actors.sdk.")
    }


def test_every_error_has_its_code_and_every_code_its_error() -> None:
    assert every_error() == set(CODES)


def test_an_error_that_isnt_listed_gets_the_code_of_the_nearest_above_it() -> None:
    class ThirdPartyError(PluginNotFoundError):
        pass

    assert exit_code(report_of(ThirdPartyError("x")).kinds) is ExitCode.NOT_FOUND
    assert exit_code(("SomethingElse",)) is ExitCode.FAILED


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SigilError("x"), 1),
        (PluginNotFoundError("x"), 4),
        (CapabilityDeniedError(plugin="x", capability="y", reason="z"), 5),
        (AuditIntegrityError("x"), 7),
        (SandboxUnavailableError("x"), 8),
    ],
)
def test_the_codes_are_those_of_the_documentation(error: SigilError, code: int) -> None:
    assert exit_code(report_of(error).kinds) == code


def test_errors_of_several_tasks_are_told_and_a_bug_among_them_is_a_bug() -> None:
    mine = SigilError("x")
    assert only_sigil_error(ExceptionGroup("", [ExceptionGroup("", [mine])])) is mine
    assert only_sigil_error(ExceptionGroup("", [mine, ValueError()])) is None
    assert only_sigil_error(ValueError()) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["call"],
        ["call", "text-tool"],
        ["call", "text-tool", "stats", "{}", "too-much"],
        ["call", "text-tool", "stats", "--unknown"],
        ["call", "text-tool", "stats", "{}", "--unknown"],
        ["call", "text-tool", "stats", "{}", "--state"],
        ["audit", "query", "--limit", "many"],
        ["audit", "query", "--limit", "-1"],
        ["validate"],
        ["explain", "text-tool"],
    ],
)
def test_a_command_line_that_cant_be_understood_is_2(arguments: list[str]) -> None:
    done = sigil(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("error: ")
    told = ("See sigil-actors", "Name a manifest", "sigil-actors describe text-tool names")
    assert any(f"what to do: {one}" in done.stderr for one in told)
    assert "Traceback" not in done.stderr
    assert error_of(sigil(*arguments, "--json"))["type"] == "UsageError"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["call", "text-tool"], "sigil-actors describe text-tool names its tools"),
        (["ps", "a", "b c"], "too much on the command line: 'b c'"),
        (["ps", "--bogus"], "See sigil-actors ps --help"),
        (["reload", "--all", "text-tool"], "Name a plugin, or give --all, not both"),
    ],
)
def test_what_cant_be_understood_is_told_with_what_would_be(
    arguments: list[str], said: str
) -> None:
    assert said in sigil(*arguments).stderr


def test_an_error_says_what_whose_fault_and_what_to_do(tmp_path: Path) -> None:
    done = sigil("call", "txt-tool", "stats", "--plugins", EXAMPLES, "--state", tmp_path)
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "error: plugin 'txt-tool' is not known",
        "  what to do: Did you mean 'text-tool'?",
        "  whose fault: caller",
    ]


def test_a_bug_of_ours_shows_its_traceback_and_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sigil_actors.cli import main

    def broken() -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(main, "build_app", broken)
    assert main.run(["demo"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "ZeroDivisionError: ours" in shown.err
    assert "Please report it" in shown.err
