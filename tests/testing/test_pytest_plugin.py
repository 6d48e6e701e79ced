"""The pytest plugin, in a pytest of its own: without pytest-trio and our set-up."""

import re
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import sigil_actors.testing
from tests.architecture.test_import_weight import loaded_after

pytest_plugins = ["pytester"]

PLUGIN = "sigil_actors.testing.pytest_plugin"

SIMULATION = """
import trio

async def scenario(rng):
    await trio.sleep(rng.random())
    if FAILS(rng):
        raise ValueError("as drawn")

def test_it(simulate_seeds):
    simulate_seeds(scenario)
"""


class Run:
    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester

    def __call__(
        self, text: str, *options: str, fails: str = "False", passed: int = 0, failed: int = 0
    ) -> str:
        run = self.start(text.replace("FAILS(rng)", fails), *options)
        run.assert_outcomes(passed=passed, failed=failed)
        return run.stdout.str()

    def start(self, text: str, *options: str) -> pytest.RunResult:
        self._pytester.makepyfile(test_page=text)
        return self._pytester.run(
            sys.executable, "-m", "pytest", "-W", "error", "-p", PLUGIN, *options, timeout=60
        )


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    # Whatever else is installed here must not be needed; and this code is what is tested.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(sigil_actors.__file__).parents[1]))
    return Run(pytester)


def test_a_simulation_runs_so_many_fresh_seeds_and_says_which_and_how_fast(run: Run) -> None:
    said = run(SIMULATION, "--sigil-seeds=7", passed=1)
    first, last = map(int, re.findall(r"^simulations: seeds (\d+) to (\d+)", said, re.MULTILINE)[0])
    assert last - first == 6
    assert re.search(r"test_it: 7 seeds in \d+\.\d s, \d+ seeds/s", said)
    again = run(SIMULATION, "--sigil-seeds=7", passed=1)
    assert f"seeds {first} " not in again


def test_a_failure_says_how_to_have_it_again_and_that_works(run: Run) -> None:
    said = run(SIMULATION, fails="rng.random() < 0.3", failed=1)
    found = re.findall(r"Again: pytest (\S+ --sigil-seed=(\d+))", said)
    [(command, seed)] = set(found)
    *_, reason, last, _ = said.rstrip().splitlines()
    assert reason == "ValueError: as drawn"
    assert last == f"Again: pytest {command}"
    again = run(SIMULATION, *command.split(), fails="rng.random() < 0.3", failed=1)
    assert f"simulations: seed {seed}" in again
    assert "test_it: 1 seed in" in again
    other = run(SIMULATION, *command.split(), fails="False", passed=1)
    assert "Again" not in other


def test_nothing_is_said_where_nothing_is_simulated(run: Run) -> None:
    assert "simulation" not in run("def test_it(): pass", passed=1)


def test_simulations_can_be_chosen_by_their_marker(run: Run) -> None:
    other = "\ndef test_other(): pass\n"
    run(SIMULATION + other, "-m", "sigil_simulation", "--strict-markers", passed=1)


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_a_number_of_seeds_that_cant_be_is_refused(run: Run, number: str) -> None:
    refused = run.start(SIMULATION, f"--sigil-seeds={number}")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert f"--sigil-seeds: '{number}' is no number from 1 up" in refused.stderr.str()


def test_the_fixtures_open_a_runtime_without_anything_else(run: Run) -> None:
    run(
        """
import trio
from sigil_actors import CapabilitySet

def test_it(open_fake_runtime, fake_tier, memory_audit_store):
    async def main():
        async with open_fake_runtime("echo-tool") as runtime:
            await runtime.wait_until_running("echo-tool")
            session = runtime.session(
                workspace_id="w", workspace_allow=CapabilitySet("*"),
                user_id="u", user_permissions=CapabilitySet("*"),
            )
            assert await session.execute_text("echo-tool", "echo", {"a": 1}) == '{"a": 1}'
    trio.run(main)
    assert [call.plugin for call in fake_tier.calls] == ["echo-tool"]
    assert "capability_check" in {entry.action for entry in memory_audit_store.entries}
""",
        passed=1,
    )


def test_pytest_finds_the_plugin_where_the_package_is_installed() -> None:
    assert PLUGIN in {entry.value for entry in entry_points(group="pytest11")}


def test_the_plugin_loads_next_to_nothing() -> None:
    loaded = loaded_after(f"import {PLUGIN}") - loaded_after("import pytest")
    assert loaded == {"sigil_actors"}


@pytest.mark.parametrize("name", sigil_actors.testing.__all__)
def test_every_public_name_of_the_package_is_there(name: str) -> None:
    getattr(sigil_actors.testing, name)
    assert name in dir(sigil_actors.testing)


def test_the_lazy_names_are_those_that_a_type_checker_sees() -> None:
    text = Path(sigil_actors.testing.__file__).read_text(encoding="utf-8")
    seen = re.findall(r"^    from (\S+) import (\w+) as \2$", text, re.MULTILINE)
    assert {name: home for home, name in seen} == sigil_actors.testing._HOMES


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = sigil_actors.testing.nonsense
