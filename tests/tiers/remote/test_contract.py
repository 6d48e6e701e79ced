"""A session with a plugin that is written in Go keeps the promises of every tier."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from sigil_actors.ports.tier import TierSession
from sigil_actors.testing.channel_contract import ChannelSessionContract, OpenChannel
from sigil_actors.testing.provider_contract import OpenProvider, ProviderSessionContract
from sigil_actors.testing.tier_contract import OpenSession, TierSessionContract
from tests.tiers.remote.go_plugin import open_go_plugin

Open = Callable[[str], Callable[..., AbstractAsyncContextManager[TierSession]]]


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def open_as(
    request: pytest.FixtureRequest, go_program: Callable[[str], Path], tmp_path: Path
) -> Open:
    def open_as(kind: str) -> Callable[..., AbstractAsyncContextManager[TierSession]]:
        @asynccontextmanager
        async def open_plugin(_behaviour: object = None) -> AsyncGenerator[TierSession]:
            program = go_program("plugin")
            async with open_go_plugin(
                program, tmp_path, uses_tls=request.param, serves=kind
            ) as plugin:
                yield plugin.session

        return open_plugin

    return open_as


class TestTools(TierSessionContract):
    @pytest.fixture
    def open_session(self, open_as: Open) -> OpenSession:
        return open_as("tool")


class TestChannels(ChannelSessionContract):
    @pytest.fixture
    def open_channel(self, open_as: Open) -> OpenChannel:
        return open_as("channel")


class TestProviders(ProviderSessionContract):
    @pytest.fixture
    def open_provider(self, open_as: Open) -> OpenProvider:
        return open_as("provider")
