"""Which plugins are registered with the enforcer, with which sets, and the compiled policies."""

import logging

import attrs

from sigil_actors.core.capability import CapabilitySet
from sigil_actors.core.policy import (
    INVALID_REQUEST,
    NOT_REGISTERED,
    CheckRequest,
    Policy,
    Verdict,
    is_plugin_name,
)

logger = logging.getLogger(__name__)

POLICIES_MAX = 256
"""Compiled policies that are kept: plugins times workspaces times users that are at work.

Each remembers up to 4,096 decisions, so this is what bounds the memory.
"""


@attrs.frozen
class Registration:
    """What one generation of a plugin may do at most."""

    allow: CapabilitySet
    deny: CapabilitySet


class Registry:
    """Which plugins are registered, with which sets, and the policies compiled from them."""

    def __init__(self) -> None:
        self._plugins: dict[str, dict[int | None, Registration]] = {}
        self._policies: dict[tuple[str, int | None, CapabilitySet, CapabilitySet], Policy] = {}

    def put(self, name: str, generation: int | None, registration: Registration | None) -> None:
        """Replace, add or (None) remove a registration. It counts from the next check on."""
        generations = self._plugins.setdefault(name, {})
        generations.pop(generation, None)  # so that a replaced one becomes the newest
        if registration is not None:
            generations[generation] = registration
        elif generation is None:
            generations.clear()
        if not generations:
            del self._plugins[name]
        self._policies = {key: kept for key, kept in self._policies.items() if key[0] != name}

    def find(self, name: str, generation: int | None) -> Registration | None:
        """Return what was registered under that name and generation; None means the newest."""
        generations = self._plugins.get(name)
        if generations is None:
            return None
        if generation is None:
            return next(reversed(generations.values()))
        return generations.get(generation)

    def decide(self, request: CheckRequest) -> Verdict:
        """Decide. Anything unexpected is a denial."""
        try:
            return self._policy(request).decide(request.capability)
        except _NotRegisteredError:
            return NOT_REGISTERED if is_plugin_name(request.plugin) else INVALID_REQUEST
        except Exception:  # the check itself failed, and must not fail open
            logger.exception("a check failed; denied")
            return INVALID_REQUEST

    def _policy(self, request: CheckRequest) -> Policy:
        key = (
            request.plugin,
            request.generation,
            request.workspace_allow,
            request.user_permissions,
        )
        policy = self._policies.get(key)
        if policy is None:
            registration = self.find(request.plugin, request.generation)
            if registration is None:
                raise _NotRegisteredError
            policy = Policy(
                registration.allow,
                registration.deny,
                request.workspace_allow,
                request.user_permissions,
            )
            if len(self._policies) >= POLICIES_MAX:
                self._policies.pop(next(iter(self._policies)))
            self._policies[key] = policy
        return policy


class _NotRegisteredError(Exception):
    pass
