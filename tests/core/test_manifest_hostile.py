"""Whatever comes as a manifest, the answer is a manifest or a ManifestError, after bounded work."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.capability import CapabilitySet
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.manifest_rules import PATTERNS_MAX
from sigil_actors.core.manifest_yaml import parse_manifest
from sigil_actors.errors import ManifestError

SMALL = "name: a\nversion: 1.0.0\ntype: tool\nexecution: {tier: process}\n"


def read(text: str | bytes) -> Manifest | ManifestError:
    """Read `text`; anything but a ManifestError is a failure."""
    try:
        manifest = parse_manifest(text)
    except ManifestError as error:
        refusal = error
    else:
        assert manifest.validate() == ()
        return manifest
    assert refusal.problems
    assert all(problem.line >= 1 and problem.what for problem in refusal.problems)
    return refusal


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_any_bytes_are_a_manifest_or_a_manifest_error(text: str | bytes) -> None:
    read(text)


@given(st.data())
def test_a_manifest_with_a_piece_changed_is_one_or_a_manifest_error(
    full_manifest: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(full_manifest)))
    end = data.draw(st.integers(start, min(start + 30, len(full_manifest))))
    piece = data.draw(
        st.text(max_size=8)
        | st.sampled_from(
            ["- ", ": ", "[", "}", "&a ", "*a", "!!str ", "~", "1", "\n", "\n  ", "x: 1\n"]
        )
    )
    read(full_manifest[:start] + piece + full_manifest[end:])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.data())
def test_a_manifest_with_any_value_anywhere_is_one_or_a_manifest_error(data: st.DataObject) -> None:
    """JSON is YAML, so a value of any kind can be put in any place."""
    keys = data.draw(
        st.sampled_from([
            ("name",), ("version",), ("type",), ("engine",), ("license",), ("capabilities",),
            ("deny_capabilities",), ("execution",), ("execution", "tier"), ("execution", "command"),
            ("execution", "env"), ("execution", "sha256"), ("execution", "start_timeout"),
            ("execution", "sandbox"), ("execution", "sandbox", "filesystem"),
            ("execution", "sandbox", "network"), ("execution", "sandbox", "limits"),
            ("execution", "sandbox", "limits", "memory"), ("execution", "sandbox", "limits", "cpu"),
            ("config_schema",), ("dependencies",), ("lifecycle",), ("lifecycle", "restart"),
            ("lifecycle", "restart", "period"), ("storage",), ("storage", "kv"), ("other",),
        ])
    )  # fmt: skip
    value = data.draw(values)
    text = _json(value)
    for key in reversed(keys[1:]):
        tier = (
            "tier: process, " if key != "tier" and keys[0] == "execution" and key == keys[1] else ""
        )
        text = f"{{{tier}{key}: {text}}}"
    base = {"name": "a", "version": "1.0.0", "type": "tool", "execution": "{tier: process}"}
    read("".join(f"{key}: {line}\n" for key, line in {**base, keys[0]: text}.items()))


def _json(value: object) -> str:
    match value:
        case None | bool():
            return str(value).lower().replace("none", "null")
        case int() | float():
            return repr(value).replace("inf", ".inf").replace("nan", ".nan")
        case str():
            return '"' + "".join(f"\\U{ord(character):08x}" for character in value) + '"'
        case list():
            return f"[{', '.join(map(_json, value))}]"
        case dict():
            return (
                f"{{{', '.join(f'{_json(key)}: {_json(inner)}' for key, inner in value.items())}}}"
            )
        case _:
            raise AssertionError(value)


@pytest.mark.parametrize(
    "text",
    [
        b"\x00" * 1_000,
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 10,
        b"\x00asm\x01\x00\x00\x00",
        b"\xef\xbb\xbf",
        "\ud800",
        SMALL + "config_schema: {properties: {a: {pattern: '" + "(a{9})" * 5_000 + "'}}}",
        SMALL + "config_schema: " + "{not: " * 25 + "{}" + "}" * 25,
        SMALL + "x: " + "9" * 200_000,
        SMALL + "dependencies: {" + ",".join(f"d{i}: {'9' * 40}" for i in range(2_000)) + "}",
        "".join(f"? {i}\n" for i in range(4_000)),
    ],
)
def test_rubbish_is_answered(text: str | bytes) -> None:
    read(text)


def test_a_good_manifest_with_a_byte_order_mark_is_fine() -> None:
    assert isinstance(read(SMALL.encode("utf-8-sig")), Manifest)
    assert isinstance(read(SMALL.replace("\n", "\r\n")), Manifest)


def test_conflicts_are_sought_only_within_the_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pair of patterns costs a comparison, so lists over the bounds aren't compared at all."""
    compared = 0
    original = CapabilitySet.covers

    def counting(patterns: CapabilitySet, pattern: str) -> bool:
        nonlocal compared
        compared += 1
        return original(patterns, pattern)

    monkeypatch.setattr(CapabilitySet, "covers", counting)
    many = ",".join(f"a{i}" for i in range(PATTERNS_MAX + 1))
    with pytest.raises(ManifestError):
        parse_manifest(f"{SMALL}capabilities: [{many}]\ndeny_capabilities: [b]\n")
    assert compared == 0
    few = ",".join(f"a{i}" for i in range(10))
    parse_manifest(f"{SMALL}capabilities: [{few}]\ndeny_capabilities: [b]\n")
    assert compared == 10
