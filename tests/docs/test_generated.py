"""The parts of the reference that come from the code say what the code says."""

from enum import IntEnum

import pytest

from docs.generate import DOCS, PARTS, replace_part
from sigil_actors import errors
from sigil_actors.core.guest_ops import GuestOp, HostOp, HostRefusal
from sigil_actors.core.lifecycle import TRANSITIONS


@pytest.mark.parametrize(("page", "name"), PARTS)
def test_a_generated_part_is_up_to_date(page: str, name: str) -> None:
    text = (DOCS / page).read_text()
    assert text == replace_part(text, name, PARTS[page, name]()), "run `make reference`"


def test_every_step_is_in_the_table() -> None:
    text = (DOCS / "reference" / "lifecycle.md").read_text()
    for source, targets in TRANSITIONS.items():
        [row] = [line for line in text.splitlines() if line.startswith(f"| `{source}` | `")] or [""]
        for target in targets:
            assert f"`{target}`" in row, (source, target)


def test_every_error_has_a_section() -> None:
    text = (DOCS / "reference" / "errors.md").read_text()
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, errors.SigilError):
            assert f"## {name}\n" in text


def test_a_page_without_the_comments_is_an_error() -> None:
    with pytest.raises(ValueError, match="lacks"):
        replace_part("# Title", "lifecycle", "")


@pytest.mark.parametrize("number", [*GuestOp, *HostOp, *HostRefusal], ids=lambda op: op.name)
def test_the_numbers_of_the_guest_interface_are_the_codes(number: IntEnum) -> None:
    text = (DOCS / "reference" / "guest-abi.md").read_text()
    row = (
        f"| {number:d} |" if isinstance(number, HostRefusal) else f"| {number:d} | {number.name} |"
    )
    assert text.count(f"\n{row}") == 1
