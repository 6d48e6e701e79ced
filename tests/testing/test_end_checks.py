"""An end that takes longer than it has to is found, and one that doesn't isn't."""

from collections.abc import Generator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import MockClock

from sigil_actors import PluginState, Runtime
from sigil_actors.core.lifecycle import PluginInstance
from sigil_actors.testing import (
    FakePlugin,
    FakeTier,
    Hang,
    InvariantError,
    after_every_step,
    ends_are_prompt,
)
from sigil_actors.testing.momentary import deployments
from sigil_actors.testing.pytest_plugin import OpenFakeRuntime
from tests.runtime.world import alice
from tests.testing.test_fake_faults import echo

HANGS = FakePlugin(on_call={1: Hang()})


@contextmanager
def seen_as(runtime: Runtime, state: PluginState) -> Generator[None]:
    """Have it look as if an instance were in a state, for a while."""
    [deployment] = deployments(runtime)
    real = deployment.life
    deployment.life = PluginInstance("fake", state, real.generation)
    try:
        yield
    finally:
        deployment.life = real


async def test_stops_and_drains_of_a_real_runtime_are_prompt(
    open_fake_runtime: OpenFakeRuntime, fake_tier: FakeTier, autojump_clock: MockClock
) -> None:
    fake_tier.set_plugin("fake", HANGS)
    async with open_fake_runtime("fake") as runtime:
        await runtime.wait_until_running("fake")
        with after_every_step(ends_are_prompt(runtime, fake_tier)):
            async with trio.open_nursery() as nursery:

                async def call() -> None:
                    with trio.move_on_after(3):
                        await alice(runtime).execute_text("fake", "echo")

                nursery.start_soon(call)
                await trio.testing.wait_all_tasks_blocked()
                await runtime.drain("fake")
            assert trio.current_time() == pytest.approx(3)
            await runtime.start("fake")
            await runtime.stop("fake")


async def test_a_drain_that_goes_on_though_nobody_is_inside_is_found(
    open_fake_runtime: OpenFakeRuntime, fake_tier: FakeTier, autojump_clock: MockClock
) -> None:
    async with open_fake_runtime("fake") as runtime:
        await runtime.wait_until_running("fake")
        with seen_as(runtime, PluginState.DRAINING):
            with after_every_step(ends_are_prompt(runtime, fake_tier)):
                await trio.sleep(0.4)
        with pytest.raises(InvariantError, match="drains though nobody is in it"):
            with after_every_step(ends_are_prompt(runtime, fake_tier)):
                with seen_as(runtime, PluginState.DRAINING):
                    await trio.lowlevel.checkpoint()
                    await trio.sleep(2)
                await trio.lowlevel.checkpoint()


async def test_a_stop_that_lets_go_of_nobody_is_found(
    open_fake_runtime: OpenFakeRuntime, fake_tier: FakeTier, autojump_clock: MockClock
) -> None:
    fake_tier.set_plugin("fake", HANGS)
    async with open_fake_runtime("fake") as runtime, trio.open_nursery() as nursery:
        await runtime.wait_until_running("fake")
        nursery.start_soon(echo, fake_tier.open_sessions[0])
        await trio.testing.wait_all_tasks_blocked()
        assert fake_tier.open_sessions[0].waits_inside == 1
        with pytest.raises(InvariantError, match="lets go of no caller"):
            with after_every_step(ends_are_prompt(runtime, fake_tier)):
                with seen_as(runtime, PluginState.STOPPING):
                    await trio.lowlevel.checkpoint()
                    await trio.sleep(2)
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
