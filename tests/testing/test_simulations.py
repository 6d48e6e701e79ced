"""`make sim` runs every seed, stops at the first failure and says how to have it again."""

from pathlib import Path

import pytest

from tests.simulations import run_portion, simulate

PASSING = """
import trio

async def scenario(rng):
    await trio.sleep(rng.random())

def test_it(simulate_seeds):
    simulate_seeds(scenario)

def test_what_is_no_simulation():
    raise AssertionError("not to be run")
"""
FAILING = PASSING.replace("    await trio", "    assert rng.random() < 0.9\n    await trio")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    (tmp_path / "tests" / "runtime").mkdir(parents=True)
    return tmp_path


def plant(root: Path, text: str) -> None:
    (root / "tests" / "runtime" / "test_simulation.py").write_text(text)


async def test_all_seeds_are_run_and_progress_is_told(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(root, PASSING)
    assert await simulate(seeds=25, jobs=2, root=root)
    said = capsys.readouterr().out
    assert "25 of 25 seeds" in said
    assert said.endswith("OK: 25 of 25 seeds held every invariant\n")


async def test_the_first_failure_ends_it_and_says_how_to_have_it_again(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(root, FAILING)
    assert not await simulate(seeds=500, jobs=2, root=root)
    said = capsys.readouterr().out.strip().splitlines()[-1]
    assert said.startswith(
        "FAILED. Again: pytest tests/runtime/test_simulation.py::test_it --sigil"
    )
    seed = int(said.partition("--sigil-seed=")[2])
    again = await run_portion(root, 1, seed=seed)
    assert not again.passed
    assert again.replays == (said.removeprefix("FAILED. Again: "),)
