"""The policies of `workload.py` as cedarpy and pycasbin take them, and the same as we do.

Each peer gets what its interface lets one prepare: parsed policies, parsed entities, requests made
beforehand, compiled patterns. What is left is what a decision costs.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from benchmarks.harness import BenchmarkError
from benchmarks.workload import (
    CAPABILITIES,
    PLUGIN_ALLOW,
    PLUGIN_DENY,
    USER_PERMISSIONS,
    WORKSPACE_ALLOW,
)
from sigil_actors import CapabilitySet
from sigil_actors.core.policy import Policy

_OUR_SETS = tuple(
    CapabilitySet(*patterns)
    for patterns in (PLUGIN_ALLOW, PLUGIN_DENY, WORKSPACE_ALLOW, USER_PERMISSIONS)
)


def new_policy() -> Policy:
    """Return our policy, which has decided nothing yet; its sets are made already, once."""
    return Policy(*_OUR_SETS)


@attrs.frozen(kw_only=True)
class Peer:
    """Another policy engine with the same policy."""

    name: str
    decide: Callable[[Any], Any]
    """What is timed; takes one of `requests`."""
    requests: Mapping[str, Any]
    """A request for each capability."""
    allows: Callable[[Any], bool]
    """What `decide` returned, as yes or no."""


def open_peers() -> tuple[Peer, Peer]:
    """Return cedarpy and pycasbin, both of which answer as we do.

    Raises:
        BenchmarkError: one isn't installed, or answers otherwise.
    """
    try:
        peers = (_open_cedarpy(), _open_pycasbin())
    except ImportError as error:
        raise BenchmarkError(f"{error}; `make bench` installs what is compared with") from error
    policy = new_policy()
    for peer in peers:
        for capability in CAPABILITIES:
            ours = policy.decide(capability).allowed
            theirs = peer.allows(peer.decide(peer.requests[capability]))
            if ours is not theirs:
                raise BenchmarkError(
                    f"{peer.name} answers {theirs} about {capability}, we answer {ours}"
                )
    return peers


def _open_cedarpy() -> Peer:
    import cedarpy

    # `like` works on strings only, so the capability travels in the context; as JSON text, since
    # that spares cedarpy writing it.
    policies = cedarpy.PolicySet.from_str(
        f"permit (principal, action, resource) when {{ {_any_like(PLUGIN_ALLOW)} "
        f"&& {_any_like(WORKSPACE_ALLOW)} && {_any_like(USER_PERMISSIONS)} }};\n"
        f"forbid (principal, action, resource) when {{ {_any_like(PLUGIN_DENY)} }};"
    )
    entities = cedarpy.Entities.from_json_str("[]")

    return Peer(
        name="cedarpy",
        decide=lambda request: cedarpy.is_authorized(request, policies, entities),
        requests={
            capability: {
                "principal": 'Plugin::"plugin-1"',
                "action": 'Action::"check"',
                "resource": 'Workspace::"ws-1"',
                "context": f'{{"capability": "{capability}"}}',
            }
            for capability in CAPABILITIES
        },
        allows=lambda answer: bool(answer.allowed),
    )


def _any_like(patterns: Iterable[str]) -> str:
    return f"({' || '.join(map(_like, patterns))})"


def _like(pattern: str) -> str:
    """Return a pattern in Cedar's words.

    Its `*` matches any characters, as ours does where it is a whole segment or within a path. One
    within a plain segment must not match a dot.
    """
    condition = f'context.capability like "{pattern}"'
    if _star_within_segment(pattern):
        crossing = pattern.replace("*", "*.*")
        condition = f'({condition} && !(context.capability like "{crossing}"))'
    return condition


def _star_within_segment(pattern: str) -> bool:
    plain = pattern.partition("/")[0]
    return any("*" in segment and segment != "*" for segment in plain.split("."))


_MODEL = """
[request_definition]
r = capability
[policy_definition]
p = pattern, eft
[policy_effect]
e = {effect}
[matchers]
m = covers(r.capability, p.pattern)
"""
_ALLOWED_UNLESS_DENIED = "some(where (p.eft == allow)) && !some(where (p.eft == deny))"
_ALLOWED = "some(where (p.eft == allow))"


def _open_pycasbin() -> Peer:
    import casbin

    # Casbin joins the policies of one model by "or", while a decision wants three sets that all
    # allow it: so three models, asked in turn until one says no.
    compiled = {
        pattern: re.compile(_regular_expression(pattern)).fullmatch
        for pattern in (*PLUGIN_ALLOW, *PLUGIN_DENY, *WORKSPACE_ALLOW, *USER_PERMISSIONS)
    }

    def covers(capability: str, pattern: str) -> bool:
        return compiled[pattern](capability) is not None

    def enforcer(
        effect: str, allowed: Iterable[str], denied: Iterable[str] = ()
    ) -> Callable[[object], bool]:
        model = casbin.Model()
        model.load_model_from_text(_MODEL.format(effect=effect))
        made = casbin.Enforcer(model)
        made.add_function("covers", covers)
        # Denials first, so that a denied capability ends the search early.
        made.add_policies([[pattern, "deny"] for pattern in denied])
        made.add_policies([[pattern, "allow"] for pattern in allowed])
        enforce: Callable[[object], bool] = made.enforce
        return enforce

    plugin = enforcer(_ALLOWED_UNLESS_DENIED, PLUGIN_ALLOW, PLUGIN_DENY)
    workspace = enforcer(_ALLOWED, WORKSPACE_ALLOW)
    user = enforcer(_ALLOWED, USER_PERMISSIONS)
    return Peer(
        name="pycasbin",
        decide=lambda capability: plugin(capability) and workspace(capability) and user(capability),
        requests={capability: capability for capability in CAPABILITIES},
        allows=bool,
    )


def _regular_expression(pattern: str) -> str:
    plain, slash, path = pattern.partition("/")
    segments = [
        ".+" if segment == "*" else re.escape(segment).replace(r"\*", r"[^./]*")
        for segment in plain.split(".")
    ]
    return r"\.".join(segments) + (slash + re.escape(path).replace(r"\*", ".*") if slash else "")
