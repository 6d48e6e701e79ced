"""The page about the connection names each of its bounds, with the value that it has."""

import re
from pathlib import Path

import attrs

from sigil_actors.rpc.limits import Limits

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "http2-connection.md"


def test_the_page_has_every_bound_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    defaults = attrs.asdict(Limits())
    assert dict(rows) == {name: str(value) for name, value in defaults.items()}
