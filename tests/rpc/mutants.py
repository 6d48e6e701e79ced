"""Bugs planted in the connection by hand, which its fuzzers have to find.

`python -m tests.rpc.mutants [--cases N] [--seed K]` plants each in turn and fuzzes until something
is found. The mutant is loaded beside the real code, in this process. One that is never found means
that the fuzz is too weak, which is how it began: a first version missed five of twelve.
"""

import argparse
import importlib
import importlib.util
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType, ModuleType

from tests.mutants.mutant import Mutant

CASES = 6000
"""In which a mutant has to be found."""

WALL_S = 20.0
"""For one case. A mutant that loops for ever is found too."""

_TURN = ("events", "verdicts", "events", "conversation", "verdicts", "hostile")
"""Which fuzzer runs which case, over and over."""

_PACKAGE = "sigil_actors.rpc"
_FUZZERS = (
    "tests.rpc.h2_fuzz",
    "tests.rpc.h2_conversation",
    "tests.rpc.hostile_fuzz",
    "tests.rpc.h2_events",
    "tests.rpc.mutation",
    "tests.rpc.valid_peer",
)
_ROOT = Path(__file__).resolve().parents[2]


def _mutant(name: str, file: str, old: str, new: str, why: str) -> Mutant:
    return Mutant(name=name, file=f"rpc/{file}.py", old=old, new=new, why=why)


MUTANTS: tuple[Mutant, ...] = (
    _mutant(
        "padding-off-by-one",
        "connection",
        "return payload[1 : len(payload) - padding]",
        "return payload[1 : len(payload) - padding + (padding > 0)]",
        "a byte of padding is read as DATA.",
    ),
    _mutant(
        "padding-is-free",
        "connection",
        "        flow_length = len(payload)\n",
        "        flow_length = len(payload) - (payload[0] if flags & 8 and payload else 0)\n",
        "padding doesn't count for the windows.",
    ),
    _mutant(
        "padding-may-be-all",
        "connection",
        "if padding >= len(payload):",
        "if padding > len(payload) + 300:",
        "padding that is longer than its frame passes.",
    ),
    _mutant(
        "priority-bytes-kept",
        "connection",
        "payload = payload[_PRIORITY_BYTES:]",
        "payload = payload[_PRIORITY_BYTES - 1 :]",
        "a byte of the priority is read as a header block.",
    ),
    _mutant(
        "initial-window-is-not-for-open-streams",
        "connection",
        "                stream.send_window += change\n",
        "                stream.send_window += 0\n",
        "a change of the initial window misses the streams that are open.",
    ),
    _mutant(
        "stream-window-update-ignored",
        "connection",
        "        stream.send_window += increment\n",
        "        stream.send_window += 0\n",
        "a stream's window never grows.",
    ),
    _mutant(
        "connection-window-not-spent",
        "outbox",
        "        self.window -= length\n        if length == len(chunk):",
        "        if length == len(chunk):",
        "DATA that waited is free on the connection.",
    ),
    _mutant(
        "frame-size-of-peer-ignored",
        "outbox",
        "length = min(len(chunk), self.frame_max, stream",
        "length = min(len(chunk), 65_536, stream",
        "frames are larger than the peer takes.",
    ),
    _mutant(
        "frame-size-of-peer-ignored-at-once",
        "outbox",
        "            or length > self.frame_max\n",
        "            or length > 60_000\n",
        "DATA that needn't wait goes in frames that are too large.",
    ),
    _mutant(
        "trailers-overtake-data",
        "sending",
        "        if stream.pending is None:\n",
        "        if stream.pending is None or end:\n",
        "trailers leave before the DATA that waits.",
    ),
    _mutant(
        "end-lost-behind-data",
        "outbox",
        "        stream.end_after = stream.end_after or end\n",
        "",
        "a stream whose DATA has to wait never ends.",
    ),
    _mutant(
        "end-too-early",
        "outbox",
        "is_last = stream.end_after and not pending",
        "is_last = stream.end_after",
        "the first frame of what waits ends the stream.",
    ),
    _mutant(
        "rest-of-chunk-lost",
        "outbox",
        "            pending[0] = chunk[length:]\n",
        "            pending.popleft()\n",
        "what doesn't fit into a frame is thrown away.",
    ),
    _mutant(
        "cache-despite-dynamic-table",
        "header_block",
        "stateless = self._decoder.header_table.maxsize == 0",
        "stateless = True",
        "a block is taken from the cache though it means something else now.",
    ),
    _mutant(
        "size-update-cached",
        "header_block",
        "return raw[0] & _SIZE_UPDATE_MASK != _SIZE_UPDATE",
        "return True",
        "a block that changes the table is taken from the cache, and changes nothing.",
    ),
    _mutant(
        "stream-window-never-returned",
        "sending",
        "if stream.unreturned >= self._returned_at and not stream.remote_done:",
        "if stream.unreturned < 0:",
        "a sender starves.",
    ),
    _mutant(
        "stream-window-not-booked",
        "sending",
        "            stream.receive_window += stream.unreturned\n",
        "",
        "a sender that uses what it was given is punished.",
    ),
    _mutant(
        "connection-window-not-returned",
        "connection",
        "        self._outbox.put(frames.window_update(0, self._arrived))\n",
        "",
        "the whole connection starves.",
    ),
    _mutant(
        "needed-off-by-one",
        "frame_reader",
        "self._needed = HEAD_BYTES + length",
        "self._needed = HEAD_BYTES + length + 1",
        "a frame waits for a byte of the next one.",
    ),
    _mutant(
        "rest-of-frame-lost",
        "frame_reader",
        "if position < end:",
        "if position + 1 < end:",
        "a single byte at the end of what came is lost.",
    ),
    _mutant(
        "trailers-do-not-end",
        "connection",
        "            events.append(_new_tuple(TrailersReceived, (stream, block)))\n"
        "            self._end_remote(stream)\n",
        "            events.append(_new_tuple(TrailersReceived, (stream, block)))\n",
        "a stream stays open for ever.",
    ),
    _mutant(
        "continuation-forgets-the-end",
        "connection",
        "partial.joined(), end=partial.end,",
        "partial.joined(), end=False,",
        "END_STREAM is lost where a block has several frames.",
    ),
    _mutant(
        "answer-to-ping-lost",
        "connection",
        "            self._outbox.put(frames.ping(payload, ack=True))\n",
        "            pass\n",
        "nobody answers a PING.",
    ),
    _mutant(
        "settings-not-acknowledged",
        "connection",
        "        self._outbox.put(frames.SETTINGS_ACK)\n",
        "",
        "the peer never learns that its settings hold.",
    ),
    _mutant(
        "reserved-bit-kept",
        "frame_reader",
        "stream_id & STREAM_ID_MAX, data",
        "stream_id, data",
        "the reserved bit makes another stream of a frame.",
    ),
    _mutant(
        "stream-forgotten-only",
        "sending",
        "            self._ids.remember_reset(stream.id)\n",
        "",
        "what a peer sends before it knows of a reset ends the connection.",
    ),
    _mutant(
        "short-goaway-passes",
        "connection",
        "if len(payload) < frames.GOAWAY_BYTES_MIN:",
        "if len(payload) < 0:",
        "a GOAWAY without a body names a last stream.",
    ),
    _mutant(
        "hpack-error-leaks",
        "header_block",
        "except Exception as error:  # noqa: BLE001 - a stranger's bytes in a library's hands\n",
        "except hpack.InvalidTableIndexError as error:\n",
        "the library's errors come out of `receive`.",
    ),
)


@contextmanager
def planted(mutant: Mutant | None) -> Iterator[list[ModuleType]]:
    """Load the connection anew, with the bug in it; give the fuzzers that run against it."""
    prefixes = (_PACKAGE, *_FUZZERS)
    saved = {name: sys.modules[name] for name in list(sys.modules) if name.startswith(prefixes)}
    for name in saved:
        del sys.modules[name]
    try:
        if mutant is not None:
            _load(mutant)
        yield [importlib.import_module(name) for name in _FUZZERS[:3]]
    finally:
        for name in [name for name in sys.modules if name.startswith(prefixes)]:
            del sys.modules[name]
        sys.modules.update(saved)
        for name, module in saved.items():
            parent, _, leaf = name.rpartition(".")
            setattr(sys.modules[parent], leaf, module)


def _load(mutant: Mutant) -> None:
    package = importlib.import_module(_PACKAGE)
    leaf = Path(mutant.file).stem
    name = f"{_PACKAGE}.{leaf}"
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    source = mutant.applied_to(Path(spec.origin).read_text(encoding="utf-8"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    setattr(package, leaf, module)
    exec(compile(source, f"{name} with {mutant.name}", "exec"), module.__dict__)


@contextmanager
def wall_clock(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block when it takes longer; for the main thread only."""

    def ring(signal_number: int, where: FrameType | None) -> None:
        raise TimeoutError(f"still running after {seconds} s (signal {signal_number}, {where})")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def hunt(mutant: Mutant | None, *, cases: int, seed: int) -> tuple[int, str] | None:
    """Fuzz with the mutant planted. Returns in which case it was found and how, or None."""
    tally: Counter[str] = Counter()
    with planted(mutant) as (h2_fuzz, h2_conversation, hostile_fuzz):
        fuzzers: dict[str, Callable[[Random, Counter[str]], None]] = {
            "events": h2_fuzz.events_agree,
            "verdicts": h2_fuzz.verdicts_agree,
            "conversation": h2_conversation.conversation,
            "hostile": hostile_fuzz.survive,
        }
        for number in range(cases):
            fuzz = fuzzers[_TURN[number % len(_TURN)]]
            try:
                with wall_clock(WALL_S):
                    fuzz(Random(seed + number), tally)
            except Exception as error:  # noqa: BLE001 - each is a find
                return number + 1, f"{type(error).__name__}: {error}"[:100]
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program; returns its exit status: 1 if one wasn't found."""
    parser = argparse.ArgumentParser(description="Plant bugs in the HTTP/2 connection.")
    parser.add_argument("--cases", type=int, default=CASES, help=f"for each ({CASES})")
    parser.add_argument("--seed", type=int, default=1, help="of the first case (1)")
    parser.add_argument("--only", default="", help="mutants whose name has this in it")
    chosen = parser.parse_args(arguments)
    if (broken := hunt(None, cases=min(chosen.cases, 500), seed=chosen.seed)) is not None:
        sys.stdout.write(f"the code as it is fails: {broken}\n")
        return 1
    mutants = [mutant for mutant in MUTANTS if chosen.only in mutant.name]
    found = 0
    for mutant in mutants:
        find = hunt(mutant, cases=chosen.cases, seed=chosen.seed)
        found += find is not None
        told = "NOT FOUND" if find is None else f"case {find[0]:5}  {find[1]}"
        sys.stdout.write(f"{mutant.name:40} {told}\n".replace("\n", " ") + "\n")
        sys.stdout.flush()
    sys.stdout.write(f"{found} of {len(mutants)} planted bugs found\n")
    return 0 if found == len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main())
