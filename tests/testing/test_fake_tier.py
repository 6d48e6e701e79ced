"""The fake tier passes the contract of the real ones."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from sigil_actors import PluginCallError
from sigil_actors.core.calls import ExecuteRequest
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.ports.tier import Launch, TierSession
from sigil_actors.testing import FakePlugin, FakeTier, ScriptCrash
from sigil_actors.testing.tier_contract import Behaviour, OpenSession, TierSessionContract
from tests.runtime.world import manifest
from tests.testing.no_host import NoHost


async def echo(request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield request.arguments


async def stream(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    for piece in "abc":
        yield piece


async def error(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield "so far"
    raise PluginCallError("fake", "it went wrong")


async def no_pieces() -> list[str]:
    await trio.lowlevel.checkpoint()
    return []


async def crash(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    for piece in await no_pieces():
        yield piece
    raise ScriptCrash("as asked")


async def endless(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield "started"
    await trio.sleep_forever()


PLUGIN = FakePlugin(
    tools={
        Behaviour.ECHO.value: echo,
        Behaviour.STREAM.value: stream,
        Behaviour.ERROR.value: error,
        Behaviour.CRASH.value: crash,
        Behaviour.ENDLESS.value: endless,
    }
)


class TestFakeTier(TierSessionContract):
    @pytest.fixture
    def open_session(self) -> OpenSession:
        @asynccontextmanager
        async def open_session(_behaviour: Behaviour) -> AsyncGenerator[TierSession]:
            launch = Launch(
                plugin="fake",
                generation=1,
                manifest=manifest("fake"),
                folder=Path("unused"),
                host=NoHost(),
                log=lambda _level, _text: None,
            )
            async with FakeTier({"fake": PLUGIN}).open(launch) as session:
                await session.init({})
                yield session

        return open_session
