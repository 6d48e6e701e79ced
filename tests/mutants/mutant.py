"""A mutant: one change by hand that makes the code wrong, as data, applied to a copy only."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs

COPIED = ("sigil_actors", "tests", "pyproject.toml")
"""What a run of the simulations needs of a checkout."""


class MutantError(Exception):
    """A mutant can't be applied: the text that it changes isn't there, or stands there twice."""


@attrs.frozen(kw_only=True)
class Mutant:
    """One wrong change."""

    name: str
    file: str
    """Below `sigil_actors/`."""
    old: str
    """Stands in the file exactly once."""
    new: str
    why: str
    """What is wrong with it, as a sentence that ends the words "With it, …"."""

    def applied_to(self, text: str) -> str:
        """Return the file's text with the change in it.

        Raises:
            MutantError: `old` isn't there exactly once, or the outcome isn't Python.
        """
        found = text.count(self.old)
        if found != 1:
            raise MutantError(
                f"{self.name}: its text stands in {self.file} {found} times, not once"
            )
        changed = text.replace(self.old, self.new)
        try:
            compile(changed, self.file, "exec")
        except SyntaxError as error:
            raise MutantError(f"{self.name}: {error}") from error
        return changed


@contextmanager
def copied_checkout(root: Path, mutant: Mutant | None = None) -> Iterator[Path]:
    """Make a copy of the checkout's code for the block, with the mutant in it."""
    with TemporaryDirectory(prefix="mutant-") as name:
        copy = Path(name)
        for part in COPIED:
            source = root / part
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, copy / part, ignore=ignored)
            else:
                shutil.copy(source, copy / part)
        if mutant is not None:
            target = copy / "sigil_actors" / mutant.file
            target.write_text(mutant.applied_to(target.read_text(encoding="utf-8")), "utf-8")
        yield copy
