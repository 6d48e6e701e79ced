"""The example plugins in Python do what they say, in the sandbox of the process tier."""

import json
import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from sigil_actors.core.calls import ExecuteRequest
from sigil_actors.core.channel_calls import SendRequest
from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.manifest_yaml import parse_manifest
from sigil_actors.core.policy import DenyReason
from sigil_actors.errors import CapabilityDeniedError, PluginCallError
from sigil_actors.ports.egress import EgressAttempt, EgressEnd
from sigil_actors.ports.tier import Launch, TierSession
from sigil_actors.tiers.process.tier import ProcessTier
from tests.sdk.plugin_python import ROOT, PluginPython, copy_packages
from tests.tiers.process.world import UIDS, Log

EXAMPLES = ROOT / "examples" / "python-plugins"
PAGE = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"

MANIFEST = """\
name: python-tool
version: 1.0.0
type: tool
execution: {{tier: process, command: [{base}, tool.py], env: {{PYTHONPATH: packages}}}}
"""


@attrs.define
class KvHost:
    """Has a key-value store for whoever has the token."""

    kept: dict[str, object] = attrs.field(factory=dict)

    async def call(self, capability: str, payload: bytes, session_id: str) -> bytes:
        if session_id != "token":
            raise CapabilityDeniedError(
                plugin="p", capability=capability, reason=DenyReason.USER_PERMISSION_MISSING
            )
        arguments = json.loads(payload)
        key = arguments["key"]
        if capability == "kv.get":
            answer = {"found": key in self.kept, "value": self.kept.get(key)}
        else:
            self.kept[key] = arguments["value"]
            answer = {}
        return json.dumps(answer).encode()

    async def check(self, _capability: str, session_id: str) -> DenyReason:
        return DenyReason.OK if session_id == "token" else DenyReason.USER_PERMISSION_MISSING


@attrs.define
class Gate:
    """Decides as the proxy does, and remembers what for."""

    asked: list[tuple[str, EgressReason]] = attrs.field(factory=list)

    async def decide(self, attempt: EgressAttempt) -> EgressReason:
        self.asked.append((f"{attempt.host}:{attempt.port}", attempt.reason))
        return attempt.reason

    def record_end(self, end: EgressEnd) -> None:
        """Let it go."""


@attrs.define
class Example:
    """One example in its sandbox."""

    session: TierSession
    log: Log
    gate: Gate

    async def call(self, tool: str, *, token: str = "token", **arguments: object) -> list[str]:
        request = ExecuteRequest(tool_name=tool, arguments=json.dumps(arguments), session_id=token)
        async with self.session.execute(request) as chunks:
            return [piece async for piece in chunks]


@pytest.fixture
def shared(sandbox: None) -> Iterator[Path]:
    """Give a folder that every user may read, as a snapshot is."""
    folder = Path(tempfile.mkdtemp(prefix="sigil-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@asynccontextmanager
async def opened(
    name: str, shared: Path, python: PluginPython, *, allow: str = "", manifest: str = ""
) -> AsyncGenerator[Example]:
    folder = shared / name
    shutil.copytree(EXAMPLES / name, folder, dirs_exist_ok=True)
    text = manifest or python.put_into((folder / "plugin.yaml").read_text())
    text = text.replace("example.com:80", allow) if allow else text
    log, gate = Log(), Gate()
    launch = Launch(
        plugin=name,
        generation=1,
        manifest=parse_manifest(text),
        folder=folder,
        host=KvHost(),
        log=log,
        egress=gate,
    )
    async with ProcessTier(uids=UIDS) as tier, tier.open(launch) as session:
        await session.init({})
        yield Example(session, log, gate)


async def test_the_tool_counts_spells_and_keeps_notes_for_its_caller(
    shared: Path, plugin_python: PluginPython
) -> None:
    async with opened("python-tool", shared, plugin_python) as example:
        (answer,) = await example.call("count", text="a b a")
        assert json.loads(answer) == [["a", 2], ["b", 1]]
        assert await example.call("spell", text="abc") == ["a", "b", "c"]
        assert await example.call("note", text="first") == ["(none)"]
        assert await example.call("note", text="second") == ["first"]
        with pytest.raises(PluginCallError, match="I may not keep notes for you"):
            await example.call("note", text="third", token="another")
        assert ("info", "python-tool: counted: words=3") in example.log.entries
        described = await example.session.describe()
        assert [tool.name for tool in described] == ["count", "spell", "note"]


async def test_packages_in_its_own_folder_will_do(
    shared: Path, plugin_python: PluginPython
) -> None:
    if not plugin_python.base.is_relative_to("/usr"):
        pytest.skip("the interpreter isn't where every sandbox shows it")
    copy_packages(shared / "python-tool" / "packages")
    manifest = MANIFEST.format(base=plugin_python.base)
    async with opened("python-tool", shared, plugin_python, manifest=manifest) as example:
        assert await example.call("spell", text="abc") == ["a", "b", "c"]


async def test_the_channel_says_what_it_was_sent(shared: Path, plugin_python: PluginPython) -> None:
    async with opened("python-channel", shared, plugin_python) as example:
        async with example.session.listen(session_id="token") as messages:
            sent = await example.session.send(
                SendRequest(channel_id="lobby", content="hello"), session_id="token"
            )
            with trio.fail_after(5):
                message = await anext(messages)
        assert (sent.platform_message_id, message.message_id) == ("m1", "m1")
        assert (message.channel_id, message.content) == ("lobby", "hello")
        assert message.sender is not None
        assert message.sender.display_name == "The echo"


async def serve_page(stream: trio.SocketStream) -> None:
    await stream.receive_some(65_536)
    await stream.send_all(PAGE)


async def test_the_fetcher_reaches_the_one_address_that_it_may(
    shared: Path, plugin_python: PluginPython
) -> None:
    async with trio.open_nursery() as nursery:
        # Of this machine's own, but none that programs leave a proxy out for.
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.2")
        port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, serve_page, [listener])
        allowed, refused = f"127.0.0.2:{port}", f"127.0.0.3:{port}"
        async with opened("python-fetch", shared, plugin_python, allow=allowed) as example:
            assert await example.call("fetch", url=f"http://{allowed}/") == ["hello"]
            with pytest.raises(PluginCallError, match=f"403: {EgressReason.TARGET_NOT_ALLOWED}"):
                await example.call("fetch", url=f"http://{refused}/")
            with pytest.raises(PluginCallError, match="403"):
                await example.call("fetch", url=f"https://{refused}/")
            # Around the proxy there is nothing.
            with pytest.raises(PluginCallError, match="refused"):
                await example.call("fetch", url=f"http://127.0.0.1:{port}/")
            reasons = dict(example.gate.asked)
            assert reasons[allowed] is EgressReason.OK
            assert reasons[refused] is not EgressReason.OK
        nursery.cancel_scope.cancel()
