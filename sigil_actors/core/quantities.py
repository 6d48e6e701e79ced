"""Durations and sizes as a manifest writes them: `1m30s` is 90.0 s, `256Mi` 268,435,456 bytes.

`Duration` and `Size` mark the fields that are written so; in code they are plain float seconds and
int bytes.
"""

import re
from enum import Enum
from typing import Annotated, Final, TypeAlias


class Quantity(Enum):
    """How a field's number is written in a manifest."""

    DURATION = "duration"
    SIZE = "size"


Duration: TypeAlias = Annotated[float, Quantity.DURATION]
Size: TypeAlias = Annotated[int, Quantity.SIZE]

DURATION_S_MAX: Final = 86_400.0
"""One day. Every duration is a wait for one plugin, so a longer one is a slip of the unit."""

SIZE_BYTES_MAX: Final = 1 << 40
"""1 TiB. More than a plugin gets anywhere, and far from overflowing a signed 64-bit number."""

_TEXT_MAX = 64
"""Characters of a duration or size: the longest honest one has some twenty."""

# Go takes the micro sign and the Greek letter mu alike.
_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,
    "\u03bcs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_BYTES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}

_PART = r"(\d+(?:\.\d*)?|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)"
_DURATION_PART = re.compile(_PART, re.ASCII)
_DURATION = re.compile(rf"(?:{_PART})+", re.ASCII)
_SIZE = re.compile(r"(\d+)(Ki|Mi|Gi|k|M|G)?", re.ASCII)

DURATION_FORM: Final = "Write a number with its unit, as in 300ms, 1m30s or 1.5h"
SIZE_FORM: Final = "Write whole bytes, or a whole number with Ki, Mi, Gi, k, M or G, as in 256Mi"


class QuantityError(ValueError):
    """The text is no duration or size. `what` says why not, `remedy` how to write one."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}. {remedy}")


def parse_duration(text: str) -> float:
    """Return the seconds that `text` stands for: the form of Go's `time.ParseDuration`, unsigned.

    Raises:
        QuantityError: it isn't of that form, is negative, or is longer than `DURATION_S_MAX`.
    """
    if text == "0":  # Go's one exception to "every number has a unit"
        return 0.0
    if text.startswith("-"):
        raise QuantityError("a duration is never negative", DURATION_FORM)
    if len(text) > _TEXT_MAX or not _DURATION.fullmatch(text):
        raise QuantityError("is no duration", DURATION_FORM)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if seconds > DURATION_S_MAX:
        raise QuantityError("is longer than a day", "Write 24h or less")
    return seconds


def parse_size(text: str) -> int:
    """Return the bytes that `text` stands for.

    Raises:
        QuantityError: it isn't of that form, or is more than `SIZE_BYTES_MAX`.
    """
    if text.startswith("-"):
        raise QuantityError("a size is never negative", SIZE_FORM)
    parts = _SIZE.fullmatch(text) if len(text) <= _TEXT_MAX else None
    if parts is None:
        raise QuantityError("is no size", SIZE_FORM)
    return check_size(int(parts[1]) * _BYTES[parts[2] or ""])


def check_size(size_bytes: int) -> int:
    """Return `size_bytes` if it can be the size of anything.

    Raises:
        QuantityError: it is negative, or more than `SIZE_BYTES_MAX`.
    """
    if size_bytes < 0:
        raise QuantityError("a size is never negative", SIZE_FORM)
    if size_bytes > SIZE_BYTES_MAX:
        raise QuantityError("is more than 1 TiB", "Write 1024Gi or less")
    return size_bytes
