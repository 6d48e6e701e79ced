"""What a plugin logs comes out as its host reads it."""

import io
import json
import logging

import pytest

from sigil_actors.core.handshake import LINE_BYTES_MAX
from sigil_actors.sdk.hclog_handler import HclogHandler


def logged(level: int, text: str, **more: object) -> dict[str, object]:
    stream = io.StringIO()
    record = logging.getLogger().makeRecord(
        "the.plugin",
        level,
        __file__,
        1,
        text,
        (),
        **({"exc_info": None} | more),  # type: ignore[arg-type] # what logging takes by keyword
    )
    HclogHandler(stream).handle(record)
    (line,) = stream.getvalue().splitlines()
    assert len(line.encode()) < LINE_BYTES_MAX
    told: dict[str, object] = json.loads(line)
    return told


@pytest.mark.parametrize(
    ("level", "word"),
    [
        (logging.DEBUG, "debug"),
        (logging.INFO, "info"),
        (logging.WARNING, "warn"),
        (logging.ERROR, "error"),
        (logging.CRITICAL, "error"),
    ],
)
def test_each_level_has_its_word(level: int, word: str) -> None:
    told = logged(level, "hello")
    assert (told["@level"], told["@message"], told["@module"]) == (word, "hello", "the.plugin")
    assert "@timestamp" in told


def test_extra_fields_are_fields_of_the_line() -> None:
    assert logged(logging.INFO, "hello", extra={"user": "alice"})["user"] == "alice"


def test_an_error_brings_its_traceback_in_the_same_line() -> None:
    error = ZeroDivisionError()
    told = logged(logging.ERROR, "it broke", exc_info=(type(error), error, None))
    assert "ZeroDivisionError" in str(told["@message"])


def test_no_line_is_longer_than_a_host_reads() -> None:
    assert logged(logging.INFO, "x" * 200_000, extra={"more": "y" * 200_000})["@level"] == "info"
