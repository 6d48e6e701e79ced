"""Every mutant fits the code as it is now, and the runner can tell life from death."""

from pathlib import Path

import attrs
import pytest

from tests.mutants.__main__ import Result, Verdict, judge, main, tell
from tests.mutants.all import MUTANTS
from tests.mutants.mutant import Mutant, MutantError, copied_checkout
from tests.simulations import ROOT

EXAMPLE = Mutant(name="example", file="x.py", old="a = 1", new="a = 2", why="a is 2")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_text_of_a_mutant_stands_in_its_file_once(mutant: Mutant) -> None:
    mutant.applied_to((ROOT / "sigil_actors" / mutant.file).read_text(encoding="utf-8"))


def test_their_names_are_their_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize("text", ["b = 1", "a = 1\na = 1"])
def test_a_text_that_is_not_there_exactly_once_is_an_error(text: str) -> None:
    with pytest.raises(MutantError, match="not once"):
        EXAMPLE.applied_to(text)


def test_a_mutant_that_is_no_python_is_an_error() -> None:
    with pytest.raises(MutantError):
        attrs.evolve(EXAMPLE, new="a = = 2").applied_to("a = 1")


def test_a_mutant_changes_a_copy_and_nothing_else(tmp_path: Path) -> None:
    for name in ("sigil_actors", "tests"):
        (tmp_path / name).mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "sigil_actors" / "x.py").write_text("a = 1")
    with copied_checkout(tmp_path, EXAMPLE) as copy:
        assert (copy / "sigil_actors" / "x.py").read_text() == "a = 2"
    assert not copy.exists()
    assert (tmp_path / "sigil_actors" / "x.py").read_text() == "a = 1"


async def test_a_mutant_that_breaks_every_call_is_killed_in_its_copy() -> None:
    [mutant] = [one for one in MUTANTS if one.name == "call-not-checked"]
    verdict, output = await judge(mutant, seeds=20)
    assert verdict is Verdict.KILLED
    assert "isn't recorded as allowed" in output


async def test_one_that_does_not_even_load_is_no_kill() -> None:
    mutant = Mutant(
        name="no-import",
        file="runtime/chunks.py",
        old='"""What a plugin answers in pieces, on its way to the caller."""',
        new="import no_such_module",
        why="nothing can be imported",
    )
    assert (await judge(mutant, seeds=1))[0] is Verdict.BROKEN


def test_they_are_listed_and_a_name_that_none_has_is_told_which_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--list", "--only", "call-not"]) == 0
    assert capsys.readouterr().out.startswith("call-not-checked ")
    with pytest.raises(SystemExit):
        main(["--only", "nothing-like-it"])
    assert "call-not-checked, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verdicts", "enough"),
    [
        ([Verdict.KILLED] * 19 + [Verdict.SURVIVED], True),
        ([Verdict.KILLED] * 18 + [Verdict.SURVIVED] * 2, False),
        ([Verdict.KILLED] * 39 + [Verdict.BROKEN], False),
        ([Verdict.HUNG], True),
    ],
    ids=["19 of 20", "18 of 20", "one broken", "one hung"],
)
def test_the_table_names_survivors_and_the_share(
    verdicts: list[Verdict], *, enough: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell([Result(EXAMPLE, verdict, 1.0, "") for verdict in verdicts]) is enough
    said = capsys.readouterr().out
    assert ("SURVIVED: example. With it, a is 2" in said) is (Verdict.SURVIVED in verdicts)
    killed = sum(one.is_killed for one in verdicts)
    assert f"{killed} of {len(verdicts)} killed" in said
