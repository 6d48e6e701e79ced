"""Bounds on the texts of a call, whichever side wrote them; a problem is a few words.

An empty text is no problem. Knows nothing of what the texts mean.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

ID_CHARACTERS_MAX: Final = 1024
"""Of an id or a name that a platform gives; those of Matrix, the longest known, end at 255."""

METADATA_ENTRIES_MAX: Final = 64
METADATA_CHARACTERS_MAX: Final = 16 * 1024
"""Of all of a message's metadata together: notes beside it, not a second content."""


def first_problem(problems: Iterable[str]) -> str:
    """Return the first of `problems` that is one; empty where all is well. Looks no further."""
    return next(filter(None, problems), "")


def text_problem(name: str, text: str, *, limit: int = ID_CHARACTERS_MAX) -> str:
    """Return what is wrong with the text `name`: too long, or nothing that can be encoded."""
    if len(text) > limit:
        return f"{name} has {len(text)} characters, over {limit}"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return f"{name} has half a surrogate pair at {error.start}, which no encoding takes"
    return ""


def number_problem(name: str, number: int, *, bits: int) -> str:
    """Return what is wrong with a number that the contract keeps in `bits` bits with a sign."""
    if -(1 << bits - 1) <= number < 1 << bits - 1:
        return ""
    return f"{name} doesn't fit into {bits} bits"


def count_problem(name: str, count: int, *, limit: int) -> str:
    """Return what is wrong with how many `name` there are."""
    return f"{count} {name}, over {limit}" if count > limit else ""


def time_problem(name: str, moment: datetime | None) -> str:
    """Return what is wrong with a moment: one without a zone is none."""
    return f"{name} has no time zone" if moment is not None and moment.tzinfo is None else ""


def metadata_problem(metadata: Mapping[str, str]) -> str:
    """Return what is wrong with a message's metadata."""
    texts = [text for entry in metadata.items() for text in entry]
    characters = sum(map(len, texts))
    if characters > METADATA_CHARACTERS_MAX:
        return f"its metadata have {characters} characters, over {METADATA_CHARACTERS_MAX}"
    return first_problem(
        (
            count_problem("entries of metadata", len(metadata), limit=METADATA_ENTRIES_MAX),
            *(text_problem("its metadata", text, limit=METADATA_CHARACTERS_MAX) for text in texts),
        )
    )
