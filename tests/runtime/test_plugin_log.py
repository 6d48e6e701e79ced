"""A plugin's log lines on their way to the host's log."""

import pytest

from sigil_actors.runtime.plugin_log import LAST_WORDS_MAX, LINES_BURST_MAX, PluginLog


def test_lines_are_escaped_and_the_last_ones_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    log = PluginLog("noisy")
    log("error", "one\x1b[31m\ntwo %s")
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert all(record.getMessage().isprintable() for record in caplog.records)
    assert log.last_words[-1] == "two %s"


def test_a_flood_loses_lines_and_says_how_many(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("sigil_actors.runtime.plugin_log.time.monotonic", lambda: now)
    caplog.set_level("DEBUG")
    log = PluginLog("noisy")
    for _ in range(20):
        log("info", "line\n" * 1000)
    assert len(caplog.records) == LINES_BURST_MAX
    now = 1.0
    log("info", "later")
    told = [record.getMessage() for record in caplog.records[LINES_BURST_MAX:]]
    assert told == ["noisy: 1500 lines were dropped", "noisy: later"]
    assert len(log.last_words) == LAST_WORDS_MAX
