"""The way of a call into an instance: admission, the check, a turn, a token, and the outcome.

The same for every kind of call. What is asked of the plugin then is for the session to say.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar

import attrs

from sigil_actors.core.execution import PluginType
from sigil_actors.core.policy import CheckRequest
from sigil_actors.errors import PluginCallError
from sigil_actors.ports.tier import TierSession
from sigil_actors.runtime.admission import Lease
from sigil_actors.runtime.caller import Caller
from sigil_actors.runtime.chain import Chain
from sigil_actors.runtime.chunks import Pieces
from sigil_actors.runtime.enforcer import Enforcer
from sigil_actors.runtime.instance import Instance
from sigil_actors.runtime.outcome import CallOutcome
from sigil_actors.runtime.settings import RuntimeSettings

Answer = TypeVar("Answer")
SomePieces = TypeVar("SomePieces", bound=Pieces[Any])


@attrs.frozen
class Admitted:
    """A caller's place in one instance."""

    instance: Instance
    lease: Lease


class Plugins(Protocol):
    """What a session needs of the runtime."""

    @property
    def enforcer(self) -> Enforcer:
        """Return the one that decides."""

    @property
    def settings(self) -> RuntimeSettings:
        """Return the runtime's settings."""

    def admit(self, plugin: str, chain: Chain) -> AbstractAsyncContextManager[Admitted]:
        """Let a call into the running instance of a plugin for as long as the block lasts.

        Raises:
            PluginNotFoundError: there is no such plugin.
            PluginUnavailableError: it takes no calls now.
        """

    def new_chain(self) -> Chain:
        """Return a chain for a call that no other call led to."""


@attrs.frozen(eq=False)
class Call:
    """A call that is in an instance: it was let in and allowed, and has its turn."""

    session: TierSession
    lease: Lease
    token: str
    """What stands for the caller while the call lasts."""
    _outcome: CallOutcome

    def follow(self, pieces: SomePieces) -> SomePieces:
        """Have the outcome tell of the pieces that the plugin answers, and return them."""
        self._outcome.pieces = pieces
        return pieces


class Calls:
    """Takes one caller's calls into plugins."""

    def __init__(self, plugins: Plugins, caller: Caller, chain: Chain | None) -> None:
        self._plugins = plugins
        self._caller = caller
        self._chain = chain

    @asynccontextmanager
    async def open(
        self, plugin: str, service: PluginType, capability: str, *, stays: bool = False
    ) -> AsyncGenerator[Call]:
        """Let a call that needs one capability in for as long as the block lasts.

        A call that `stays` would go on for good: a drain ends it instead of waiting for it.

        Raises:
            PluginNotFoundError: there is no such plugin.
            PluginUnavailableError: it takes no calls now.
            PluginCallError: it is of another type; or `reentrant`, see `Turns.take`.
            CapabilityDeniedError: the caller, the workspace or the plugin may not.
            AuditUnavailableError: it couldn't be recorded, so nothing ran.
        """
        chain = self.chain_into(plugin)
        async with self._plugins.admit(plugin, chain) as admitted:
            _require(admitted.instance, service)
            if stays:
                admitted.lease.stay()
            await self.check(admitted, capability)
            async with self.enter(admitted, chain, capability) as call:
                yield call

    async def ask(
        self,
        plugin: str,
        service: PluginType,
        capability: str,
        *,
        ask: Callable[[TierSession, str], Awaitable[Answer]],
        problem: Callable[[Answer], str] = lambda _answer: "",
    ) -> Answer:
        """Make a call that gets one answer.

        `ask` is given the session and the call's token; `problem` says what is wrong with the
        answer. Raises what `open` and the tier's method raise.

        Raises:
            PluginCallError: the answer breaks the contract.
        """
        async with self.open(plugin, service, capability) as call:
            with call.lease.operation():
                answer = await ask(call.session, call.token)
            wrong = problem(answer)
            if wrong:
                raise unsound(plugin, wrong)
            return answer

    async def check(self, admitted: Admitted, capability: str) -> None:
        """Have the enforcer decide, and record it; raises where the answer is no."""
        caller, instance = self._caller, admitted.instance
        # In the instance already: one that ends meanwhile is no denial.
        with admitted.lease.operation():
            await self._plugins.enforcer.check(
                CheckRequest(
                    instance.plugin,
                    capability,
                    caller.workspace_id,
                    caller.workspace_allow,
                    caller.user_permissions,
                    user_id=caller.user_id,
                    session_id=caller.session_id,
                    generation=instance.generation,
                    actor=caller.actor,
                )
            )

    @asynccontextmanager
    async def enter(
        self, admitted: Admitted, chain: Chain, capability: str
    ) -> AsyncGenerator[Call]:
        """Let a call that was allowed have its turn; record its outcome when the block ends."""
        instance, lease = admitted.instance, admitted.lease
        outcome = CallOutcome(
            self._plugins.enforcer,
            self._caller,
            plugin=instance.plugin,
            generation=instance.generation,
            capability=capability,
        )
        with outcome.recorded():
            async with instance.turns.take(chain, lease):
                with instance.tokens.minted(self._caller, chain) as token:
                    yield Call(instance.session, lease, token, outcome)

    def chain_into(self, plugin: str) -> Chain:
        """Return the chain of calls as it goes on in a plugin.

        Raises:
            PluginCallError: the call that led here has ended, or too many did.
        """
        chain = self._chain
        if chain is None:
            chain = self._plugins.new_chain()
        elif chain.is_over:
            raise PluginCallError(
                plugin,
                "the call that this session served has ended",
                remedy="Use a session of the application's own for what goes on afterwards",
            )
        if len(chain.plugins) >= self._plugins.settings.call_depth:
            raise PluginCallError(
                plugin,
                f"the chain of calls is over {self._plugins.settings.call_depth} deep",
                remedy="Plugins call each other in a circle, or raise settings.call_depth",
            )
        return chain.entering(plugin)


def unsound(plugin: str, what: str) -> PluginCallError:
    """Return the error for an answer that breaks the contract's bounds."""
    return PluginCallError(
        plugin,
        f"its answer breaks the contract: {what}",
        remedy="The plugin's author can correct it; what it answered was dropped",
    )


def _require(instance: Instance, service: PluginType) -> None:
    if instance.type is not service:
        raise PluginCallError(
            instance.plugin,
            f"it is a {instance.type}, not a {service}",
            remedy="sigil-actors ps, or runtime.list(), tells the plugins' types",
        )
