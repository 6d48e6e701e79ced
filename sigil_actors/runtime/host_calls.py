"""The way back: a plugin's calls to its host, each through the enforcer, on behalf of a live call.

The plugin's identity is that of its own connection. Whom it acts for is told by a token that the
runtime minted for one call, and that is worth nothing outside that call's life.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping

import attrs

from sigil_actors.core.capability import CapabilitySet, check_pattern
from sigil_actors.core.policy import CheckRequest, DenyReason
from sigil_actors.core.text import escape_text
from sigil_actors.errors import (
    CapabilityDeniedError,
    HostFunctionFailedError,
    HostFunctionMissingError,
    LimitExceededError,
    SettingsError,
    SigilError,
)
from sigil_actors.runtime.call_tokens import CallTokens
from sigil_actors.runtime.caller import Caller
from sigil_actors.runtime.chain import Chain
from sigil_actors.runtime.enforcer import Enforcer
from sigil_actors.runtime.host_bounds import HostBounds
from sigil_actors.runtime.session import Session

logger = logging.getLogger(__name__)

PAYLOAD_BYTES_MAX = 4 * 1024 * 1024
"""A host call's payload and its answer; gRPC's default for one message."""

_SHOWN_MAX = 200
"""Characters of a capability in a line of the log."""


@attrs.frozen(kw_only=True)
class HostCall:
    """What a host function is given."""

    plugin: str
    capability: str
    payload: bytes
    """At most 4 MiB."""
    session: Session | None
    """The session of the call that this serves; None where the plugin acts by itself."""
    workspace_id: str = ""
    """Whose workspace it acts in: the session's, or that of the background session."""
    generation: int = 0
    """Of the instance that calls; in a swap, two of them live."""


HostFunction = Callable[[HostCall], Awaitable[bytes]]


class HostFunctionTable:
    """Which function serves which capability: the longest pattern that matches wins."""

    def __init__(self, functions: Mapping[str, HostFunction]) -> None:
        for pattern in functions:
            check_pattern(pattern)
        # Longest first; of two equally long ones the first in the alphabet, so that it is settled.
        ordered = sorted(functions, key=lambda pattern: (-len(pattern), pattern))
        self._functions = [(CapabilitySet(pattern), functions[pattern]) for pattern in ordered]

    def joined(self, builtin: Mapping[str, HostFunction]) -> "HostFunctionTable":
        """Return a table that has the built-in functions as well.

        Raises:
            SettingsError: a function was registered for a built-in capability.
        """
        table = HostFunctionTable({})
        own = {str(next(iter(patterns))): function for patterns, function in self._functions}
        taken = sorted(own.keys() & builtin.keys())
        if taken:
            raise SettingsError(
                f"the host function {taken[0]!r} is built in",
                remedy="Register yours under a name of its own",
            )
        table._functions = HostFunctionTable({**own, **builtin})._functions  # noqa: SLF001
        return table

    def find(self, capability: str) -> HostFunction | None:
        """Return the function for a capability, or None."""
        for patterns, function in self._functions:
            if patterns.contains(capability):
                return function
        return None


class InstanceHost:
    """`HostFunctions` for one instance of one plugin."""

    def __init__(
        self,
        plugin: str,
        generation: int,
        *,
        enforcer: Enforcer,
        functions: HostFunctionTable,
        tokens: CallTokens,
        bounds: HostBounds,
        background: Caller,
        open_session: Callable[[Caller, Chain], Session],
    ) -> None:
        self._plugin = plugin
        self._generation = generation
        self._enforcer = enforcer
        self._functions = functions
        self._tokens = tokens
        self._bounds = bounds
        self._background = background
        self._open_session = open_session

    async def call(self, capability: str, payload: bytes, session_id: str) -> bytes:
        """Check, look up and run a host function; see `ports.host_functions`."""
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise self._too_large("payload of a host call")
        async with self._bounds.in_flight:
            await self._bounds.rate.take()
            caller, session = await self._check(capability, session_id)
            function = self._functions.find(capability)
            if function is None:
                raise HostFunctionMissingError(capability)
            call = HostCall(
                plugin=self._plugin,
                capability=capability,
                payload=payload,
                session=session,
                workspace_id=caller.workspace_id,
                generation=self._generation,
            )
            answer = await self._run(function, call)
        if len(answer) > PAYLOAD_BYTES_MAX:
            raise self._too_large("answer of a host function")
        return answer

    async def check(self, capability: str, session_id: str) -> DenyReason:
        """Tell whether a call would be allowed; see `ports.host_functions`."""
        async with self._bounds.in_flight:
            await self._bounds.rate.take()
            try:
                await self._check(capability, session_id)
            except CapabilityDeniedError as denied:
                return DenyReason(denied.reason)
            return DenyReason.OK

    async def _check(self, capability: str, session_id: str) -> tuple[Caller, Session | None]:
        caller, chain, refused = self._background, None, None
        if session_id:
            found = self._tokens.find(session_id)
            if found is None:
                refused = DenyReason.INVALID_REQUEST
            else:
                caller, chain = found
        request = CheckRequest(
            plugin=self._plugin,
            capability=capability,
            workspace_id=caller.workspace_id,
            workspace_allow=caller.workspace_allow,
            user_permissions=caller.user_permissions,
            user_id=caller.user_id,
            session_id=caller.session_id,
            generation=self._generation,
            actor=f"plugin:{self._plugin}",
        )
        details = {} if refused is None else {"call_token": "unknown, foreign or expired"}
        await self._enforcer.check(request, refused=refused, details=details)
        if chain is None:
            return caller, None
        return caller, self._open_session(caller, chain)

    async def _run(self, function: HostFunction, call: HostCall) -> bytes:
        shown = escape_text(call.capability, limit=_SHOWN_MAX)
        try:
            answer: object = await function(call)
        except SigilError as error:
            # Most often the plugin's own doing, a bad payload or a call that failed: no traceback,
            # since a plugin can have a thousand of them a second.
            logger.info("the host function for %s failed: %s", shown, error.what)
            raise HostFunctionFailedError(call.capability, type(error).__name__) from error
        except Exception as error:  # the embedding application's code
            logger.warning("the host function for %s failed", shown, exc_info=True)
            raise HostFunctionFailedError(call.capability, type(error).__name__) from error
        if not isinstance(answer, bytes | bytearray):
            logger.error("the host function for %s returned no bytes", shown)
            raise HostFunctionFailedError(call.capability, "TypeError")
        return bytes(answer)

    def _too_large(self, what: str) -> LimitExceededError:
        return LimitExceededError(
            self._plugin, bound=what, value=f"{PAYLOAD_BYTES_MAX} bytes", key=""
        )
