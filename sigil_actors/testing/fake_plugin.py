"""How a fake plugin behaves: its tools as scripts, and what goes wrong when."""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from types import MappingProxyType

import attrs
import trio

from sigil_actors.core.calls import ExecuteRequest, Health, HealthStatus, Usage
from sigil_actors.core.json_value import JsonObject
from sigil_actors.errors import PluginCallError
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.testing.fake_services import FakeChannel, FakeProvider
from sigil_actors.testing.faults import Crash, Fail, Fault, Hang, Slow

Script = Callable[[ExecuteRequest, HostFunctions], AsyncGenerator[str]]
"""A tool: an async generator of pieces of text.

It may raise `ScriptCrash` to take its instance down, and errors of the call like
`PluginCallError`. It runs in the caller's task, so a sleep in it is one on trio's clock.
"""

HealthScript = Callable[[int], Awaitable[Health]]
"""Answers an instance's n-th question, counted from 1. The first is asked while it is loaded.

It may raise, hang, or raise `ScriptCrash` to take its instance down.
"""


class ScriptCrash(Exception):  # noqa: N818 - what a script does, not an error of this package
    """Raised by a script: the instance is gone, as if its process had died."""


async def _echo(request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield request.arguments


_NO_FAULTS: Mapping[int, Fault] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class FakePlugin:
    """How a plugin behaves in a `FakeTier`: well, and by default with one tool, `echo`."""

    tools: Mapping[str, Script] = attrs.field(factory=lambda: {"echo": _echo})
    channel: FakeChannel | None = None
    """What makes it a channel; None where it has none."""
    provider: FakeProvider | None = None
    """What makes it a provider; None where it has none."""
    usage: Usage | None = None
    """What it says that it uses."""
    calls_at_once: int | None = None
    """How many calls an instance takes at the same time; None for any number."""
    input_schema: JsonObject = attrs.field(factory=dict)
    """The schema of all of its tools."""
    on_start: Mapping[int, Fault] = _NO_FAULTS
    """What goes wrong with which of its starts, counted from 1 over all of its instances.

    A `Crash` is one between coming up and its `init`.
    """
    on_call: Mapping[int, Fault] = _NO_FAULTS
    """What goes wrong with which call, counted from 1 over all of its instances."""
    failing_starts: int = 0
    """How many of its first starts fail."""
    start_s: float = 0.0
    """How long it takes to come up."""
    health: Health | HealthScript = attrs.field(factory=lambda: Health(HealthStatus.HEALTHY))
    """What it says of itself, always or by a script."""
    shutdown_s: float = 0.0
    """How long it takes to answer a shutdown; `math.inf` never does."""
    close_s: float = attrs.field(default=0.0, validator=attrs.validators.lt(math.inf))
    """How long its tier takes to be rid of it, whatever happens; the promise is that it ends."""


def scripted_health(
    answers: Mapping[int, Health | Fault], *, otherwise: Health | HealthScript | None = None
) -> HealthScript:
    """Return a script that gives these answers, by the number of the question.

    Other questions get `otherwise`, or that it is healthy. `Fail` raises a `PluginCallError`, as an
    answer does that makes no sense; after `Slow` comes the usual answer.
    """
    usual = otherwise or Health(HealthStatus.HEALTHY)

    async def answer(number: int) -> Health:
        match answers.get(number):
            case Health() as health:
                return health
            case Crash(reason):
                raise ScriptCrash(reason)
            case Fail(reason):
                raise PluginCallError("a fake plugin", reason)
            case Hang():
                await trio.sleep_forever()
            case Slow(seconds):
                await trio.sleep(seconds)
            case None:
                pass
        return usual if isinstance(usual, Health) else await usual(number)

    return answer
