"""What all instances of the process tier share, made when the first one needs it."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import attrs
import trio

from sigil_actors.errors import SandboxUnavailableError, SigilError
from sigil_actors.tiers.process.group_guard import GroupGuard, open_group_guard
from sigil_actors.tiers.process.sandbox.launch import SandboxHost, open_sandbox_host
from sigil_actors.tiers.process.sandbox.probe import probe_host
from sigil_actors.tiers.process.socket_dir import SocketDirs, open_socket_dirs
from sigil_actors.tiers.process.spawner import Identity, Spawner


@attrs.frozen(kw_only=True)
class Workshop:
    """The tools by which instances are made."""

    spawner: Spawner
    guard: GroupGuard
    socket_dirs: SocketDirs
    sandbox: SandboxHost | None
    """None: the plugins run without one, since somebody said so."""


@asynccontextmanager
async def open_workshop(
    *, with_sandbox: bool, identity: Identity | None
) -> AsyncGenerator[Workshop, None]:
    """Give the tools for as long as the block lasts. `identity` is as whom sandboxes are tried.

    Raises:
        SandboxUnavailableError: on entering; this machine can't make a sandbox.
    """
    async with AsyncExitStack() as stack:
        facts = await probe_host(identity) if with_sandbox else None
        spawner = await stack.enter_async_context(Spawner())
        try:
            guard = await stack.enter_async_context(open_group_guard(spawner))
            await guard.wait_started()
            socket_dirs = await stack.enter_async_context(open_socket_dirs())
        except OSError as error:
            raise SandboxUnavailableError(
                f"this machine can't run programs as plugins: {error}",
                remedy="It takes a /bin/sh, and a temporary folder that can be written",
            ) from error
        sandbox = None
        if facts is not None:
            sandbox = await stack.enter_async_context(
                open_sandbox_host(facts, spawner=spawner, guard=guard)
            )
        yield Workshop(spawner=spawner, guard=guard, socket_dirs=socket_dirs, sandbox=sandbox)


class WorkshopKeeper:
    """Opens the workshop when it is first asked for, in a task of its own, and keeps it.

    A machine on which no plugin of this tier is ever started is neither probed nor given a thread.
    """

    def __init__(self, *, with_sandbox: bool, identity: Identity | None) -> None:
        self._with_sandbox = with_sandbox
        self._identity = identity
        self._wanted = trio.Event()
        self._settled = trio.Event()
        self._workshop: Workshop | None = None
        self._error: SigilError | None = None

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Keep it until cancelled."""
        await self._wanted.wait()
        try:
            async with open_workshop(
                with_sandbox=self._with_sandbox, identity=self._identity
            ) as self._workshop:
                self._settled.set()
                await trio.sleep_forever()
        except SandboxUnavailableError as error:
            # For whoever asked, and not for the runtime: other tiers go on.
            self._error = error
            self._settled.set()
            await trio.sleep_forever()

    async def get(self) -> Workshop:
        """Return it, once it is there.

        Raises:
            SandboxUnavailableError: it can't be; a machine is tried once.
        """
        self._wanted.set()
        await self._settled.wait()
        if self._error is not None:
            # A fresh one each time: an error collects where it was raised.
            raise SandboxUnavailableError(self._error.what, remedy=self._error.remedy)
        if self._workshop is None:
            raise AssertionError("settled without a workshop")
        return self._workshop
