"""The connection and `h2` in conversation, with random commands on either side.

`conversation` raises where something is refused, lost or out of order, or where the two count
windows and streams differently at its end.
"""

from random import Random

import attrs
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from sigil_actors.rpc import frames
from sigil_actors.rpc.connection import Connection
from sigil_actors.rpc.events import (
    ConnectionClosed,
    DataReceived,
    Event,
    HeadersReceived,
    StreamReset,
    TrailersReceived,
)
from sigil_actors.rpc.frames import Code
from sigil_actors.rpc.hpack_encoding import encode
from sigil_actors.rpc.http2_error import UsageError
from sigil_actors.rpc.limits import Limits
from sigil_actors.rpc.stream import Stream
from tests.rpc.h2_events import open_h2, split_frames
from tests.rpc.h2_fuzz import Tally, pieces
from tests.rpc.valid_peer import REQUEST, RESPONSE, TRAILERS

_STREAMS_H2_ALLOWS = 100
_ROUNDS_MAX = 500
_WINDOW = h2.settings.SettingCodes.INITIAL_WINDOW_SIZE
_FRAME_MAX = h2.settings.SettingCodes.MAX_FRAME_SIZE


@attrs.define
class _Talk:
    """What was said on one stream."""

    ours: Stream | None = None
    from_us: bytearray = attrs.field(factory=bytearray)
    at_h2: bytearray = attrs.field(factory=bytearray)
    from_h2: bytearray = attrs.field(factory=bytearray)
    at_us: bytearray = attrs.field(factory=bytearray)
    waiting_at_h2: bytearray = attrs.field(factory=bytearray)
    """What h2's windows don't allow yet; h2 itself keeps no queue."""
    responded: bool = False
    ended_by_us: bool = False
    ended_by_h2: bool = False
    end_at_us: bool = False
    end_at_h2: bool = False
    unread: int = 0
    """What we haven't given back to the window."""
    cut: bool = False
    """Reset by someone: what was sent needn't have arrived, only in order."""
    request_unwanted: bool = False
    """Our server answered in full and reset with NO_ERROR: only the request may be cut."""


class _Conversation:
    """Ours and h2, the wire between them, and what each was told to say."""

    def __init__(self, random: Random, tally: Tally) -> None:
        self.random = random
        self.tally = tally
        self.client = random.random() < 0.5
        limits = Limits(
            stream_window=random.choice((65_535, 100_000, 1 << 20)),
            connection_window=random.choice((65_535, 1 << 20)),
            high_water=random.choice((1000, 20_000, 128 << 10)),
        )
        self.ours = Connection(client=self.client, stream_factory=Stream, limits=limits)
        window = random.choice((0, 1, 100, 65_535, 200_000))
        settings = {
            frames.INITIAL_WINDOW_SIZE: window,
            frames.MAX_CONCURRENT_STREAMS: _STREAMS_H2_ALLOWS,
        }
        self.h2 = open_h2(client=not self.client, settings=settings)
        self.talks: dict[int, _Talk] = {}

    # The wire.

    def carry(self) -> bool:
        """Carry once what both have to say; return whether it was anything."""
        data = self.ours.data_to_send()
        moved = bool(data)
        for part in split_frames(data):  # one by one, since h2 takes settings in per call
            self.at_h2(self.h2.receive_data(part))
        for stream_id, talk in self.talks.items():
            self.push_h2(stream_id, talk)
        data = self.h2.data_to_send()
        moved = moved or bool(data)
        for piece in pieces(self.random, data):
            self.at_us(self.ours.receive(piece))
        return moved

    def carry_all(self, rounds: int) -> bool:
        """Carry until both are silent and everything is read; return whether they came to it."""
        for _ in range(rounds):
            moved = self.carry()
            for talk in self.talks.values():
                if talk.unread and talk.ours is not None:
                    self.ours.consumed(talk.ours, talk.unread)
                    talk.unread = 0
                    moved = True
            if not moved:
                return True
        return False

    def at_us(self, events: list[Event[Stream]]) -> None:
        for event in events:
            match event:
                case HeadersReceived(stream, _, end):
                    talk = self.talks.setdefault(stream.id, _Talk())
                    talk.ours = stream
                    talk.end_at_us = end
                case TrailersReceived(stream, _):
                    self.talks[stream.id].end_at_us = True
                case DataReceived(stream, data, flow_length, end):
                    talk = self.talks[stream.id]
                    talk.at_us += data
                    talk.end_at_us = end
                    talk.unread += flow_length
                    if self.random.random() < 0.8:
                        self.ours.consumed(stream, talk.unread)
                        talk.unread = 0
                case StreamReset(stream, _, by_peer):
                    assert by_peer, event
                    self.talks[stream.id].cut = True
                case ConnectionClosed():
                    raise AssertionError(event)
                case _:
                    pass

    def at_h2(self, events: list[h2.events.Event]) -> None:
        for event in events:
            match event:
                case h2.events.RequestReceived():
                    self.talks.setdefault(event.stream_id, _Talk())
                case h2.events.DataReceived():
                    self.talks[event.stream_id].at_h2 += event.data or b""
                    if size := event.flow_controlled_length:
                        self.h2.acknowledge_received_data(size, event.stream_id)
                case h2.events.StreamEnded():
                    self.talks[event.stream_id].end_at_h2 = True
                case h2.events.StreamReset():
                    talk = self.talks[event.stream_id]
                    if event.error_code == Code.NO_ERROR:
                        talk.request_unwanted = True
                    else:
                        talk.cut = True
                case h2.events.ConnectionTerminated():
                    raise AssertionError(event)
                case _:
                    pass

    def push_h2(self, stream_id: int, talk: _Talk) -> None:
        """Have h2 send as much of what waits as its windows allow."""
        if talk.cut or talk.request_unwanted:
            talk.waiting_at_h2.clear()
            return
        try:
            while waiting := talk.waiting_at_h2:
                window = self.h2.local_flow_control_window(stream_id)
                size = min(window, self.h2.max_outbound_frame_size, len(waiting))
                if size <= 0:
                    return
                self.h2.send_data(stream_id, bytes(waiting[:size]))
                talk.from_h2 += waiting[:size]
                del waiting[:size]
        except h2.exceptions.StreamClosedError:
            talk.cut = True

    # What they may say.

    def play(self) -> None:
        self.carry()
        self.carry()
        moves = (
            (20, self.begin),
            (35, self.send),
            (20, self.send_from_h2),
            (5, self.end_from_h2),
            (5, self.change_settings_of_h2),
            (3, self.ping_from_h2),
            (3, self.reset_from_h2),
            (3, self.reset),
            (3, self.say_too_much),
        )
        weights = [weight for weight, _ in moves]
        for _ in range(self.random.randint(3, 25)):
            (_, move) = self.random.choices(moves, weights)[0]
            move()
            if self.random.random() < 0.7:
                self.carry()
        self.carry_all(30)  # where h2's window is one byte, it would be 100,000 rounds
        window: dict[h2.settings.SettingCodes | int, int] = {_WINDOW: 400_000}
        self.h2.update_settings(window)
        assert self.carry_all(_ROUNDS_MAX), "they never stop talking"

    def begin(self) -> None:
        if self.client:
            if self.ours.can_open():
                stream = self.ours.request(encode(REQUEST))
                self.talks[stream.id] = _Talk(ours=stream)
        else:
            stream_id = self.h2.get_next_available_stream_id()
            try:
                self.h2.send_headers(stream_id, REQUEST)
            except h2.exceptions.TooManyStreamsError:
                return
            self.talks[stream_id] = _Talk()

    def send(self) -> None:
        """Have ours send some DATA, and perhaps its end."""
        ready = [
            (talk.ours, talk)
            for talk in self.talks.values()
            if talk.ours is not None and not talk.ours.sealed
        ]
        if not ready:
            return
        stream, talk = self.random.choice(ready)
        if not self.client and not talk.responded:
            self.ours.send_headers(stream, encode(RESPONSE))
            talk.responded = True
        size = self.random.choice((0, 1, 100, 16_384, 16_385, 50_000, 200_000))
        data = self.random.randbytes(size)
        ends = self.random.random() < 0.2
        by_trailers = ends and self.random.random() < 0.5
        self.ours.send_data(stream, data, end=ends and not by_trailers)
        talk.from_us += data
        if by_trailers:
            self.ours.send_headers(stream, encode(TRAILERS), end=True)
        talk.ended_by_us = ends

    def pick_for_h2(self) -> tuple[int, _Talk] | None:
        """Return a stream on which h2 may still say something."""
        ready = [
            (stream_id, talk)
            for stream_id, talk in self.talks.items()
            if stream_id in self.h2.streams
            and not (talk.cut or talk.request_unwanted or talk.ended_by_h2)
        ]
        return self.random.choice(ready) if ready else None

    def send_from_h2(self) -> None:
        if (picked := self.pick_for_h2()) is not None:
            stream_id, talk = picked
            self.respond_from_h2(stream_id, talk)
            size = self.random.choice((1, 100, 5000, 40_000, 150_000))
            talk.waiting_at_h2 += self.random.randbytes(size)

    def end_from_h2(self) -> None:
        picked = self.pick_for_h2()
        if picked is None or picked[1].waiting_at_h2:
            return
        stream_id, talk = picked
        self.respond_from_h2(stream_id, talk)
        try:
            if self.random.random() < 0.5:
                self.h2.send_headers(stream_id, TRAILERS, end_stream=True)
            else:
                self.h2.end_stream(stream_id)
        except h2.exceptions.StreamClosedError:
            talk.cut = True
        talk.ended_by_h2 = True

    def respond_from_h2(self, stream_id: int, talk: _Talk) -> None:
        if self.client and not talk.responded:
            self.h2.send_headers(stream_id, RESPONSE)
            talk.responded = True

    def change_settings_of_h2(self) -> None:
        # h2 applies all it has sent at the first acknowledgement, so one at a time.
        if any(len(values) > 1 for values in self.h2.local_settings._settings.values()):
            return
        window = self.random.choice((0, 1, 1000, 65_535, 300_000))
        changes: dict[h2.settings.SettingCodes | int, int] = {_WINDOW: window}
        if self.random.random() < 0.3:
            changes[_FRAME_MAX] = self.random.choice((16_384, 30_000, 100_000))
        self.h2.update_settings(changes)

    def ping_from_h2(self) -> None:
        self.h2.ping(b"12345678")

    def reset_from_h2(self) -> None:
        if (picked := self.pick_for_h2()) is not None:
            stream_id, talk = picked
            talk.cut = True
            self.h2.reset_stream(stream_id, Code.CANCEL)

    def reset(self) -> None:
        if self.ours.streams:
            stream = self.random.choice(list(self.ours.streams.values()))
            self.ours.reset(stream)
            self.talks[stream.id].cut = True

    def say_too_much(self) -> None:
        """Give a command to a stream that takes none."""
        sealed = [talk.ours for talk in self.talks.values() if talk.ours and talk.ours.sealed]
        if sealed:
            try:
                self.ours.send_data(self.random.choice(sealed), b"late")
            except UsageError:
                return
            raise AssertionError("a sealed stream took DATA")

    # What must be true at the end.

    def check(self) -> None:
        for stream_id, talk in self.talks.items():
            self.check_talk(stream_id, talk)
        self.check_windows()
        _equal("unsent", self.ours.unsent, 0)
        _equal("waiting", len(self.ours._outbox.waiting), 0)

    def check_talk(self, stream_id: int, talk: _Talk) -> None:
        if talk.cut:
            assert talk.from_us.startswith(talk.at_h2), f"stream {stream_id}: out of order"
            assert talk.from_h2.startswith(talk.at_us), f"stream {stream_id}: out of order"
            return
        _equal(f"bytes to h2 on {stream_id}", len(talk.at_h2), len(talk.from_us))
        assert talk.at_h2 == talk.from_us
        _equal(f"end at h2 of {stream_id}", talk.end_at_h2, talk.ended_by_us)
        if talk.request_unwanted:
            assert talk.ended_by_us, "reset with NO_ERROR before the answer was whole"
        if not self.client and talk.ended_by_us:
            # Our server has answered in full: the rest of the request may be cut, wherever it was.
            assert talk.from_h2.startswith(talk.at_us), f"stream {stream_id}: out of order"
            return
        _equal(f"waiting at h2 on {stream_id}", len(talk.waiting_at_h2), 0)
        _equal(f"bytes to us on {stream_id}", len(talk.at_us), len(talk.from_h2))
        assert talk.at_us == talk.from_h2
        _equal(f"end at us of {stream_id}", talk.end_at_us, talk.ended_by_h2)
        self.tally["bytes carried"] += len(talk.at_us) + len(talk.at_h2)

    def check_windows(self) -> None:
        """Nothing is under way now, so that both must count the same."""
        ours, judge = self.ours, self.h2
        _equal("our window", ours._outbox.window, judge.inbound_flow_control_window)
        _equal("h2's window", judge.outbound_flow_control_window, ours._receive_window)
        for stream in ours.streams.values():
            other = judge.streams[stream.id]
            if not stream.local_done:
                window = other.inbound_flow_control_window
                _equal(f"our window on {stream.id}", stream.send_window, window)
            if not stream.remote_done:
                window = other.outbound_flow_control_window
                _equal(f"h2's window on {stream.id}", window, stream.receive_window)
        still_open = judge.open_inbound_streams if self.client else judge.open_outbound_streams
        _equal("open streams", len(ours.streams), still_open)


def conversation(random: Random, tally: Tally) -> None:
    """Have both talk, and see that all arrived, in order, and nothing else."""
    talk = _Conversation(random, tally)
    talk.play()
    talk.check()
    tally["conversations"] += 1


def _equal(what: str, seen: object, expected: object) -> None:
    if seen != expected:
        raise AssertionError(f"{what}: {seen}, not {expected}")
