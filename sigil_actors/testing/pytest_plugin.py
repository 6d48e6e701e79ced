"""The pytest plugin: fixtures for applications that embed the runtime, and seeds for simulations.

pytest loads it in every run of everybody who has this package installed, so it imports pytest and
the standard library only; the rest is loaded by the fixtures. It works with any way of running
async tests, or none: no fixture is async.
"""

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from sigil_actors.audit.memory import MemoryAuditStore
    from sigil_actors.core.json_value import JsonObject
    from sigil_actors.core.manifest import Manifest
    from sigil_actors.ports.audit_store import AuditStore
    from sigil_actors.runtime.host_calls import HostFunction
    from sigil_actors.runtime.runtime import Runtime
    from sigil_actors.runtime.settings import RuntimeSettings
    from sigil_actors.testing.fake_tier import FakeTier
    from sigil_actors.testing.seed_runs import SeedRuns

SEEDS_DEFAULT = 100
"""Seeds of each simulation where nobody says: some seconds, and over days thousands."""

SEED_BITS = 48
"""Of a run's first seed: enough that no two runs share seeds, few enough to be typed again."""

MARKER = "sigil_simulation"
_FIXTURE = "simulate_seeds"
_PROPERTY = "sigil_seeds"
_FAILURE = "sigil_failed_seed"
_FIRST_SEED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that say which seeds are run."""
    group = parser.getgroup("sigil-actors", "simulations of sigil-actors")
    group.addoption(
        "--sigil-seeds",
        type=_at_least_one,
        default=SEEDS_DEFAULT,
        metavar="N",
        help=f"how many fresh seeds each simulation runs (default: {SEEDS_DEFAULT})",
    )
    group.addoption(
        "--sigil-seed",
        type=int,
        default=None,
        metavar="K",
        help="run each simulation from this one seed only, to have a failure again",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Draw the first seed of this run; say what the marker means."""
    config.stash[_FIRST_SEED] = int.from_bytes(os.urandom(SEED_BITS // 8), "big")
    config.addinivalue_line(
        "markers", f"{MARKER}: runs from many seeds; every test that uses {_FIXTURE} has it"
    )
    pytest.register_assert_rewrite(
        "sigil_actors.testing.audit_store_contract", "sigil_actors.testing.tier_contract"
    )


@pytest.hookimpl(tryfirst=True)  # before pytest selects by -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the simulations."""
    for item in items:
        if _is_simulation(item):
            item.add_marker(MARKER)


def pytest_report_collectionfinish(
    config: pytest.Config, items: Sequence[pytest.Item]
) -> str | list[str]:
    """Say from which seeds the simulations are going to run; nothing where there are none."""
    if not any(map(_is_simulation, items)):
        return []
    seeds = _seeds(config)
    if len(seeds) == 1:
        return f"simulations: seed {seeds[0]}"
    return f"simulations: seeds {seeds[0]} to {seeds[-1]} (--sigil-seeds={len(seeds)})"


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around pytest's own summary, so that it ends it
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Say how fast the simulations were, and last how to have a failure again."""
    yield
    told = [
        (name, f"{report.nodeid}: {value}" if name == _PROPERTY else str(value))
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "teardown"
        for name, value in report.user_properties
        if name in {_PROPERTY, _FAILURE}
    ]
    if told:
        terminalreporter.section("simulations")
        for _, line in sorted(told, key=lambda one: one[0] == _FAILURE):
            terminalreporter.write_line(line)


@pytest.fixture
def simulate_seeds(request: pytest.FixtureRequest) -> Iterator["SeedRuns"]:
    """Give `simulate_seeds(scenario)`, which runs a scenario from every seed of this run."""
    from sigil_actors.testing.seed_runs import SeedRuns

    runs = SeedRuns(request.node.nodeid, _seeds(request.config))
    yield runs
    # Reported from here, so that it is there too when the run was spread over processes.
    speed = runs.count / runs.took_s if runs.took_s else 0.0
    counted = f"{runs.count} seed{'' if runs.count == 1 else 's'}"
    request.node.user_properties.append(
        (_PROPERTY, f"{counted} in {runs.took_s:.1f} s, {speed:.0f} seeds/s")
    )
    if runs.failure:
        request.node.user_properties.append((_FAILURE, runs.failure))


@pytest.fixture
def fake_tier() -> "FakeTier":
    """Give a tier that runs plugins as scripts; `fake_tier.set_plugin` says how they behave."""
    from sigil_actors.testing.fake_tier import FakeTier

    return FakeTier()


@pytest.fixture
def memory_audit_store() -> "MemoryAuditStore":
    """Give an audit store in memory; `memory_audit_store.entries` is what was recorded."""
    from sigil_actors.audit.memory import MemoryAuditStore

    return MemoryAuditStore()


class OpenFakeRuntime(Protocol):
    """What the fixture `open_fake_runtime` gives; see there."""

    def __call__(
        self,
        *plugins: "str | Manifest",
        host_functions: "Mapping[str, HostFunction] | None" = None,
        settings: "RuntimeSettings | None" = None,
        configs: "Mapping[str, JsonObject] | None" = None,
        audit_store: "AuditStore | None" = None,
    ) -> "AbstractAsyncContextManager[Runtime]":
        """Open a runtime for as long as the block lasts."""


@pytest.fixture
def open_fake_runtime(
    fake_tier: "FakeTier", memory_audit_store: "MemoryAuditStore"
) -> OpenFakeRuntime:
    """Give `open_fake_runtime(*plugins)`: a runtime over `fake_tier` and `memory_audit_store`.

    A plugin is a manifest, or a name, which gets a manifest by `fake_manifest`. Plugins are being
    started when the block begins. The other arguments are those of `open_runtime`; with
    `audit_store`, that one is used.
    """
    from sigil_actors.assembly import open_runtime
    from sigil_actors.testing.fake_manifest import fake_manifest

    def open_it(
        *plugins: "str | Manifest",
        host_functions: "Mapping[str, HostFunction] | None" = None,
        settings: "RuntimeSettings | None" = None,
        configs: "Mapping[str, JsonObject] | None" = None,
        audit_store: "AuditStore | None" = None,
    ) -> "AbstractAsyncContextManager[Runtime]":
        manifests = [fake_manifest(one) if isinstance(one, str) else one for one in plugins]
        return open_runtime(
            manifests=[(manifest, None) for manifest in manifests],
            audit_store=memory_audit_store if audit_store is None else audit_store,
            host_functions=host_functions,
            settings=settings,
            configs=configs,
            tiers=[fake_tier],
        )

    return open_it


def _at_least_one(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return number


def _is_simulation(item: pytest.Item) -> bool:
    return _FIXTURE in getattr(item, "fixturenames", ())


def _seeds(config: pytest.Config) -> Sequence[int]:
    one: int | None = config.getoption("sigil_seed")
    if one is not None:
        return [one]
    first = config.stash[_FIRST_SEED]
    count: int = config.getoption("sigil_seeds")
    return range(first, first + count)
