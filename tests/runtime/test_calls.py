"""A call from the session to the plugin and back: what comes, in which order, what is denied."""

from collections.abc import AsyncGenerator

import attrs
import pytest
import trio
from trio.testing import MockClock

from sigil_actors import (
    AuditFilter,
    AuditUnavailableError,
    CapabilityDeniedError,
    CapabilitySet,
    CheckRequest,
    Decision,
    DenyReason,
    InvalidArgumentsError,
    LimitExceededError,
    MemoryAuditStore,
    PluginCallError,
    PluginNotFoundError,
    RuntimeSettings,
    ToolNotFoundError,
)
from sigil_actors.core.calls import ExecuteRequest
from sigil_actors.core.json_value import JsonObject
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.testing.fake_tier import FakePlugin
from sigil_actors.testing.faulty_audit_store import FaultyAuditStore
from tests.runtime.world import alice, manifest, open_world


async def count_to_three(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    for piece in ("one", "two", "three"):
        yield piece


async def refuse(request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield "some"
    raise PluginCallError("echo-tool", f"I don't do {request.tool_name}")


async def hang(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield "started"
    await trio.sleep_forever()


COUNTING = {"echo-tool": FakePlugin(tools={"count": count_to_three, "refuse": refuse})}


async def test_chunks_arrive_in_order() -> None:
    async with open_world(plugins=COUNTING) as world:
        async with world.session().execute("echo-tool", "count") as chunks:
            assert [chunk async for chunk in chunks] == ["one", "two", "three"]
        assert await world.session().execute_text("echo-tool", "count") == "onetwothree"


async def test_a_call_is_recorded_before_it_runs_and_its_outcome_after() -> None:
    async with open_world(plugins=COUNTING) as world:
        async with world.session().execute("echo-tool", "count") as chunks:
            (check,) = await world.store.query(AuditFilter(action="capability_check"))
            assert await world.store.query(AuditFilter(action="outcome")) == ()
            assert [chunk async for chunk in chunks]
    assert (check.capability, check.result, check.actor) == ("tool.count", "allowed", "alice")
    (outcome,) = await world.store.query(AuditFilter(action="outcome"))
    assert outcome.result == "ok"
    assert outcome.details["chunks"] == 3
    assert outcome.details["characters"] == 11
    assert outcome.seq > check.seq


@pytest.mark.parametrize(
    ("plugin", "workspace", "user", "reason"),
    [
        (("kv.*",), "*", "*", DenyReason.PLUGIN_ALLOW_MISSING),
        (("tool.*",), "tool.other", "*", DenyReason.WORKSPACE_ALLOW_MISSING),
        (("tool.*",), "*", "tool.other", DenyReason.USER_PERMISSION_MISSING),
    ],
)
async def test_a_denied_call_never_reaches_the_plugin_and_is_recorded(
    plugin: tuple[str, ...], workspace: str, user: str, reason: DenyReason
) -> None:
    async with open_world(manifest(capabilities=plugin), plugins=COUNTING) as world:
        session = alice(world.runtime, workspace=CapabilitySet(workspace), user=CapabilitySet(user))
        with pytest.raises(CapabilityDeniedError) as caught:
            await session.execute_text("echo-tool", "count")
        assert world.tier.calls == []
    assert caught.value.reason == reason
    assert caught.value.decision is not None
    assert "tool.count" in str(caught.value)
    (entry,) = await world.store.query(AuditFilter(action="capability_check"))
    assert (entry.result, entry.reason, entry.seq) == (
        "denied",
        reason,
        caught.value.decision.seq,
    )


async def test_a_denied_pattern_wins_over_every_grant() -> None:
    denied = manifest(deny=("tool.count",))
    async with open_world(denied, plugins=COUNTING) as world:
        with pytest.raises(CapabilityDeniedError, match="plugin_deny_match"):
            await world.session().execute_text("echo-tool", "count")


async def test_when_the_audit_store_fails_nothing_is_dispatched() -> None:
    """An allow that can't be recorded is a refusal."""
    store = FaultyAuditStore(MemoryAuditStore(), fail_appends=range(3, 100))
    async with open_world(audit_store=store) as world:
        with pytest.raises(AuditUnavailableError):
            await world.session().execute_text("echo-tool", "echo")
        assert world.tier.calls == []


async def test_an_unknown_plugin_is_told_with_names_that_look_like_it() -> None:
    async with open_world(plugins=COUNTING) as world:
        with pytest.raises(PluginNotFoundError, match="echo-tool") as caught:
            await world.session().execute_text("echo-tol", "count")
        with pytest.raises(PluginNotFoundError):
            world.runtime.get("nobody")
    assert caught.value.near == ("echo-tool",)


async def test_an_unknown_tool_is_told_with_the_tools_there_are() -> None:
    async with open_world(plugins=COUNTING) as world:
        with pytest.raises(ToolNotFoundError) as caught:
            await world.session().execute_text("echo-tool", "cuont")
    assert caught.value.near == ("count",)


async def test_arguments_are_held_against_the_schema_before_dispatch() -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
    }
    plugin = FakePlugin(input_schema=schema)
    async with open_world(plugins={"echo-tool": plugin}) as world:
        with pytest.raises(InvalidArgumentsError, match="n"):
            await world.session().execute_text("echo-tool", "echo", {"n": "three"})
        assert world.tier.calls == []
        assert await world.session().execute_text("echo-tool", "echo", {"n": 3}) == '{"n": 3}'


@pytest.mark.parametrize("wrong", [{"x": float("nan")}, {"x": b"bytes"}, {"x": "y" * 200}])
async def test_arguments_that_arent_json_or_are_too_long_are_refused(
    wrong: dict[str, object],
) -> None:
    settings = RuntimeSettings(arguments_bytes=100)
    async with open_world(settings=settings) as world:
        with pytest.raises(InvalidArgumentsError):
            await world.session().execute_text("echo-tool", "echo", wrong)  # type: ignore[arg-type]
        assert world.tier.calls == []


async def test_an_error_of_the_plugin_is_raised_where_it_came_in_the_stream() -> None:
    async with open_world(plugins=COUNTING) as world:
        seen = []
        with pytest.raises(PluginCallError, match="I don't do refuse"):
            async with world.session().execute("echo-tool", "refuse") as chunks:
                async for chunk in chunks:
                    seen.append(chunk)  # noqa: PERF401 - what came before the error counts
        assert seen == ["some"]
    (outcome,) = await world.store.query(AuditFilter(action="outcome"))
    assert outcome.result == "error"


async def test_an_error_of_the_callers_block_leaves_it_bare_and_cancels_the_call() -> None:
    async with open_world(plugins={"echo-tool": FakePlugin(tools={"hang": hang})}) as world:
        with pytest.raises(ValueError, match="mine"):
            async with world.session().execute("echo-tool", "hang") as chunks:
                async for _chunk in chunks:
                    raise ValueError("mine")
        assert world.runtime.get("echo-tool").in_flight == 0
    (outcome,) = await world.store.query(AuditFilter(action="outcome"))
    assert outcome.result == "cancelled"


async def test_a_cancelled_call_is_freed_at_once_and_its_outcome_says_so(
    autojump_clock: MockClock,
) -> None:
    async with open_world(plugins={"echo-tool": FakePlugin(tools={"hang": hang})}) as world:
        began = trio.current_time()
        with trio.move_on_after(2) as scope:
            await world.session().execute_text("echo-tool", "hang")
        assert scope.cancelled_caught
        assert trio.current_time() - began == pytest.approx(2)
        assert world.runtime.get("echo-tool").in_flight == 0
    (outcome,) = await world.store.query(AuditFilter(action="outcome"))
    assert outcome.result == "cancelled"
    assert outcome.details["duration_ms"] == pytest.approx(2000)


async def test_the_plugin_learns_how_long_its_caller_waits(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        with trio.move_on_after(7.5):
            await world.session().execute_text("echo-tool", "echo")
        await world.session().execute_text("echo-tool", "echo")
    assert [call.request.timeout_seconds for call in world.tier.calls] == [8, 0]


async def test_execute_text_gathers_only_so_much() -> None:
    settings = RuntimeSettings(text_bytes=5)
    async with open_world(plugins=COUNTING, settings=settings) as world:
        with pytest.raises(LimitExceededError, match="text_bytes"):
            await world.session().execute_text("echo-tool", "count")


async def test_describe_tells_the_tools() -> None:
    async with open_world(plugins=COUNTING) as world:
        tools = await world.session().describe("echo-tool")
    assert [tool.name for tool in tools] == ["count", "refuse"]


async def test_two_calls_share_a_plugin_that_takes_one_at_a_time(
    autojump_clock: MockClock,
) -> None:
    inside = most = 0

    async def busy(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await trio.sleep(1)
        inside -= 1
        yield "done"

    plugin = FakePlugin(tools={"busy": busy}, calls_at_once=1)
    async with open_world(plugins={"echo-tool": plugin}) as world:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(world.session().execute_text, "echo-tool", "busy")
        assert trio.current_time() - began == pytest.approx(5)
    assert most == 1


async def test_a_status_tells_who_is_inside() -> None:
    async with open_world(plugins={"echo-tool": FakePlugin(tools={"hang": hang})}) as world:
        async with world.session().execute("echo-tool", "hang") as chunks:
            await anext(chunks)
            (status,) = world.runtime.list()
            assert (status.in_flight, status.state, status.generation) == (1, "running", 1)
        assert world.runtime.list() == (attrs.evolve(status, in_flight=0),)


async def test_a_caller_that_is_cancelled_already_has_a_second_left() -> None:
    """Cancelled after its check and before the plugin is told how long it waits."""
    async with open_world() as world:
        scope = trio.CancelScope()
        enforcer = world.runtime.enforcer
        check = enforcer.check

        async def check_and_cancel(request: CheckRequest) -> Decision:
            decision = await check(request)
            scope.cancel()
            return decision

        enforcer.check = check_and_cancel  # type: ignore[method-assign, assignment]
        with scope:
            await world.session().execute_text("echo-tool", "echo")
    assert [call.request.timeout_seconds for call in world.tier.calls] == [1]
