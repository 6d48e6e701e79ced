"""Each plugin has a uid of its own, and the same one every time."""

import os

import pytest

from sigil_actors.errors import PluginStartError
from sigil_actors.tiers.process.plugin_uids import PluginUids
from sigil_actors.tiers.process.spawner import Identity


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_a_name_has_the_same_uid_every_time_and_in_the_range() -> None:
    uids = [PluginUids(1000, 50).uid_of(f"plugin-{number}") for number in range(500)]
    assert uids == [PluginUids(1000, 50).uid_of(f"plugin-{number}") for number in range(500)]
    assert set(uids) == set(range(1000, 1050))


def test_two_generations_of_a_plugin_share_it_and_two_plugins_never_do() -> None:
    uids = PluginUids(7, 1)
    with uids.identity_of("a") as first, uids.identity_of("a") as second:
        assert first == second == Identity(uid=7, gid=7)
        with pytest.raises(PluginStartError, match="as the plugin 'a' does"), uids.identity_of("b"):
            pass
    with uids.identity_of("b") as other:
        assert other == first


def test_a_host_that_isnt_root_gives_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with PluginUids(7, 1).identity_of("a") as identity:
        assert identity is None
