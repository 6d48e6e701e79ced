"""What plugins ask of their host: on whose behalf, within which bounds, and what comes back."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sigil_actors import (
    AuditFilter,
    BackgroundSession,
    CapabilityDeniedError,
    CapabilitySet,
    DenyReason,
    HostCall,
    LimitExceededError,
    MemoryAuditStore,
    PluginCallError,
    RuntimeSettings,
    open_runtime,
)
from sigil_actors.core.calls import ExecuteRequest
from sigil_actors.errors import HostFunctionFailedError, HostFunctionMissingError, SettingsError
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.testing.fake_tier import FakePlugin, Script
from tests.runtime.world import alice, manifest, open_world

Ask = Callable[[HostFunctions, str], Awaitable[str]]


def asking(ask: Ask) -> dict[str, FakePlugin]:
    """A plugin whose tool asks its host, and answers what it got or the error's name."""

    async def tool(request: ExecuteRequest, host: HostFunctions) -> AsyncGenerator[str]:
        yield await ask(host, request.session_id)

    return {"echo-tool": FakePlugin(tools={"ask": tool})}


async def send(call: HostCall) -> bytes:
    return b"sent " + call.payload


ALLOWED = manifest(capabilities=("tool.*", "messages.send.*", "kv.*", "log.write", "missing.*"))


async def test_a_host_function_runs_on_behalf_of_the_caller() -> None:
    seen: list[HostCall] = []

    async def record(call: HostCall) -> bytes:
        seen.append(call)
        return b"ok"

    async def ask(host: HostFunctions, token: str) -> str:
        return (await host.call("messages.send.telegram", b"hello", token)).decode()

    async with open_world(
        ALLOWED, plugins=asking(ask), host_functions={"messages.send.*": record}
    ) as world:
        assert await world.session().execute_text("echo-tool", "ask") == "ok"
    (call,) = seen
    assert (call.plugin, call.capability, call.payload) == (
        "echo-tool",
        "messages.send.telegram",
        b"hello",
    )
    assert call.session is not None
    assert call.session.caller.user_id == "alice"
    entries = await world.store.query(AuditFilter(capability="messages.send.telegram"))
    assert [(entry.actor, entry.user_id, entry.result) for entry in entries] == [
        ("plugin:echo-tool", "alice", "allowed")
    ]


async def test_a_plugin_gets_no_more_than_its_caller_has() -> None:
    async def ask(host: HostFunctions, token: str) -> str:
        with pytest.raises(CapabilityDeniedError) as caught:
            await host.call("messages.send.telegram", b"", token)
        return caught.value.reason

    async with open_world(
        ALLOWED, plugins=asking(ask), host_functions={"messages.send.*": send}
    ) as world:
        session = alice(world.runtime, user=CapabilitySet("tool.*"))
        assert await session.execute_text("echo-tool", "ask") == "user_permission_missing"


@pytest.mark.parametrize("token", ["made-up", "expired"])
async def test_a_token_that_stands_for_nobody_is_denied_and_audited(token: str) -> None:
    tokens: list[str] = []

    async def ask(host: HostFunctions, own: str) -> str:
        tokens.append(own)
        used = tokens[0] if token == "expired" else token
        if used == own:
            return "first"
        assert await host.check("messages.send.telegram", used) is DenyReason.INVALID_REQUEST
        with pytest.raises(CapabilityDeniedError):
            await host.call("messages.send.telegram", b"", used)
        return "denied"

    async with open_world(
        ALLOWED, plugins=asking(ask), host_functions={"messages.send.*": send}
    ) as world:
        answers = [await world.session().execute_text("echo-tool", "ask") for _ in range(2)]
    assert answers[1] == "denied"
    denied = await world.store.query(AuditFilter(result="denied"))
    assert len(denied) >= 2
    assert all(entry.reason == "invalid_request" and not entry.user_id for entry in denied)


async def test_the_token_of_one_plugin_is_worth_nothing_in_another() -> None:
    stolen: list[str] = []

    async def leak(request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
        stolen.append(request.session_id)
        yield "leaked"
        await trio.sleep_forever()

    async def steal(_request: ExecuteRequest, host: HostFunctions) -> AsyncGenerator[str]:
        yield await host.check("messages.send.telegram", stolen[0])

    plugins = {
        "echo-tool": FakePlugin(tools={"leak": leak}),
        "thief": FakePlugin(tools={"steal": steal}),
    }
    thief = manifest("thief", capabilities=("tool.*", "messages.send.*"))
    async with open_world(ALLOWED, thief, plugins=plugins) as world:
        async with world.session().execute("echo-tool", "leak") as chunks:
            await anext(chunks)
            assert await world.session().execute_text("thief", "steal") == "invalid_request"


async def test_outside_a_call_nothing_is_allowed_unless_the_settings_say_so() -> None:
    async def ask(host: HostFunctions, _token: str) -> str:
        return await host.check("messages.send.telegram", "")

    async with open_world(ALLOWED, plugins=asking(ask)) as world:
        answer = await world.session().execute_text("echo-tool", "ask")
    assert answer == "workspace_allow_missing"
    background = BackgroundSession(
        workspace_allow=CapabilitySet("messages.*"), user_permissions=CapabilitySet("messages.*")
    )
    settings = RuntimeSettings(background_session=background)
    async with open_world(ALLOWED, plugins=asking(ask), settings=settings) as world:
        assert await world.session().execute_text("echo-tool", "ask") == "ok"


async def test_an_allowed_capability_without_a_function_is_told_as_missing() -> None:
    async def ask(host: HostFunctions, token: str) -> str:
        with pytest.raises(HostFunctionMissingError):
            await host.call("missing.thing", b"", token)
        return "missing"

    async with open_world(ALLOWED, plugins=asking(ask)) as world:
        assert await world.session().execute_text("echo-tool", "ask") == "missing"


async def test_the_longest_pattern_that_matches_has_its_function_run() -> None:
    async def general(_call: HostCall) -> bytes:
        return b"general"

    async def special(_call: HostCall) -> bytes:
        return b"special"

    async def ask(host: HostFunctions, token: str) -> str:
        answers = [
            await host.call("messages.send.telegram", b"", token),
            await host.call("messages.send.matrix", b"", token),
        ]
        return b" ".join(answers).decode()

    functions = {"messages.*": general, "messages.send.telegram": special}
    async with open_world(ALLOWED, plugins=asking(ask), host_functions=functions) as world:
        assert await world.session().execute_text("echo-tool", "ask") == "special general"


@pytest.mark.parametrize("builtin", ["kv.get", "log.write"])
async def test_a_built_in_function_cant_be_replaced(builtin: str) -> None:
    with pytest.raises(SettingsError, match=builtin):
        async with open_world(host_functions={builtin: send}):
            pytest.fail("it must not open")


async def test_what_a_host_function_raises_is_told_by_its_types_name_only() -> None:
    async def fail(_call: HostCall) -> bytes:
        raise KeyError("the secret is hunter2")

    async def ask(host: HostFunctions, token: str) -> str:
        with pytest.raises(HostFunctionFailedError) as caught:
            await host.call("messages.send.telegram", b"", token)
        return str(caught.value)

    async with open_world(
        ALLOWED, plugins=asking(ask), host_functions={"messages.send.*": fail}
    ) as world:
        answer = await world.session().execute_text("echo-tool", "ask")
    assert "KeyError" in answer
    assert "hunter2" not in answer


async def test_a_host_function_that_returns_no_bytes_has_failed() -> None:
    async def wrong(_call: HostCall) -> bytes:
        return "text"  # type: ignore[return-value]

    async def ask(host: HostFunctions, token: str) -> str:
        with pytest.raises(HostFunctionFailedError, match="TypeError"):
            await host.call("messages.send.telegram", b"", token)
        return "failed"

    async with open_world(
        ALLOWED, plugins=asking(ask), host_functions={"messages.send.*": wrong}
    ) as world:
        assert await world.session().execute_text("echo-tool", "ask") == "failed"


@pytest.mark.parametrize("side", ["payload", "answer"])
async def test_payloads_and_answers_are_bounded(side: str) -> None:
    large = bytes(4 * 1024 * 1024 + 1)

    async def answer(_call: HostCall) -> bytes:
        return large

    async def ask(host: HostFunctions, token: str) -> str:
        with pytest.raises(LimitExceededError):
            await host.call("messages.send.x", large if side == "payload" else b"", token)
        return "bounded"

    async with open_world(
        ALLOWED, plugins=asking(ask), host_functions={"messages.send.*": answer}
    ) as world:
        assert await world.session().execute_text("echo-tool", "ask") == "bounded"


async def test_one_plugins_host_calls_are_bounded_in_number(autojump_clock: MockClock) -> None:
    inside = most = 0

    async def slow(_call: HostCall) -> bytes:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await trio.sleep(1)
        inside -= 1
        return b""

    async def ask(host: HostFunctions, token: str) -> str:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(host.call, "messages.send.x", b"", token)
        return "done"

    settings = RuntimeSettings(host_calls_in_flight=4)
    async with open_world(
        ALLOWED, plugins=asking(ask), host_functions={"messages.send.*": slow}, settings=settings
    ) as world:
        await world.session().execute_text("echo-tool", "ask")
    assert most == 4


@pytest.mark.parametrize("verb", ["check", "call"])
async def test_a_loop_of_host_calls_is_slowed_down_and_starves_nobody(
    autojump_clock: MockClock, verb: str
) -> None:
    async def ask(host: HostFunctions, token: str) -> str:
        for _ in range(100):
            if verb == "check":
                await host.check("messages.send.x", token)
            else:
                await host.call("messages.send.x", b"", token)
        return "done"

    settings = RuntimeSettings(host_calls_per_s=20)
    async with open_world(
        ALLOWED,
        manifest("sibling"),
        plugins=asking(ask),
        settings=settings,
        host_functions={"messages.send.*": send},
    ) as world:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.session().execute_text, "echo-tool", "ask")
            await wait_all_tasks_blocked()
            await world.session().execute_text("sibling", "echo")
            assert trio.current_time() - began < 0.1
        assert trio.current_time() - began == pytest.approx(4, abs=0.1)


async def kv(host: HostFunctions, token: str, verb: str, **payload: object) -> object:
    answer = await host.call(f"kv.{verb}", json.dumps(payload).encode(), token)
    return json.loads(answer)


async def test_a_plugin_remembers_by_kv_apart_for_each_workspace() -> None:
    async def ask(host: HostFunctions, token: str) -> str:
        before = await kv(host, token, "get", key="n")
        assert isinstance(before, dict)
        count = (before["value"] or 0) + 1
        assert await kv(host, token, "set", key="n", value=count) == {}
        assert await kv(host, token, "list", prefix="") == {"keys": ["n"]}
        return str(count)

    async with open_world(ALLOWED, plugins=asking(ask)) as world:
        first, second = alice(world.runtime), alice(world.runtime, workspace_id="ws-2")
        counts = [await one.execute_text("echo-tool", "ask") for one in (first, first, second)]
    assert counts == ["1", "2", "1"]


async def test_kv_forgets_what_is_deleted_and_holds_its_bound() -> None:
    async def ask(host: HostFunctions, token: str) -> str:
        await kv(host, token, "set", key="a", value="x" * 50)
        with pytest.raises(HostFunctionFailedError, match="LimitExceededError"):
            await kv(host, token, "set", key="b", value="x" * 50)
        await kv(host, token, "set", key="a", value="y" * 60)  # replaces, so it fits
        assert await kv(host, token, "delete", key="a") == {"deleted": True}
        assert await kv(host, token, "delete", key="a") == {"deleted": False}
        await kv(host, token, "set", key="b", value="x" * 50)
        return "done"

    settings = RuntimeSettings(kv_bytes_per_plugin=100)
    async with open_world(ALLOWED, plugins=asking(ask), settings=settings) as world:
        assert await world.session().execute_text("echo-tool", "ask") == "done"


@pytest.mark.parametrize(
    ("capability", "payload"),
    [
        ("kv.get", b"not json"),
        ("kv.get", b"[]"),
        ("kv.get", b"{}"),
        ("kv.get", b'{"key": 5}'),
        ("kv.get", b'{"key": ""}'),
        ("kv.get", b'{"key": "\\ud800"}'),
        ("kv.set", b'{"key": "a"}'),
        ("kv.get", json.dumps({"key": "k" * 513}).encode()),
        ("kv.get", b"[" * 100_000),
        ("kv.list", b'{"prefix": 3}'),
        ("log.write", b'{"message": 3}'),
    ],
)
async def test_a_bad_payload_of_a_built_in_function_fails_the_call_only(
    capability: str, payload: bytes
) -> None:
    async def ask(host: HostFunctions, token: str) -> str:
        with pytest.raises(HostFunctionFailedError, match="PayloadError"):
            await host.call(capability, payload, token)
        return "failed"

    async with open_world(ALLOWED, plugins=asking(ask)) as world:
        assert await world.session().execute_text("echo-tool", "ask") == "failed"


async def test_kv_needs_the_manifests_word() -> None:
    async def ask(host: HostFunctions, token: str) -> str:
        with pytest.raises(HostFunctionFailedError):
            await kv(host, token, "get", key="a")
        return "refused"

    without = manifest(capabilities=("tool.*", "kv.*"), kv=False)
    async with open_world(without, plugins=asking(ask)) as world:
        assert await world.session().execute_text("echo-tool", "ask") == "refused"


async def test_kv_on_disk_outlives_the_runtime(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def ask(host: HostFunctions, token: str) -> str:
        before = await kv(host, token, "get", key="n")
        await kv(host, token, "set", key="n", value="kept")
        return json.dumps(before)

    from sigil_actors.testing.fake_tier import FakeTier

    state = tmp_path_factory.mktemp("state")
    answers = []
    for _ in range(2):
        async with open_runtime(
            manifests=[(ALLOWED, None)],
            audit_store=MemoryAuditStore(),
            tiers=[FakeTier(asking(ask))],
            state_dir=state,
        ) as runtime:
            await runtime.wait_until_running("echo-tool")
            answers.append(await alice(runtime).execute_text("echo-tool", "ask"))
    assert json.loads(answers[0]) == {"found": False, "value": None}
    assert json.loads(answers[1]) == {"found": True, "value": "kept"}
    assert (state / "kv.sqlite3").stat().st_mode & 0o077 == 0


async def test_a_plugin_reads_its_own_configuration() -> None:
    from sigil_actors.testing.fake_tier import FakeTier

    async def ask(host: HostFunctions, token: str) -> str:
        return (await host.call("config.read.self", b"", token)).decode()

    async with open_runtime(
        manifests=[(manifest(), None)],
        audit_store=MemoryAuditStore(),
        tiers=[FakeTier(asking(ask))],
        configs={"echo-tool": {"greeting": "hello"}, "other": {"secret": "no"}},
    ) as runtime:
        await runtime.wait_until_running("echo-tool")
        answer = await alice(runtime).execute_text("echo-tool", "ask")
    assert json.loads(answer) == {"greeting": "hello"}


async def test_a_plugins_log_is_escaped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")

    async def ask(host: HostFunctions, token: str) -> str:
        message = {"level": "error", "message": "first\x1b[31m\nsecond \u202e %s"}
        await host.call("log.write", json.dumps(message).encode(), token)
        return "logged"

    async with open_world(ALLOWED, plugins=asking(ask)) as world:
        await world.session().execute_text("echo-tool", "ask")
    lines = [r.getMessage() for r in caplog.records if r.name == "sigil_actors.plugin.echo-tool"]
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    assert lines[1].endswith("%s")


# Calling back: chains of plugins


def chained(functions_target: dict[str, str]) -> tuple[dict[str, FakePlugin], Script]:
    async def tool(request: ExecuteRequest, host: HostFunctions) -> AsyncGenerator[str]:
        yield (await host.call("chain.next", b"", request.session_id)).decode()

    plugins = {name: FakePlugin(tools={"go": tool}, calls_at_once=1) for name in functions_target}
    return plugins, tool


CHAINED = ("tool.*", "chain.*")


async def test_a_call_that_would_reenter_its_own_instance_fails(autojump_clock: MockClock) -> None:
    """A calls B calls A, and A takes one call at a time: it would wait for itself."""
    following = {"a": "b", "b": "a"}
    plugins, _ = chained(following)
    errors: list[PluginCallError] = []

    async def next_(call: HostCall) -> bytes:
        assert call.session is not None
        try:
            text = await call.session.execute_text(following[call.plugin], "go")
        except PluginCallError as error:
            errors.append(error)
            return b"refused"
        return text.encode()

    manifests = [manifest(name, capabilities=CHAINED) for name in following]
    async with open_world(
        *manifests, plugins=plugins, host_functions={"chain.next": next_}
    ) as world:
        assert await world.session().execute_text("a", "go") == "refused"
    assert [error.reason for error in errors] == ["reentrant"]


async def test_two_chains_that_would_wait_for_each_other_dont(autojump_clock: MockClock) -> None:
    """One holds A and wants B, the other holds B and wants A."""
    following = {"a": "b", "b": "a"}
    plugins, _ = chained(following)

    async def next_(call: HostCall) -> bytes:
        assert call.session is not None
        await trio.sleep(1)  # so that both hold their own before they want the other's
        try:
            text = await call.session.execute_text(following[call.plugin], "go")
        except PluginCallError as error:
            return error.reason.encode()
        return text.encode()

    answers: dict[str, str] = {}
    manifests = [manifest(name, capabilities=CHAINED) for name in following]
    async with open_world(
        *manifests, plugins=plugins, host_functions={"chain.next": next_}
    ) as world:

        async def call(name: str) -> None:
            answers[name] = await world.session().execute_text(name, "go")

        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call, "a")
                nursery.start_soon(call, "b")
    assert set(answers.values()) == {"reentrant"}


async def test_a_chain_of_calls_has_an_end(autojump_clock: MockClock) -> None:
    plugins, tool = chained({"a": "a"})
    plugins = {"a": FakePlugin(tools={"go": tool})}  # takes any number of calls
    depth = 0

    async def next_(call: HostCall) -> bytes:
        nonlocal depth
        depth += 1
        assert call.session is not None
        try:
            return (await call.session.execute_text("a", "go")).encode()
        except PluginCallError as error:
            return error.reason.encode()

    async with open_world(
        manifest("a", capabilities=CHAINED),
        plugins=plugins,
        host_functions={"chain.next": next_},
        settings=RuntimeSettings(call_depth=5),
    ) as world:
        assert "5 deep" in await world.session().execute_text("a", "go")
    assert depth == 5


async def test_a_chain_that_began_before_a_drain_is_still_admitted(
    autojump_clock: MockClock,
) -> None:
    following = {"a": "b", "b": "c"}
    plugins, _ = chained(following)
    plugins["c"] = FakePlugin()

    async def next_(call: HostCall) -> bytes:
        assert call.session is not None
        await trio.sleep(1)
        target = following[call.plugin]
        tool = "echo" if target == "c" else "go"
        return (await call.session.execute_text(target, tool)).encode()

    async def hold(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
        await trio.sleep(5)
        yield "held"

    plugins["c"] = FakePlugin(tools={"echo": hold, "hold": hold})
    manifests = [manifest(name, capabilities=CHAINED) for name in ("a", "b", "c")]
    async with open_world(
        *manifests, plugins=plugins, host_functions={"chain.next": next_}
    ) as world:
        answers: list[str] = []

        async def call(name: str, tool: str) -> None:
            answers.append(await world.session().execute_text(name, tool))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "c", "hold")  # keeps the drain from being over at once
            nursery.start_soon(call, "a", "go")
            await wait_all_tasks_blocked()
            await world.runtime.drain("c")
        assert answers == ["held", "held"]


async def test_a_session_of_a_call_ends_with_the_call() -> None:
    kept: list[HostCall] = []

    async def keep(call: HostCall) -> bytes:
        kept.append(call)
        return b"kept"

    async def ask(host: HostFunctions, token: str) -> str:
        return (await host.call("messages.send.x", b"", token)).decode()

    async with open_world(
        ALLOWED, plugins=asking(ask), host_functions={"messages.send.*": keep}
    ) as world:
        assert await world.session().execute_text("echo-tool", "ask") == "kept"
        session = kept[0].session
        assert session is not None
        with pytest.raises(PluginCallError, match="has ended"):
            await session.execute_text("echo-tool", "ask")


async def test_a_payload_that_would_hold_up_the_loop_is_refused_unread() -> None:
    async def ask(host: HostFunctions, token: str) -> str:
        for payload in (b"{}" + b" " * 20_000, b"[" + b"[]," * 10_000 + b"0]"):
            with pytest.raises(HostFunctionFailedError, match="PayloadError"):
                await host.call("kv.get", payload, token)
        return "refused"

    async with open_world(ALLOWED, plugins=asking(ask)) as world:
        assert await world.session().execute_text("echo-tool", "ask") == "refused"
