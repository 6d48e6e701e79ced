"""The process tier keeps the promises of every tier: plainly, and in its sandbox."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sigil_actors.ports.tier import TierSession
from sigil_actors.testing.channel_contract import ChannelSessionContract, OpenChannel
from sigil_actors.testing.provider_contract import OpenProvider, ProviderSessionContract
from sigil_actors.testing.tier_contract import Behaviour, OpenSession, TierSessionContract
from tests.tiers.process.world import open_world

Go = Callable[[str], Path]

ONLY_A_TOOL = {"SERVES": "tool"}


class TestPlainProgram(TierSessionContract):
    """Without a sandbox."""

    @pytest.fixture
    def open_session(self, go_program: Go) -> OpenSession:
        """Open the Go plugin, which has every tool."""
        program = go_program("plugin")

        @asynccontextmanager
        async def open_session(_behaviour: Behaviour) -> AsyncGenerator[TierSession, None]:
            async with (
                open_world(program) as world,
                world.session(world.launch(env=ONLY_A_TOOL)) as session,
            ):
                yield session

        return open_session


class TestSandboxedProgram(TierSessionContract):
    """In its sandbox."""

    @pytest.fixture
    def open_session(self, go_program: Go, sandbox: None) -> OpenSession:
        """Open the Go plugin, which has every tool."""
        del sandbox
        program = go_program("plugin")

        @asynccontextmanager
        async def open_session(_behaviour: Behaviour) -> AsyncGenerator[TierSession, None]:
            async with (
                open_world(program, is_sandboxed=True) as world,
                world.session(world.launch(env=ONLY_A_TOOL)) as session,
            ):
                yield session

        return open_session


class TestChannel(ChannelSessionContract):
    """A channel, with AutoMTLS."""

    @pytest.fixture
    def open_channel(self, go_program: Go) -> OpenChannel:
        """Open the Go plugin, which is a channel too."""
        program = go_program("plugin")

        @asynccontextmanager
        async def open_channel() -> AsyncGenerator[TierSession, None]:
            async with open_world(program, auto_mtls=True) as world, world.session() as session:
                yield session

        return open_channel


class TestProvider(ProviderSessionContract):
    """A provider."""

    @pytest.fixture
    def open_provider(self, go_program: Go) -> OpenProvider:
        """Open the Go plugin, which is a provider too."""
        program = go_program("plugin")

        @asynccontextmanager
        async def open_provider() -> AsyncGenerator[TierSession, None]:
            async with open_world(program) as world, world.session() as session:
                yield session

        return open_provider
