"""Settings that can't be are refused where they are made, not where they would be used."""

from typing import Any

import pytest

from sigil_actors import RuntimeSettings
from sigil_actors.errors import SettingsError
from sigil_actors.runtime.settings import UidRange


@pytest.mark.parametrize(
    "wrong",
    [
        {"mailbox_size": 1.5},
        {"mailbox_size": 0},
        {"host_calls_in_flight": True},
        {"call_depth": 0.5},
        {"kv_bytes_per_plugin": "x"},
        {"stop_grace_s": float("nan")},
        {"stop_grace_s": float("inf")},
        {"start_timeout_s": -1},
        {"background_session": None},
        {"unsafe_no_sandbox": 1},
        {"plugin_uids": range(1, 2)},
    ],
    ids=str,
)
def test_a_setting_that_cant_be_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        RuntimeSettings(**wrong)


def test_a_whole_number_of_seconds_is_fine() -> None:
    assert RuntimeSettings(stop_grace_s=3).stop_grace_s == 3


@pytest.mark.parametrize(
    ("first", "count"), [(0, 10), (1, 0), (1 << 31, 1), ((1 << 31) - 1, 2), (1.0, 2), (1, True)]
)
def test_a_range_of_uids_has_neither_roots_nor_what_is_none(first: Any, count: Any) -> None:
    with pytest.raises(SettingsError, match="UidRange"):
        UidRange(first=first, count=count)
