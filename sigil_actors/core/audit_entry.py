"""One entry of the audit log, its canonical bytes and the hash chain's step.

Owns what an entry holds, the bounds on it, the one form that it has as bytes, and which entries a
filter takes. Knows nothing of where entries are kept.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from json.encoder import encode_basestring as _quote
from typing import Final

import attrs

from sigil_actors.core.capability import check_pattern, match_capability
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.text import escape_text
from sigil_actors.errors import AuditIntegrityError, InvalidCapabilityError

GENESIS: Final = bytes(32)
"""The hash before the first entry."""

FORMAT_VERSION: Final = 1
"""The first element of the canonical bytes. A new form gets a new number; old entries keep
theirs."""

TEXT_LENGTH_MAX: Final = 1024
"""Characters of one text field after escaping: as long as the longest capability that the grammar
allows."""

DETAILS_BYTES_MAX: Final = 4096
"""Bytes of the details' JSON text. With the text fields this keeps an entry below some 60 KiB at
the worst."""

DETAILS_DEPTH_MAX: Final = 64
"""Levels of the details' objects and lists. Honest ones have a handful; JSON readers, SQLite's and
Python's among them, give up somewhere between 500 and 2,000."""

# Characters kept of details that are too long; quoted they fit the bound whatever they are.
_DETAILS_START_MAX = 512
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_TEXT_FIELDS = (
    "action",
    "actor",
    "plugin",
    "workspace_id",
    "user_id",
    "session_id",
    "capability",
    "result",
    "reason",
)


def bounded_text(text: str) -> str:
    """Return `text` as an entry holds it: strange characters escaped, `TEXT_LENGTH_MAX` at most."""
    return escape_text(text, limit=TEXT_LENGTH_MAX)


# Not slotted: a frozen class with a `__dict__` is made in half the time, and can be copied with
# two fields changed without running its checks again. One entry is made and one copied for every
# decision.
@attrs.frozen(kw_only=True, slots=False)
class AuditEntry:
    """Something that happened, as the log keeps it. Holds neither contents nor secrets.

    Text and details may come from strangers, and no entry may get lost over them: whatever
    doesn't fit the bounds is escaped or cut here, visibly, so that every entry that exists can be
    stored.
    """

    action: str
    """What happened, in a word: capability_check, plugin_registered, lifecycle, outcome, …"""
    timestamp: datetime
    """When, in UTC to the microsecond. One without a time zone is refused with `ValueError`."""
    actor: str = ""
    plugin: str = ""
    workspace_id: str = ""
    user_id: str = ""
    session_id: str = ""
    capability: str = ""
    result: str = ""
    reason: str = ""
    details: JsonObject = attrs.field(factory=dict, hash=False)
    """The rest, as JSON; what is stored is what it held when the entry was made. Over
    `DETAILS_BYTES_MAX`, or not JSON at all, it is replaced by an object with `details_truncated`
    or `details_unstorable`."""
    seq: int = 0
    """Its place in the log, from 1; 0 until it is stored."""
    hash: bytes = attrs.field(default=b"", repr=bytes.hex)
    """32 bytes that chain it to all before it; empty until it is stored."""
    _details_text: str = attrs.field(init=False, default="{}", eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.timestamp.tzinfo is not UTC:
            self.__dict__["timestamp"] = _utc(self.timestamp)
        # One look at all the texts together, since nearly always none of them needs anything.
        texts = (
            f"{self.action}{self.actor}{self.plugin}{self.workspace_id}{self.user_id}"
            f"{self.session_id}{self.capability}{self.result}{self.reason}"
        )
        if not (
            len(texts) <= TEXT_LENGTH_MAX
            and texts.isascii()
            and texts.isprintable()
            and "\\" not in texts
        ):
            for name in _TEXT_FIELDS:
                self.__dict__[name] = bounded_text(getattr(self, name))
        if self.details:
            details, text = _bounded_details(self.details)
            self.__dict__.update(details=details, _details_text=text)

    def stored_as(self, seq: int, entry_hash: bytes) -> "AuditEntry":
        """Return this entry with its place and its hash."""
        copy = object.__new__(AuditEntry)
        fields = copy.__dict__
        fields.update(self.__dict__)
        fields["seq"] = seq
        fields["hash"] = entry_hash
        return copy


def _utc(timestamp: datetime) -> datetime:
    if timestamp.utcoffset() is None:
        raise ValueError(f"the timestamp {timestamp!r} has no time zone; use datetime.now(UTC)")
    return timestamp.astimezone(UTC)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


# Keys sorted and no spaces, so that equal details give equal bytes; NaN is no JSON and no
# database would read it.
_JSON = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"), default=_plain
)


def _bounded_details(details: JsonObject) -> tuple[JsonObject, str]:
    try:
        text = _JSON.encode(dict(details))
        if not text.isascii() and _LONE_SURROGATE.search(text):
            # They can't be UTF-8. As visible escapes they can, and nobody downstream trips over
            # them.
            text = _LONE_SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text)
            details = json.loads(text)
            text = _JSON.encode(details)  # escaped keys sort elsewhere
    except (TypeError, ValueError, RecursionError) as error:
        # NaN, a cycle, bytes, a depth beyond reason: what it was can't be shown safely, that it
        # was can.
        return _replaced_details({"details_unstorable": type(error).__name__})
    size = len(text) if text.isascii() else len(text.encode())
    if size > DETAILS_BYTES_MAX:
        return _replaced_details(
            {
                "details_truncated": True,
                "bytes": size,
                "start": text[:_DETAILS_START_MAX],
            }
        )
    # Counting brackets first is cheap, and nearly always enough.
    if text.count("{") + text.count("[") > DETAILS_DEPTH_MAX and _depth(text) > DETAILS_DEPTH_MAX:
        return _replaced_details({"details_unstorable": "nested too deeply"})
    return details, text


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in _BRACKET_OR_TEXT.findall(text):
        if bracket in ("{", "["):
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in ("}", "]"):
            depth -= 1
    return deepest


_BRACKET_OR_TEXT = re.compile(r'[\[\]{}]|"(?:[^"\\]|\\.)*"')


def _replaced_details(details: JsonObject) -> tuple[JsonObject, str]:
    return details, _JSON.encode(details)


def canonical_bytes(entry: AuditEntry) -> bytes:
    """Return the one form of `entry` as bytes: what is hashed, and what a store keeps.

    UTF-8 of a JSON array without spaces: `[1,seq,microseconds,"action","actor","plugin",
    "workspace_id","user_id","session_id","capability","result","reason",{details}]`, where 1 is
    the version of this form and the details' keys are sorted. `hash` is left out, since it is
    made from these bytes. Two entries that differ in any other field differ in their bytes,
    because each field can be read back: `entry_from_bytes`.
    """
    return _canonical_text(entry, entry.seq).encode()


def _canonical_text(entry: AuditEntry, seq: int) -> str:
    return f"{_text_before_details(entry, seq)}{entry._details_text}]"  # noqa: SLF001


def _text_before_details(entry: AuditEntry, seq: int) -> str:
    return (
        f"[{FORMAT_VERSION},{seq},{microseconds(entry.timestamp)},{_quote(entry.action)},"
        f"{_quote(entry.actor)},{_quote(entry.plugin)},{_quote(entry.workspace_id)},"
        f"{_quote(entry.user_id)},{_quote(entry.session_id)},{_quote(entry.capability)},"
        f"{_quote(entry.result)},{_quote(entry.reason)},"
    )


def microseconds(timestamp: datetime) -> int:
    """Return how many microseconds after 1970 began `timestamp` is, exactly."""
    return (timestamp - _EPOCH) // _MICROSECOND


def chain_hash(previous: bytes, entry: AuditEntry) -> bytes:
    """Return SHA-256(`previous` + canonical bytes): the hash of an entry after `previous`."""
    return sha256(previous + canonical_bytes(entry)).digest()


def seal_entry(previous: bytes, seq: int, entry: AuditEntry) -> tuple[AuditEntry, str]:
    """Return `entry` with its place after `previous` and its hash; also its canonical text."""
    text = _canonical_text(entry, seq)
    return entry.stored_as(seq, sha256(previous + text.encode()).digest()), text


def entry_from_bytes(stored: object, entry_hash: object) -> AuditEntry:
    """Return the entry whose canonical bytes are `stored`, with its hash, which isn't checked.

    Takes anything, since a damaged database hands out anything.

    Raises:
        AuditIntegrityError: these aren't the canonical bytes of any entry.
    """
    if not isinstance(stored, bytes) or not isinstance(entry_hash, bytes):
        raise _not_an_entry("not even bytes")
    try:
        text = stored.decode()
        version, seq, timestamp_us, *texts, details = json.loads(text)
        entry = object.__new__(AuditEntry)
        # Around `__init__`: what is stored was bounded then, and must come back as it is.
        fields = entry.__dict__
        fields.update(zip(_TEXT_FIELDS, texts, strict=True))
        fields["timestamp"] = _EPOCH + timedelta(microseconds=timestamp_us)
        fields["details"], fields["seq"], fields["hash"] = details, seq, entry_hash
        before_details = _text_before_details(entry, seq)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _not_an_entry(type(error).__name__) from error
    fields["_details_text"] = text[len(before_details) : -1]
    is_canonical = text.startswith(before_details + "{") and text.endswith("}]")
    is_typed = version == FORMAT_VERSION and type(seq) is int and isinstance(details, dict)
    if not (is_canonical and is_typed):
        raise _not_an_entry("another form")
    return entry


def _not_an_entry(what: str) -> AuditIntegrityError:
    return AuditIntegrityError(
        f"stored bytes are not those of an audit entry ({what})",
        kind="edited",
        remedy="`sigil-actors audit verify` names the first entry that isn't what was written",
    )


def _optional_text(text: str | None) -> str | None:
    return None if text is None else bounded_text(text)


def _optional_utc(timestamp: datetime | None) -> datetime | None:
    return None if timestamp is None else _utc(timestamp)


def _optional_pattern(pattern: str | None) -> str | None:
    if pattern is not None:
        check_pattern(pattern)
    return pattern


_at_least_0 = attrs.validators.optional(attrs.validators.ge(0))


@attrs.frozen(kw_only=True)
class AuditFilter:
    """Which entries a query wants: those that fit all that is given.

    Raises:
        InvalidCapabilityError: `capability` is no pattern.
        ValueError: a number is negative, or a time has no time zone.
    """

    action: str | None = attrs.field(default=None, converter=_optional_text)
    actor: str | None = attrs.field(default=None, converter=_optional_text)
    plugin: str | None = attrs.field(default=None, converter=_optional_text)
    workspace_id: str | None = attrs.field(default=None, converter=_optional_text)
    user_id: str | None = attrs.field(default=None, converter=_optional_text)
    session_id: str | None = attrs.field(default=None, converter=_optional_text)
    capability: str | None = attrs.field(default=None, converter=_optional_pattern)
    """A capability pattern."""
    result: str | None = attrs.field(default=None, converter=_optional_text)
    since: datetime | None = attrs.field(default=None, converter=_optional_utc)
    """The earliest time that fits."""
    until: datetime | None = attrs.field(default=None, converter=_optional_utc)
    """The latest time that fits."""
    after_seq: int | None = attrs.field(default=None, validator=_at_least_0)
    """Only entries that come later in the log than this one."""
    limit: int | None = attrs.field(default=None, validator=_at_least_0)
    """At most so many: the first of those that fit, or the last with `newest_first`."""
    newest_first: bool = False

    def takes_capability(self, capability: str) -> bool:
        """Tell whether the pattern, if there is one, matches `capability`."""
        if self.capability is None:
            return True
        try:
            return match_capability(self.capability, capability)
        except InvalidCapabilityError:
            # A request over the grammar's bounds was logged as it came, and no pattern covers it.
            return False

    def takes(self, entry: AuditEntry) -> bool:
        """Tell whether `entry` fits; `limit` and `newest_first` are for who collects."""
        return (
            all(getattr(self, name) in (None, getattr(entry, name)) for name in FILTER_TEXT_FIELDS)
            and (self.since is None or self.since <= entry.timestamp)
            and (self.until is None or entry.timestamp <= self.until)
            and (self.after_seq is None or self.after_seq < entry.seq)
            and self.takes_capability(entry.capability)
        )


FILTER_TEXT_FIELDS: Final = (
    "action",
    "actor",
    "plugin",
    "workspace_id",
    "user_id",
    "session_id",
    "result",
)
"""The fields of a filter that an entry's field of the same name must equal."""
