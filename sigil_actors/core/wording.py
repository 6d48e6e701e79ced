"""How a problem quotes a stranger's word, guesses which known word was meant, counts things."""

import difflib
import re
from collections.abc import Collection, Iterator

SHOWN_MAX = 80
"""Characters of a stranger's text that a problem repeats: enough to find it by."""

_GUESS_MAX = 64
"""Characters of a word that is worth a guess; comparing costs the product of both lengths."""


def shown(text: str) -> str:
    r"""Return `text` in quotes, cut short, with whatever a terminal could act on as `\x1b`."""
    # repr() leaves exactly the printable characters as they are: controls, bidirectional marks,
    # other invisible ones and lone surrogates all become escapes.
    return repr(text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…")


def nearest(word: str, known: Collection[str]) -> str | None:
    """Return the known word that `word` most likely stands for, or None where nothing is near."""
    if len(word) > _GUESS_MAX:
        return None
    return next(iter(difflib.get_close_matches(word.lower(), sorted(known), n=1)), None)


def guess_or_list(word: str, known: Collection[str]) -> str:
    """Return the remedy for an unknown word: the nearest known one, or all of them."""
    guess = nearest(word, known)
    if guess is not None:
        return f"Did you mean {guess!r}?"
    return f"Use one of {', '.join(sorted(known))}"


def counted(count: int, noun: str) -> str:
    """Return so many of something in words: `1 call`, `2 calls`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


_PLAIN_KEY = re.compile(r"[A-Za-z0-9_$-]{1,64}", re.ASCII)


def below(path: str, key: str | int) -> str:
    """Return the path of what stands at `key` in `path`: `execution.tier`, `capabilities[2]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{shown(key)}]"
    return f"{path}.{key}" if path else key


def joined(path: str, rest: str) -> str:
    """Return the path of what stands at `rest` within `path`."""
    return f"{path}.{rest}" if path and rest and not rest.startswith("[") else path + rest


def enclosing(path: str) -> Iterator[str]:
    """Yield `path` and every path that it lies within, innermost first; not the whole document."""
    while path:
        yield path
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
