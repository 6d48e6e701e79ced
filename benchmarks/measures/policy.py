"""What a decision costs: one that was made before, and one about a capability never seen."""

from collections.abc import Callable, Sequence

from benchmarks.harness import (
    Budget,
    Compared,
    Goal,
    Measure,
    Row,
    Side,
    in_turn,
    ours_at_most,
    ratio_at_least,
    seconds_per_call,
)
from benchmarks.peers import Peer, new_policy, open_peers
from benchmarks.workload import CAPABILITIES
from sigil_actors.core.policy import Policy

MICROSECONDS = 1e6


def _time_ours(policy: Policy, budget: Budget, *, forgetting: bool) -> float:
    def prepare() -> tuple[Callable[[str], object], Sequence[str]]:
        # As if they had just come in: texts whose hash nobody has computed yet.
        fresh = [capability.encode().decode() for capability in CAPABILITIES]
        return (new_policy() if forgetting else policy).decide, fresh

    return seconds_per_call(prepare, budget)


def _time_peer(peer: Peer, budget: Budget) -> float:
    return seconds_per_call(lambda: (peer.decide, peer.requests.values()), budget)


def _run(
    budget: Budget, name: str, *, forgetting: bool, goal: Goal, peer_goals: Sequence[Goal | None]
) -> Sequence[Row]:
    peers = open_peers()
    policy = new_policy()
    for capability in CAPABILITIES:
        policy.decide(capability)
    ours = Side("sigil-actors")
    references = [Side(peer.name) for peer in peers]
    for side in in_turn(budget.rounds, ours, *references):
        if side is ours:
            spent = _time_ours(policy, budget, forgetting=forgetting)
        else:
            spent = _time_peer(peers[references.index(side)], budget)
        side.values.append(spent * MICROSECONDS)
    what = "a decision never made before" if forgetting else "a decision made before"
    return [
        Row(name=name, what=what, unit="µs", ours=ours, goal=goal),
        *(
            Row(
                name=f"{name}/{reference.name}",
                what=what,
                unit="µs",
                ours=ours,
                reference=reference,
                compared=Compared.FASTER,
                goal=peer_goal,
            )
            for reference, peer_goal in zip(references, peer_goals, strict=True)
        ),
    ]


MEASURES = (
    Measure(
        name="policy_warm",
        what="Decisions that were made before, against cedarpy and pycasbin",
        peers=("cedarpy", "casbin"),
        run=lambda budget: _run(
            budget,
            "policy_warm",
            forgetting=False,
            goal=ours_at_most(0.2),
            peer_goals=(ratio_at_least(200), ratio_at_least(1000)),
        ),
    ),
    Measure(
        name="policy_new",
        what="Decisions about capabilities never seen, against cedarpy and pycasbin",
        peers=("cedarpy", "casbin"),
        run=lambda budget: _run(
            budget,
            "policy_new",
            forgetting=True,
            goal=ours_at_most(4),
            peer_goals=(None, None),
        ),
    ),
)
