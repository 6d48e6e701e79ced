"""Each attack on HTTP/2 that is known by name, and some that aren't, ends within its bounds."""

import pytest

from sigil_actors.rpc.connection import Connection
from sigil_actors.rpc.frames import PREFACE, SETTINGS_ACK, ping, settings
from sigil_actors.rpc.stream import Stream
from tests.rpc.attacks import ATTACKS, Attack, run

CALL_CPU_MAX_S = 0.5
"""For the bytes of one read. Measured are 5 ms at most; the rest is for slow and shared machines,
and for tracemalloc, which is on."""

SENT_FACTOR = 20
"""What a peer makes us send, for each byte of its own: here an answer of 1,000 bytes to a request
of 90 is the most."""


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "-"))
def test_an_attack_ends_within_its_bounds(attack: Attack) -> None:
    damage = run(attack)
    assert damage.ends == attack.ends
    assert damage.taken <= attack.taken_max
    assert damage.memory <= attack.memory_max
    assert damage.worst_call_s <= CALL_CPU_MAX_S
    assert damage.sent <= SENT_FACTOR * damage.taken + 1000


def test_a_peer_that_is_only_busy_is_never_taken_for_an_attacker() -> None:
    """Four hundred PINGs a second for half an hour, with nothing useful in between."""
    connection = Connection(client=False, stream_factory=Stream)
    connection.receive(PREFACE + settings([]) + SETTINGS_ACK, 1000.0)
    for second in range(1800):
        connection.receive(ping(b"12345678") * 400, 1000.0 + second)
        connection.data_to_send()
    assert not connection.closed


def test_a_peer_that_was_quiet_for_long_may_be_busy_for_a_while() -> None:
    connection = Connection(client=False, stream_factory=Stream)
    connection.receive(PREFACE + settings([]) + SETTINGS_ACK, 0.0)
    for _ in range(5):
        connection.receive(ping(b"12345678") * 990, 10.0)
        connection.data_to_send()
        if connection.closed:
            break
    assert connection.closed
    patient = Connection(client=False, stream_factory=Stream)
    patient.receive(PREFACE + settings([]) + SETTINGS_ACK, 0.0)
    for hour in range(5):
        patient.receive(ping(b"12345678") * 990, 3600.0 * hour)
        patient.data_to_send()
    assert not patient.closed
