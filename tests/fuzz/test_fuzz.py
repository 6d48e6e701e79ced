"""The runner of the fuzzers, and each fuzzer for a moment."""

from random import Random

import pytest

from tests.fuzz.__main__ import fuzzers, main
from tests.fuzz.report import Fuzzer, FuzzReport, run_cases

CASES = 50


@pytest.mark.parametrize("fuzzer", fuzzers().values(), ids=lambda fuzzer: fuzzer.NAME)
def test_a_fuzzer_finds_nothing(fuzzer: Fuzzer) -> None:
    report = fuzzer.run(CASES, Random().getrandbits(32))
    assert not report.findings, report.text()
    assert (report.name, report.cases) == (fuzzer.NAME, CASES)


def test_the_fuzzers_of_the_package_are_found_by_their_names() -> None:
    assert {"http2", "http2-hostile"} <= fuzzers().keys()


def fails_on_even(random: Random) -> None:
    if random.random() == Random(42).random():
        raise ValueError("found it")


def test_a_finding_says_how_to_have_it_again() -> None:
    report = run_cases("topic", 5, 40, fails_on_even)
    assert len(report.findings) == 1
    assert "topic --cases 1 --seed 42: ValueError at test_fuzz.py:" in report.findings[0]
    again = run_cases("topic", 1, 42, fails_on_even)
    assert len(again.findings) == 1


def test_only_the_first_findings_are_shown() -> None:
    report = FuzzReport(name="x", cases=9, seed=1, seconds=0.0, findings=("bad",) * 9)
    assert report.text().count("FOUND") == 5
    assert "and 4 more" in report.text()


def test_the_exit_status_tells_whether_anything_was_found(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["http2-hostile", "--cases", "3", "--seed", "1"]) == 0
    assert "1 fuzzers, 3 cases, 0 findings" in capsys.readouterr().out


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["htp2"])
    assert "no fuzzer is named htp2" in capsys.readouterr().err
