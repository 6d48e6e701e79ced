"""Makes a stranger's text safe to show: in a terminal, in a log line, in an error message.

Owns which characters are shown as they are. Knows nothing of where the text goes.
"""

from typing import Final, TypeGuard

SHOWN_TEXT_MAX: Final = 1000
"""Characters that `escape_text` returns at most unless told otherwise: one long line of a log."""

_ELLIPSIS = "…"

# `str.isprintable` already refuses controls, format characters (bidirectional and zero-width ones
# among them), lone surrogates, private and unassigned code points, and every separator but the
# space. These are letters, marks and symbols to Unicode and yet show as nothing, or change what
# stands beside them.
_INVISIBLE: Final = frozenset(
    map(
        chr,
        (
            0x034F,  # combining grapheme joiner
            0x115F,
            0x1160,  # Hangul fillers
            0x17B4,
            0x17B5,  # Khmer inherent vowels
            0x180B,
            0x180C,
            0x180D,
            0x180F,  # Mongolian variation selectors
            0x2800,  # Braille blank
            0x3164,
            0xFFA0,  # Hangul fillers again
            *range(0xFE00, 0xFE10),  # variation selectors
            *range(0xE0100, 0xE01F0),  # variation selectors supplement
        ),
    )
)


def is_text(thing: object) -> TypeGuard[str]:
    """Tell whether `thing` is a str; unlike `isinstance`, can't be lied to by a `__class__`."""
    return issubclass(type(thing), str)


def escape_text(text: str, *, limit: int = SHOWN_TEXT_MAX) -> str:
    r"""Return `text` on one line, every character of it visible, in at most `limit` characters.

    What isn't visible becomes `\xNN`, `\uNNNN` or `\UNNNNNNNN`, and a backslash becomes two, so
    that nobody can write an escape that wasn't one. What is too long ends in `…`. An escape is
    never cut in two.
    """
    # A subclass of str may answer anything; its characters can't lie.
    text = str.__str__(text)
    if len(text) <= limit and text.isascii() and text.isprintable() and "\\" not in text:
        return text
    shown: list[str] = []
    length = 0
    fits = 0  # how many pieces leave room for the ellipsis
    for character in text[: max(limit, 0) + 1]:  # each becomes one character at least
        piece = _shown(character)
        length += len(piece)
        if length > limit:
            return "".join([*shown[:fits], _ELLIPSIS][: max(limit, 0)])
        shown.append(piece)
        if length < limit:
            fits = len(shown)
    return "".join(shown)


def _shown(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable() and character not in _INVISIBLE:
        return character
    code = ord(character)
    if code <= 0xFF:  # noqa: PLR2004 - what two hexadecimal digits hold
        return f"\\x{code:02x}"
    if code <= 0xFFFF:  # noqa: PLR2004 - what four hexadecimal digits hold
        return f"\\u{code:04x}"
    return f"\\U{code:08x}"
