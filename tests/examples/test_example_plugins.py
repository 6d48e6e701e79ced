"""The example plugins do what they say, in the real tier."""

import json
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from sigil_actors.core.calls import ExecuteRequest
from sigil_actors.core.manifest_yaml import parse_manifest
from sigil_actors.core.policy import DenyReason
from sigil_actors.errors import (
    CapabilityDeniedError,
    GuestTrapError,
    LimitExceededError,
    ManifestError,
    PluginCallError,
)
from sigil_actors.ports.tier import Launch, TierSession
from sigil_actors.tiers.wasm import WasmTier

PLUGINS = Path(__file__).resolve().parents[2] / "examples" / "plugins"


@attrs.define
class KvHost:
    """Grants what is in `granted`; has a key-value store."""

    granted: frozenset[str] = frozenset({"kv.get", "kv.set"})
    kept: dict[str, object] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list)

    async def call(self, capability: str, payload: bytes, session_id: str) -> bytes:
        assert session_id == "token"
        self.asked.append(capability)
        if capability not in self.granted:
            raise CapabilityDeniedError(
                plugin="p", capability=capability, reason="plugin_allow_missing"
            )
        arguments = json.loads(payload)
        key = arguments["key"]
        if capability == "kv.get":
            answer = {"found": key in self.kept, "value": self.kept.get(key)}
        else:
            self.kept[key] = arguments["value"]
            answer = {}
        return json.dumps(answer).encode()

    async def check(self, capability: str, session_id: str) -> DenyReason:
        assert session_id == "token"
        if capability in self.granted:
            return DenyReason.OK
        return DenyReason.PLUGIN_ALLOW_MISSING


@asynccontextmanager
async def open_example(name: str, host: KvHost | None = None) -> AsyncGenerator[TierSession]:
    manifest = parse_manifest((PLUGINS / name / "plugin.yaml").read_bytes())
    launch = Launch(
        plugin=name,
        generation=1,
        manifest=manifest,
        folder=PLUGINS / name,
        host=host or KvHost(),
        log=lambda _level, _text: None,
    )
    async with WasmTier().open(launch) as session:
        await session.init({})
        yield session


async def call(session: TierSession, tool: str, **arguments: object) -> list[str]:
    request = ExecuteRequest(tool_name=tool, arguments=json.dumps(arguments), session_id="token")
    async with session.execute(request) as chunks:
        return [piece async for piece in chunks]


@pytest.mark.parametrize("name", ["text-tool", "notes", "greedy", "crasher", "endless"])
async def test_every_tool_is_one_that_the_manifest_lists(name: str) -> None:
    manifest = parse_manifest((PLUGINS / name / "plugin.yaml").read_bytes())
    async with open_example(name) as session:
        tools = await session.describe()
        assert {f"tool.{tool.name}" for tool in tools} == {
            capability for capability in manifest.capabilities if capability.startswith("tool.")
        }
        assert all(tool.input_schema["type"] == "object" for tool in tools)
        assert (await session.health()).status == "healthy"
        with pytest.raises(PluginCallError, match="no such tool"):
            await call(session, "nonsense")
        assert await session.shutdown(grace_s=5)


TEXT = (
    "The cat \u2014 naïve, Ünïcode \u2014 saw the dog.\nThe\tdog\r\n"
    '\n"ran" \\ \u0001 \U0001f600 the'
)


async def test_the_text_tool_counts() -> None:
    async with open_example("text-tool") as session:
        pieces = await call(session, "stats", text=TEXT, top=2)
    assert pieces == [
        "lines: 4\n",
        "words: 12\n",
        f"characters: {len(TEXT)}\n",
        "different words: 8\n",
        "  the: 4\n",
        "  dog: 2\n",
    ]


async def test_the_text_tool_agrees_with_python_on_megabytes_within_its_bounds() -> None:
    words = [f"word{number * number % 9973}" for number in range(700_000)]
    text = "\n".join(words)
    assert len(text) > 5_000_000
    frequent = Counter(words).most_common(3)
    async with open_example("text-tool") as session:
        began = time.monotonic()
        pieces = await call(session, "stats", text=text, top=3)
        took_s = time.monotonic() - began
    assert pieces[1:3] == ["words: 700000\n", f"characters: {len(text)}\n"]
    assert [piece.split(": ")[1] for piece in pieces[4:]] == [f"{n}\n" for _, n in frequent]
    assert took_s < 5  # it is about half a second


async def test_the_text_tool_copes_with_nothing_and_with_one_endless_word() -> None:
    async with open_example("text-tool") as session:
        assert (await call(session, "stats", text=""))[:2] == ["lines: 0\n", "words: 0\n"]
        pieces = await call(session, "stats", text="x" * 3_000_000)
        assert pieces[-1] == f"  {'x' * 64}: 1\n"
        pieces = await call(session, "stats", text="é" * 31 + "€" * 9)  # 62 bytes, and 3 a piece
        assert pieces[-1] == f"  {'é' * 31}: 1\n"
        assert (await call(session, "stats", text="\ud83d a"))[1] == "words: 2\n"
        found = await call(session, "find", text="€" * 1_000_000, wanted="€")
        assert found == [f"1: {'€' * 166} ...\n"]


async def test_the_text_tool_finds_lines() -> None:
    async with open_example("text-tool") as session:
        assert await call(session, "find", text=TEXT, wanted="DOG") == [
            "1: The cat \u2014 naïve, Ünïcode \u2014 saw the dog.\n",
            "2: The\tdog\r\n",
        ]
        assert await call(session, "find", text=TEXT, wanted="mouse") == ["no line holds it\n"]


async def test_notes_are_remembered_in_the_hosts_store() -> None:
    host = KvHost()
    async with open_example("notes", host) as session:
        assert await call(session, "recall") == ["nothing to recall yet\n"]
        for text in ('say "hi"\n', "Ünïcode \U0001f600"):
            await call(session, "remember", text=text)
    async with open_example("notes", host) as session:  # another instance, the same store
        assert await call(session, "recall") == ['1: say "hi"\n\n', "2: Ünïcode \U0001f600\n"]
    assert host.kept == {"count": 2, "note-1": 'say "hi"\n', "note-2": "Ünïcode \U0001f600"}


async def test_notes_says_so_when_the_store_is_denied() -> None:
    async with open_example("notes", KvHost(granted=frozenset())) as session:
        with pytest.raises(PluginCallError, match="denied the key-value store"):
            await call(session, "remember", text="x")


async def test_notes_of_many_bytes_are_fetched_by_a_second_call() -> None:
    long = "long " * 800
    async with open_example("notes") as session:
        await call(session, "remember", text=long)
        assert await call(session, "recall") == [f"1: {long}\n"]


async def test_the_greedy_one_reports_each_refusal() -> None:
    host = KvHost(granted=frozenset())
    async with open_example("greedy", host) as session:
        pieces = await call(session, "grab")
    assert pieces == [f"{asked}: denied (plugin_allow_missing)\n" for asked in host.asked]
    assert "filesystem.read./etc/shadow" in host.asked


async def test_the_crasher_traps() -> None:
    async with open_example("crasher") as session:
        with pytest.raises(GuestTrapError) as caught:
            await call(session, "crash")
        assert caught.value.trap == "unreachable"
        assert "trapped" in (await session.wait_ended()).reason


async def test_the_endless_one_is_stopped_by_its_bound() -> None:
    async with open_example("endless") as session:
        began = time.monotonic()
        with pytest.raises(LimitExceededError, match="wall clock") as caught:
            await call(session, "spin")
        assert caught.value.key == "execution.wasm.timeout"
        assert time.monotonic() - began < 4


def test_the_broken_one_has_all_of_its_problems_named() -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest((PLUGINS / "broken" / "plugin.yaml").read_bytes())
    assert len(caught.value.problems) == 7
    assert all(problem.line and problem.remedy for problem in caught.value.problems)
