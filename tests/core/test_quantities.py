"""Durations and sizes as a manifest writes them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.quantities import (
    DURATION_S_MAX,
    SIZE_BYTES_MAX,
    QuantityError,
    check_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300ms", 0.3),
        ("1m30s", 90.0),
        ("1.5h", 5400.0),
        ("0", 0.0),
        ("0s", 0.0),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("10us", 1e-5),
        ("10\u00b5s", 1e-5),
        ("10\u03bcs", 1e-5),
        ("7ns", 7e-9),
        ("24h", DURATION_S_MAX),
        ("30s1m", 90.0),
    ],
)
def test_a_duration_has_gos_form(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "s",
        "-1s",
        "+1s",
        "1 s",
        "1S",
        "1d",
        "1e3s",
        "1s ",
        "..s",
        "1m30",
        "\u0661s",
        "inf",
        "1s" * 40,
        "9" * 5000 + "s",
    ],
)
def test_what_is_no_duration_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_duration(text)
    assert "300ms" in caught.value.remedy


@pytest.mark.parametrize("text", ["24h1ns", "25h", "9" * 60 + "h"])
def test_a_duration_of_more_than_a_day_is_refused(text: str) -> None:
    with pytest.raises(QuantityError, match="longer than a day"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("1024", 1024),
        ("64Ki", 65_536),
        ("256Mi", 268_435_456),
        ("2Gi", 2_147_483_648),
        ("5k", 5_000),
        ("5M", 5_000_000),
        ("5G", 5_000_000_000),
        ("1024Gi", SIZE_BYTES_MAX),
    ],
)
def test_a_size_is_binary_or_decimal_or_bytes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    ["", "Mi", "-1", "1.5Gi", "1 Mi", "1mi", "1K", "1Ti", "1MB", "\u0661Mi", "1e3", "9" * 5000],
)
def test_what_is_no_size_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(QuantityError) as caught:
        parse_size(text)
    assert "256Mi" in caught.value.remedy


def test_a_size_of_more_than_a_tebibyte_is_refused() -> None:
    with pytest.raises(QuantityError, match="more than 1 TiB"):
        parse_size("1025Gi")


def test_a_negative_number_of_bytes_is_refused() -> None:
    with pytest.raises(QuantityError, match="never negative"):
        check_size(-1)


@given(st.text() | st.from_regex(r"([0-9.]{0,9}(ms|s|m|h|Ki|Mi|k)?){1,4}", fullmatch=True))
def test_any_text_is_a_bounded_quantity_or_a_quantity_error(text: str) -> None:
    for parse, most in ((parse_duration, DURATION_S_MAX), (parse_size, SIZE_BYTES_MAX)):
        with suppress(QuantityError):
            assert 0 <= parse(text) <= most
