"""The connection against `h2` as its judge: both must see the same in the same bytes.

`events_agree` gives them the bytes of a valid peer, ours in random pieces. `verdicts_agree` gives
them broken ones. Both raise where something is wrong.
"""

import re
from collections import Counter
from random import Random

import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from sigil_actors.rpc import frames
from sigil_actors.rpc.connection import Connection
from sigil_actors.rpc.frames import HEAD_BYTES
from sigil_actors.rpc.hpack_encoding import encode
from sigil_actors.rpc.stream import Stream
from tests.rpc.h2_events import answers, field_pairs, open_h2, plain_h2, plain_ours, split_frames
from tests.rpc.mutation import mutated
from tests.rpc.valid_peer import REQUEST, script

Tally = Counter[str]


def events_agree(random: Random, tally: Tally) -> None:
    """Give both the same bytes, and compare events, answers and the number of open streams."""
    given = script(random, to_server=random.random() < 0.5)
    client = not given.to_server
    judge = open_h2(client=client)
    ours = Connection(client=client, stream_factory=Stream)
    for _ in range(given.requests):
        end = random.random() < 0.5
        judge.send_headers(judge.get_next_available_stream_id(), REQUEST, end_stream=end)
        ours.request(encode(REQUEST), end=end)
    judge.data_to_send()
    ours.data_to_send()
    seen = []
    for piece in pieces(random, given.data):
        seen += plain_ours(ours.receive(piece))
    try:
        expected = plain_h2(judge.receive_data(given.data))
    except h2.exceptions.ProtocolError as error:
        # h2 is stricter in a few places, e.g. with blanks around values. Not to be often.
        tally[f"not compared: {type(error).__name__}"] += 1
        return
    _same("events", seen, expected, given.data)
    tally["compared"] += 1
    if any(event[0] == "goaway" for event in expected):
        return  # h2 forgets then what it wanted to send
    _same("answers", answers(ours.data_to_send()), answers(judge.data_to_send()), given.data)
    open_streams = judge.open_outbound_streams if client else judge.open_inbound_streams
    _same("open streams", len(ours.streams), open_streams, given.data)


def verdicts_agree(random: Random, tally: Tally) -> None:
    """Give both the same broken bytes, frame by frame, until either refuses: so must the other."""
    given = script(random, to_server=random.random() < 0.5)
    data = mutated(random, given.data)
    if given.to_server and not data.startswith(frames.PREFACE):
        tally["broken prefaces"] += 1
        return
    trial = _Trial(client=not given.to_server, requests=given.requests)
    for part in split_frames(data):
        if not _is_whole(part):
            break  # h2 judges it by its head, ours waits for the rest, or finds it too long
        if (end := trial.feed(part)) is not None:
            tally[end] += 1
            return
    tally["taken by both"] += 1


class _Trial:
    """Both, and whether they agree about a frame."""

    def __init__(self, *, client: bool, requests: int) -> None:
        self.judge = open_h2(client=client)
        self.ours = Connection(client=client, stream_factory=Stream)
        for _ in range(requests):
            stream_id = self.judge.get_next_available_stream_id()
            self.judge.send_headers(stream_id, REQUEST, end_stream=True)
            self.ours.request(encode(REQUEST), end=True)
        self.judge.data_to_send()
        self.ours.data_to_send()

    def feed(self, part: bytes) -> str | None:
        """Give a frame to both; return how the trial ended, or None if it goes on."""
        seen = plain_ours(self.ours.receive(part))
        resets = _has_reset(self.ours.data_to_send())
        refusal = str(seen[-1][2]) if self.ours.closed else ""
        try:
            events = self.judge.receive_data(part)
        except h2.exceptions.ProtocolError as error:
            if _is_no_fault(part, str(error)):
                return "h2 alone refuses"
            if not (resets or refusal):
                _same(f"h2 refuses ({error})", seen, "an error", part)
            return "refused by both"
        if refusal in _STRICTER or any(_is_odd(event) for event in events):
            return f"not compared: {refusal or 'odd headers'}"
        if _has_reset(self.judge.data_to_send()):
            _same("reset", resets or bool(refusal), True, part)
            return "reset by both"
        expected = plain_h2(events)
        if expected[:1] and expected[0][0] == "goaway":
            _same("goodbye", seen[0], expected[0], part)
            return "goodbye"  # h2 doesn't say which streams end with it, and takes nothing after it
        _same("events of a broken script", seen, expected, part)
        return None


def _is_whole(part: bytes) -> bool:
    if part == frames.PREFACE:
        return True
    return len(part) >= HEAD_BYTES and len(part) == HEAD_BYTES + int.from_bytes(part[:3], "big")


def _has_reset(data: bytes) -> bool:
    return any(answer[0] == frames.RST_STREAM for answer in answers(data))


def _is_no_fault(part: bytes, error: str) -> bool:
    """Whether ours may take what h2 refuses."""
    kind, payload = part[3], part[HEAD_BYTES:]
    if kind == frames.WINDOW_UPDATE:
        # Of zero, on a stream that is over, where ours ignores any other too; or with the reserved
        # bit, which isn't to be looked at.
        increment = int.from_bytes(payload, "big")
        return increment == 0 or increment > frames.WINDOW_MAX
    if kind == frames.HEADERS and "padding" in error:
        return payload[0] < len(payload)  # legal: the padding leaves nothing of the block
    return (
        kind > frames.CONTINUATION  # an extension that h2 knows
        or "Setting 8 " in error  # the same
        or "an :authority" in error  # gRPC's peers leave it out
    )


def _is_odd(event: h2.events.Event) -> bool:
    """Whether h2 sees headers in its own way.

    It takes a status that isn't three digits, and 101, which HTTP/2 doesn't have; and it moves
    cookies to the end before it looks.
    """
    match event:
        case h2.events.ResponseReceived() | h2.events.InformationalResponseReceived():
            fields = dict(field_pairs(event.headers))
            status = fields[b":status"]
            return b"cookie" in fields or not re.fullmatch(rb"(?!101)[0-9]{3}", status)
        case h2.events.RequestReceived() | h2.events.TrailersReceived():
            return b"cookie" in dict(field_pairs(event.headers))
        case _:
            return False


_STRICTER = {
    "first frame is not SETTINGS",  # h2 lets anything come first
    "RST_STREAM on an idle stream",  # h2 takes it for one that is closed
    "PUSH_PROMISE",  # h2 takes it on a stream that it has reset, though nobody was offered push
    "HPACK: InvalidTableSizeError",  # h2 forgets the table size that it is constructed with
    "HPACK: InvalidTableIndex",
    "stream depends on itself",  # h2 doesn't look at it on a stream that is over
    "too many settings",  # bounds of ours
    "header block too long",
    "short HEADERS",  # h2 reads a priority from the padding
    "bad max frame size",  # h2 looks at the last of several values in a frame only
    "bad ENABLE_PUSH",
    "initial window too large",
}
"""What ours alone refuses; RFC 9113 and RFC 7541 demand it."""


def pieces(random: Random, data: bytes) -> list[bytes]:
    """Cut bytes at random, sometimes into single ones, sometimes not at all."""
    style = random.random()
    if style < 0.1 and len(data) < 5000:
        return [data[at : at + 1] for at in range(len(data))]
    if style > 0.6:
        return [data]
    parts = []
    position = 0
    while position < len(data):
        size = random.choice((1, 3, 9, 10, 50, 1000, 20_000))
        parts.append(data[position : position + size])
        position += size
    return parts


def _same(what: str, seen: object, expected: object, data: bytes) -> None:
    if seen != expected:
        raise AssertionError(f"{what}: {seen!r}, h2: {expected!r}, of {data.hex()}"[:4000])
