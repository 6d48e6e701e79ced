"""What an operator can ask of a runtime, whether it is in this process or behind the socket."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, assert_never

import attrs
import trio

from sigil_actors.control.error_report import ErrorReport, report_of
from sigil_actors.control.operator_log import OperatorLog
from sigil_actors.control.protocol import (
    ApproveRequest,
    CallRequest,
    DescribeRequest,
    EventsRequest,
    ExplainRequest,
    HeldRequest,
    ListRequest,
    OrderRequest,
    Verb,
)
from sigil_actors.control.runtime_json import (
    discovery_problem_json,
    event_json,
    explanation_json,
    held_json,
    status_json,
    tree_json,
    tree_text,
)
from sigil_actors.core.capability import CapabilitySet, check_capability, match_capability
from sigil_actors.core.explanation import Explanation
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.lifecycle import PluginState
from sigil_actors.core.policy import CheckRequest, DenyReason
from sigil_actors.errors import (
    CapabilityDeniedError,
    InvalidCapabilityError,
    ManifestError,
    PluginHeldError,
    PluginNotFoundError,
    PluginStartError,
    PluginUnavailableError,
    SigilError,
)
from sigil_actors.runtime.chunks import Chunks
from sigil_actors.runtime.discovery import DiscoveryProblem
from sigil_actors.runtime.events import EventKind, EventStream
from sigil_actors.runtime.runtime import Runtime
from sigil_actors.runtime.session import Session
from sigil_actors.runtime.status import HeldVersion, PluginStatus

_ADDS: Final = "capabilities: adds "
"""How a difference begins that is another capability; see `core.authority`."""

WORKSPACE: Final = "local"
"""The workspace that stands in the log for what an operator does by hand."""


def operator_name(uid: int) -> str:
    """Return the operator as the log names them: by the user that the kernel vouches for."""
    return f"uid:{uid}"


def operator_set(patterns: Sequence[str]) -> CapabilitySet:
    """Return what an operator may do: everything, unless they narrow it themselves.

    Raises:
        InvalidCapabilityError: a pattern is malformed.
    """
    return CapabilitySet(*patterns) if patterns else CapabilitySet("*")


def check_patterns(*sets: Sequence[str]) -> None:
    """Check what an operator wants to narrow their sets to, before anything is started for it.

    Raises:
        InvalidCapabilityError: a pattern is malformed.
    """
    for patterns in sets:
        operator_set(patterns)


class RuntimeOperations:
    """Asks a runtime in this process on behalf of one operator."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        uid: int,
        plugins: Path | None = None,
        gives_up_at_once: bool = False,
    ) -> None:
        """Ask `runtime`, for the user `uid`.

        Args:
            runtime: Who is asked.
            uid: The operator, as the kernel says.
            plugins: The folder that it was given, for those who ask which it is.
            gives_up_at_once: Whether a plugin that ends while somebody waits for it isn't waited
                for until it was tried again.
        """
        self._runtime = runtime
        self._gives_up_at_once = gives_up_at_once
        self._plugins = plugins
        self._operator = operator_name(uid)
        self._log = OperatorLog(runtime.enforcer, self._operator)

    @asynccontextmanager
    async def call(self, request: CallRequest) -> AsyncGenerator[Chunks]:
        """Call a tool, once its plugin is up.

        Raises:
            ManifestError: there is no such plugin, since its manifest was refused.
            SigilError: whatever a session's `execute` and its chunks raise.
        """
        session = self._session(request.workspace_allow, request.user_permissions)
        await self._wait_until_up(request.plugin)
        async with session.execute(request.plugin, request.tool, request.arguments) as chunks:
            yield chunks

    def about(self) -> JsonObject:
        """Return what the runtime was started with: where its plugins come from, and a bound."""
        return {
            "plugins": None if self._plugins is None else str(self._plugins),
            "stop_grace_s": self._runtime.settings.stop_grace_s,
        }

    def list(self, request: ListRequest) -> JsonObject:
        """Return all plugins or the one that is named, and what was found and can't be used.

        Raises:
            PluginNotFoundError: there is none of that name.
            ManifestError: there is none, since its manifest was refused.
        """
        if request.plugin:
            return {"plugins": [status_json(self._check_known(request.plugin))], "problems": []}
        return {
            "plugins": [status_json(status) for status in self._runtime.list()],
            "problems": [discovery_problem_json(problem) for problem in self._runtime.problems],
        }

    def tree(self) -> JsonObject:
        """Return the supervision tree; `text` is the one for people."""
        tree = self._runtime.tree()
        return {"tree": tree_json(tree), "text": tree_text(tree, self._runtime.list())}

    async def order(self, request: OrderRequest) -> JsonObject:
        """Start, stop, drain or reload a plugin; return its status when that is done.

        Raises:
            PluginNotFoundError: there is none of that name.
            ManifestError: of a start; there is none, since its manifest was refused.
            PluginHeldError: what would be started asks for more than what ran before.
            PluginStartError: it didn't come up.
            AuditUnavailableError: a start or a reload couldn't be recorded, so nothing was done.
        """
        plugin = request.plugin
        if request.verb is Verb.START:
            self._check_known(plugin)
        else:
            # What a folder holds is no matter to a stop; and before a reload it may be mended.
            self._runtime.get(plugin)
        match request.verb:
            case Verb.START:
                await self._log.record(request.verb, plugin)
                await self._runtime.start(plugin)
            case Verb.RELOAD:
                await self._log.record(request.verb, plugin)
                await self._runtime.reload(plugin)
            case Verb.STOP:
                await self._log.record_stop(request.verb, plugin)
                await self._runtime.stop(plugin)
            case Verb.DRAIN:
                await self._log.record_stop(request.verb, plugin)
                await self._runtime.drain(plugin)
            case never:
                assert_never(never)
        return status_json(self._runtime.get(plugin))

    async def rescan(self) -> JsonObject:
        """Look into the plugins folder again; return what came of it, plugin by plugin.

        Raises:
            AuditUnavailableError: it couldn't be recorded, so nothing was done.
        """
        await self._log.record("rescan")
        results = await self._runtime.rescan()
        held = {status.name: status.held for status in self._runtime.list()}
        return {
            "results": [
                {
                    "plugin": result.plugin,
                    "what": result.what,
                    "reason": result.reason,
                    "held": held_json(held.get(result.plugin)),
                }
                for result in results
            ]
        }

    async def held(self, request: HeldRequest) -> JsonObject:
        """Return which version of a plugin waits to be approved, once it is up or held.

        Raises:
            PluginNotFoundError: there is none of that name.
            ManifestError: there is none, since its manifest was refused.
        """
        with suppress(PluginUnavailableError, PluginStartError):
            await self._wait_until_up(request.plugin)
        status = self._runtime.get(request.plugin)
        return {
            "plugin": status.name,
            "version": status.version,
            "state": status.state,
            "held": held_json(status.held),
        }

    async def approve(self, request: ApproveRequest) -> JsonObject:
        """Approve the version that is held, and start it; return its status then.

        Raises:
            PluginNotFoundError: there is none of that name.
            PluginStartError: it didn't come up; it stays approved.
            AuditUnavailableError: it couldn't be recorded, so nothing was done.
            SigilError: nothing is held, or something else.
        """
        self._check_known(request.plugin)
        approved: JsonObject = {"snapshot_sha256": request.snapshot_sha256}
        await self._log.record("approve", request.plugin, approved)
        await self._runtime.approve(request.plugin, request.snapshot_sha256, actor=self._operator)
        return status_json(self._runtime.get(request.plugin))

    @asynccontextmanager
    async def events(self, request: EventsRequest) -> AsyncGenerator[AsyncIterator[JsonObject]]:
        """Give what happens from now on, until the runtime ends.

        Raises:
            PluginNotFoundError: there is none of that name.
            ManifestError: there is none, since its manifest was refused.
        """
        if request.plugin:
            self._check_known(request.plugin)
        async with self._runtime.events() as stream:
            yield _EventsOf(stream, request.plugin)

    async def describe(self, request: DescribeRequest) -> JsonObject:
        """Return a plugin's tools.

        Raises:
            PluginNotFoundError: there is no such plugin.
            PluginUnavailableError: it is down.
        """
        await self._wait_until_up(request.plugin)
        tools = await self._session((), ()).describe(request.plugin)
        return {
            "tools": [
                {
                    "name": tool.name,
                    "description": tool.description,
                    "input_schema": tool.input_schema,
                }
                for tool in tools
            ]
        }

    def explain(self, request: ExplainRequest) -> JsonObject:
        """Return why a capability is allowed or denied.

        Raises:
            PluginNotFoundError: there is no such plugin.
            ManifestError: there is none, since its manifest was refused.
            InvalidCapabilityError: the capability or a pattern is malformed.
        """
        status = self._check_known(request.plugin)
        check_capability(request.capability)
        told = self._runtime.explain(check_request(request, self._operator))
        remedy = _remedy_at_hand(told, status)
        return explanation_json(attrs.evolve(told, remedy=remedy) if remedy else told)

    def report(self, error: SigilError) -> ErrorReport:
        """Return what is told of an error; of a denial, also what each set said."""
        explanation: Sequence[str] = ()
        if isinstance(error, CapabilityDeniedError) and error.decision is not None:
            told = self._runtime.explain(attrs.evolve(error.decision.request, generation=None))
            # Its last line is the remedy, which the error itself has.
            explanation = [line for line in told.text().splitlines() if line != error.remedy]
        return report_of(error, explanation=explanation)

    def _session(self, workspace_allow: Sequence[str], user_permissions: Sequence[str]) -> Session:
        return self._runtime.session(
            workspace_id=WORKSPACE,
            workspace_allow=operator_set(workspace_allow),
            user_id=self._operator,
            user_permissions=operator_set(user_permissions),
            actor=self._operator,
        )

    def _check_known(self, plugin: str) -> PluginStatus:
        # One that is known goes on as it was, whatever has become of its manifest, or of that of
        # another plugin in a folder of its name.
        try:
            return self._runtime.get(plugin)
        except PluginNotFoundError:
            check_not_refused(plugin, self._runtime.problems)
            raise

    async def _wait_until_up(self, plugin: str) -> None:
        status = self._check_known(plugin)
        # One that has crashed is not waited for: its caller is told so, and when to try again.
        if status.restarts == 0 and status.state is not PluginState.DRAINING:
            try:
                if self._gives_up_at_once:
                    await self._wait_until_up_or_ended(plugin)
                else:
                    await self._runtime.wait_until_running(plugin)
            except PluginUnavailableError:
                held = self._runtime.get(plugin).held
                if held is None:
                    raise
                raise PluginHeldError(
                    plugin,
                    version=held.version,
                    snapshot_sha256=held.snapshot_sha256,
                    differences=held.differences,
                ) from None

    async def _wait_until_up_or_ended(self, plugin: str) -> None:
        """Wait until a plugin runs, unless it, or one that it needs, ends by itself meanwhile.

        Raises:
            PluginUnavailableError: it is down, and nobody is going to start it.
            PluginStartError: it, or one that it needs, has ended.
        """
        ended: list[str] = []
        down: PluginUnavailableError | None = None
        async with self._runtime.events() as events, trio.open_nursery() as nursery:

            async def watch() -> None:
                async for event in events:
                    if event.kind is EventKind.RESTART:
                        ended.append(event.plugin)
                        nursery.cancel_scope.cancel()

            ended.extend(status.name for status in self._runtime.list() if status.restarts)
            if not ended:
                nursery.start_soon(watch)
                try:
                    await self._runtime.wait_until_running(plugin)
                except PluginUnavailableError as error:
                    down = error  # raised outside, as it is: the nursery would make a group of it
                nursery.cancel_scope.cancel()
        if down is not None:
            raise down
        if ended:
            status = self._runtime.get(ended[0])
            why = status.reason or status.last_error
            remedy = status.remedy or "Mend it, or what it needs, and try again"
            raise PluginStartError(plugin, f"doesn't come up: {why}", remedy=remedy)


class _EventsOf:
    """The events of one plugin, or of all, as JSON."""

    def __init__(self, stream: EventStream, plugin: str) -> None:
        self._stream = stream
        self._plugin = plugin

    def __aiter__(self) -> AsyncIterator[JsonObject]:
        return self

    async def __anext__(self) -> JsonObject:
        missed = 0
        while True:
            event = await anext(self._stream)
            missed += event.missed
            if self._plugin in {"", event.plugin}:
                return event_json(attrs.evolve(event, missed=missed))


def _remedy_at_hand(told: Explanation, status: PluginStatus) -> str:
    """Return what the operator of a runtime can do about a denial; empty where that is nothing."""
    held, reason = status.held, told.verdict.reason
    if held is not None:
        approve = f"sigil-actors approve {status.name}"
        if reason is DenyReason.PLUGIN_NOT_REGISTERED:
            return f"Its version {held.version} is held; if it may run: {approve}"
        asked = _asked_by(held, told.request.capability)
        if reason is DenyReason.PLUGIN_ALLOW_MISSING and asked is not None:
            return f"Its version {held.version}, which is held, asks for {asked}: {approve}"
    elif reason is DenyReason.PLUGIN_NOT_REGISTERED:
        return f"It is {status.state}; if it may run: sigil-actors start {status.name}"
    return ""


def _asked_by(held: HeldVersion, capability: str) -> str | None:
    """Return the pattern that a held version adds and that matches; None where there is none."""
    for line in held.differences:
        pattern = line.removeprefix(_ADDS)
        if pattern != line:
            with suppress(InvalidCapabilityError):
                if match_capability(pattern, capability):
                    return pattern
    return None


def check_request(request: ExplainRequest, operator: str) -> CheckRequest:
    """Return the check that is to be explained.

    Raises:
        InvalidCapabilityError: a pattern is malformed.
    """
    return CheckRequest(
        request.plugin,
        request.capability,
        WORKSPACE,
        operator_set(request.workspace_allow),
        operator_set(request.user_permissions),
        user_id=operator,
        actor=operator,
    )


def check_not_refused(plugin: str, problems: Sequence[DiscoveryProblem]) -> None:
    """Raise the problems of a plugin whose manifest was refused.

    Raises:
        ManifestError: they are what is wrong with it.
    """
    for problem in problems:
        # A manifest that can't be read names nobody, but its folder does.
        if plugin and plugin in {problem.plugin, Path(problem.file).parent.name}:
            raise ManifestError(problem.problems, file=problem.file)
