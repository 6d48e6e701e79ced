"""A tier that runs plugins as scripts in this process: the same promises, no sandbox, no clock.

For tests of an application's behaviour under faults, on virtual time. It passes the same contract
suite as the real tiers.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import trio

from sigil_actors.errors import PluginStartError
from sigil_actors.ports.tier import Launch, TierSession
from sigil_actors.testing.fake_plugin import FakePlugin, Script, ScriptCrash
from sigil_actors.testing.fake_services import FakeAsk, FakeChannel, FakeProvider
from sigil_actors.testing.fake_session import FakeCall, FakeSession
from sigil_actors.testing.faults import Crash, Fail, Hang, Slow

__all__ = [
    "FakeAsk",
    "FakeCall",
    "FakeChannel",
    "FakePlugin",
    "FakeProvider",
    "FakeSession",
    "FakeTier",
    "Script",
    "ScriptCrash",
]


class FakeTier:
    """Runs the plugins that it was given; others as a `FakePlugin()`. `calls` tells what came."""

    def __init__(
        self, plugins: Mapping[str, FakePlugin] | None = None, *, kind: str = "wasm"
    ) -> None:
        self._plugins = dict(plugins or {})
        self._kind = kind
        self._calls_of: Counter[str] = Counter()
        self.starts: Counter[str] = Counter()
        """How often each plugin was started, whether it came up or not."""
        self.calls: list[FakeCall] = []
        """Every call of a tool that reached a plugin, in order."""
        self.asks: list[FakeAsk] = []
        """Whatever else reached a channel or a provider, in order."""
        self.open_sessions: list[FakeSession] = []
        """The instances that are up, until nothing is left of them."""

    @property
    def kind(self) -> str:
        """Return the word that a manifest uses for it."""
        return self._kind

    def set_plugin(self, name: str, plugin: FakePlugin) -> None:
        """Have a plugin behave otherwise from its next start on. Its counts go on."""
        self._plugins[name] = plugin

    @asynccontextmanager
    async def open(self, launch: Launch) -> AsyncGenerator[TierSession]:
        """Run one instance for as long as the block lasts."""
        plugin = self._plugins.get(launch.plugin, FakePlugin())
        self.starts[launch.plugin] += 1
        number = self.starts[launch.plugin]
        await trio.sleep(plugin.start_s)
        if number <= plugin.failing_starts:
            raise PluginStartError(launch.plugin, "fails to start, as its script says")
        fault = plugin.on_start.get(number)
        match fault:
            case Fail(reason):
                raise PluginStartError(launch.plugin, reason)
            case Hang():
                await trio.sleep_forever()
            case Slow(seconds):
                await trio.sleep(seconds)
            case Crash() | None:
                pass
        session = FakeSession(plugin, launch, self._take_call, self.asks.append)
        if isinstance(fault, Crash):
            session.crash(fault.reason)
        self.open_sessions.append(session)
        try:
            yield session
        finally:
            session.close()
            if plugin.close_s:
                # Shielded, since a cancel doesn't make a process die sooner, and leaving earlier
                # would break the promise that nothing is left. Bounded by what it waits for.
                with trio.CancelScope(shield=True):
                    await trio.sleep(plugin.close_s)
            self.open_sessions.remove(session)

    def _take_call(self, call: FakeCall) -> int:
        self.calls.append(call)
        self._calls_of[call.plugin] += 1
        return self._calls_of[call.plugin]
