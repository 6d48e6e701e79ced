"""What an operator can ask of a runtime, whether it is in this process or behind the socket."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs

from sigil_actors.control.error_report import ErrorReport, problem_json, report_of
from sigil_actors.control.protocol import CallRequest, DescribeRequest, ExplainRequest
from sigil_actors.core.capability import CapabilitySet
from sigil_actors.core.explanation import Explanation
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.lifecycle import PluginState
from sigil_actors.core.policy import CheckRequest
from sigil_actors.errors import CapabilityDeniedError, ManifestError, SigilError
from sigil_actors.runtime.chunks import Chunks
from sigil_actors.runtime.discovery import DiscoveryProblem
from sigil_actors.runtime.runtime import Runtime
from sigil_actors.runtime.session import Session
from sigil_actors.runtime.status import PluginStatus

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

    def __init__(self, runtime: Runtime, *, uid: int) -> None:
        self._runtime = runtime
        self._operator = operator_name(uid)

    @asynccontextmanager
    async def call(self, request: CallRequest) -> AsyncGenerator[Chunks]:
        """Call a tool, once its plugin is up.

        Raises:
            ManifestError: the plugin's manifest was refused.
            SigilError: whatever a session's `execute` and its chunks raise.
        """
        session = self._session(request.workspace_allow, request.user_permissions)
        await self._wait_until_up(request.plugin)
        async with session.execute(request.plugin, request.tool, request.arguments) as chunks:
            yield chunks

    def list(self) -> JsonObject:
        """Return all plugins, and what was found and can't be used."""
        return {
            "plugins": [status_json(status) for status in self._runtime.list()],
            "problems": [discovery_problem_json(problem) for problem in self._runtime.problems],
        }

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
            ManifestError: its manifest was refused.
            InvalidCapabilityError: a pattern is malformed.
        """
        self._check_known(request.plugin)
        return explanation_json(self._runtime.explain(check_request(request, self._operator)))

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
        check_not_refused(plugin, self._runtime.problems)
        return self._runtime.get(plugin)

    async def _wait_until_up(self, plugin: str) -> None:
        status = self._check_known(plugin)
        # One that has crashed is not waited for: its caller is told so, and when to try again.
        if status.restarts == 0 and status.state is not PluginState.DRAINING:
            await self._runtime.wait_until_running(plugin)


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


def status_json(status: PluginStatus) -> JsonObject:
    """Return a plugin's status for a JSON text."""
    return {
        "name": status.name,
        "version": status.version,
        "type": status.type,
        "tier": status.tier,
        "state": status.state,
        "generation": status.generation,
        "restarts": status.restarts,
        "in_flight": status.in_flight,
        "reason": status.reason,
        "quarantined": status.quarantined,
        "restart_in_s": status.restart_in_s,
        "last_words": list(status.last_words),
        "usage": status.usage,
    }


def discovery_problem_json(problem: DiscoveryProblem) -> JsonObject:
    """Return something that was found and can't be used for a JSON text."""
    return {
        "file": problem.file,
        "plugin": problem.plugin,
        "problems": [problem_json(one) for one in problem.problems],
    }


def explanation_json(explanation: Explanation) -> JsonObject:
    """Return an explanation for a JSON text; `text` is the one for people."""
    request = explanation.request
    return {
        "plugin": request.plugin,
        "capability": request.capability,
        "allowed": explanation.verdict.allowed,
        "reason": explanation.verdict.reason,
        "sets": [
            {
                "name": one.name,
                "consulted": one.consulted,
                "matched": one.matched,
                "nearest": one.nearest,
            }
            for one in explanation.sets
        ],
        "remedy": explanation.remedy,
        "text": explanation.text(),
    }
