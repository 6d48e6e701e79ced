"""Plugins in the process tier, with and without a sandbox, as a runtime would open them."""

import shutil
import tempfile
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs

from sigil_actors.core.execution import PluginType, ProcessExecution, SandboxPolicy
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.policy import DenyReason
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.ports.tier import Launch, TierSession
from sigil_actors.tiers.process.plugin_uids import PluginUids
from sigil_actors.tiers.process.sandbox.write_bound import WRITE_BYTES_MAX
from sigil_actors.tiers.process.tier import ProcessTier

NAME = "it"

UIDS = PluginUids(1_902_000_000, 1000)


class Host:
    """A host that answers a call with what it was asked, and allows only `kv.*`."""

    async def call(self, capability: str, payload: bytes, session_id: str) -> bytes:
        """Repeat it."""
        return f"{capability} {payload.decode()} {session_id}".encode()

    async def check(self, capability: str, session_id: str) -> DenyReason:
        """Allow some."""
        del session_id
        return DenyReason.OK if capability.startswith("kv.") else DenyReason.PLUGIN_ALLOW_MISSING


class Log:
    """A `PluginLog` that keeps what it is told."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str]] = []

    def __call__(self, level: str, text: str) -> None:
        """Keep it."""
        self.entries.append((str(level), text))


@attrs.define(kw_only=True)
class World:
    """One tier, and the folder of one plugin."""

    tier: ProcessTier
    folder: Path
    log: Log = attrs.field(factory=Log)
    host: HostFunctions = attrs.field(factory=Host)

    def launch(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        start_timeout: float = 20,
        sha256: str | None = None,
        sandbox: SandboxPolicy | None = None,
    ) -> Launch:
        """Return a launch of a command, by default of the program `it`."""
        execution = ProcessExecution(
            command=command,
            env=env or {},
            start_timeout=start_timeout,
            sha256=sha256,
            sandbox=sandbox or SandboxPolicy(),
        )
        return Launch(
            plugin=NAME,
            generation=1,
            manifest=Manifest(
                name=NAME, version="1.0.0", type=PluginType.TOOL, execution=execution
            ),
            folder=self.folder,
            host=self.host,
            log=self.log,
        )

    @asynccontextmanager
    async def session(
        self, launch: Launch | None = None, config: JsonObject | None = None
    ) -> AsyncGenerator[TierSession]:
        """Open a session and hand over the configuration."""
        async with self.tier.open(launch or self.launch()) as session:
            await session.init(config or {})
            yield session

    def write(self, script: str) -> None:
        """Make the program a script."""
        program = self.folder / NAME
        program.unlink(missing_ok=True)
        program.write_text(script)
        program.chmod(0o755)


@contextmanager
def shared_folder(program: Path | None) -> Iterator[Path]:
    """Give a plugin's folder as a snapshot is: to be read by anybody, also by another uid."""
    folder = Path(tempfile.mkdtemp(prefix="sigil-test-"))
    folder.chmod(0o755)
    try:
        if program is not None:
            shutil.copy(program, folder / NAME)
        yield folder
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def open_world(
    program: Path | None = None,
    *,
    is_sandboxed: bool = False,
    auto_mtls: bool = False,
    write_bytes_max: int = WRITE_BYTES_MAX,
) -> AsyncGenerator[World]:
    """Give a tier and a folder with the program in it."""
    tier = ProcessTier(
        uids=UIDS,
        unsafe_no_sandbox=not is_sandboxed,
        auto_mtls=auto_mtls,
        write_bytes_max=write_bytes_max,
    )
    with shared_folder(program) as folder:
        async with tier:
            yield World(tier=tier, folder=folder)


def leftovers() -> set[str]:
    """Return the names of what tiers keep in the temporary folder."""
    return {path.name for path in Path(tempfile.gettempdir()).glob("sigil-run-*")}
