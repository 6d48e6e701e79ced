"""A plugin's program in its sandbox, as a `RunningProgram`."""

import signal
import socket
from contextlib import suppress
from pathlib import Path

import trio

from sigil_actors.core.calls import Usage
from sigil_actors.tiers.process.child_process import ChildProcess
from sigil_actors.tiers.process.program import ProgramEnd
from sigil_actors.tiers.process.sandbox.bwrap_status import SIGNAL_STATUS, BwrapStatus
from sigil_actors.tiers.process.sandbox.cgroups import Cgroup
from sigil_actors.tiers.process.sandbox.first_process import HeldProcess
from sigil_actors.tiers.process.sandbox.namespace_helper import NamespaceHelper
from sigil_actors.tiers.process.sandbox.write_bound import WriteBound


class SandboxedProgram:
    """What `open_sandboxed_program` gives; whatever it holds is closed with that block.

    The bound on its write folders is watched for as long as somebody waits for its end.
    """

    def __init__(
        self,
        *,
        child: ChildProcess,
        status: BwrapStatus,
        first: HeldProcess,
        plugin: HeldProcess | None,
        group: Cgroup | None,
        network: int,
        helper: NamespaceHelper,
        proxy_listener: trio.SocketListener | None,
        socket_dir: Path,
        socket_uid: int,
        bound: WriteBound,
    ) -> None:
        self._child = child
        self._status = status
        self._first = first
        self._plugin = plugin
        self._group = group
        self._network = network
        self._helper = helper
        self._proxy_listener = proxy_listener
        self._socket_dir = socket_dir
        self._socket_uid = socket_uid
        self._bound = bound
        self._end: ProgramEnd | None = None
        self._waiting = trio.Lock()
        self._passed_bound = ""

    @property
    def pid(self) -> int:
        """Return the plugin's own process; bubblewrap's where that has ended already."""
        return (self._plugin or self._first).pid

    @property
    def stdout(self) -> trio.abc.ReceiveStream:
        """Return its standard output."""
        return self._child.stdout

    @property
    def stderr(self) -> trio.abc.ReceiveStream:
        """Return its standard error."""
        return self._child.stderr

    @property
    def socket_dir(self) -> Path:
        """Return the folder for its sockets."""
        return self._socket_dir

    @property
    def socket_uid(self) -> int:
        """Return the uid that its sockets belong to."""
        return self._socket_uid

    @property
    def proxy_listener(self) -> trio.SocketListener | None:
        """Return where its way out is to be served: it listens on the sandbox's own loopback.

        Who connects there is this plugin, since nobody else can. None where it has no network.
        """
        return self._proxy_listener

    async def connect_tcp(self, port: int) -> socket.socket:
        """Return a connected, non-blocking socket to 127.0.0.1:`port` of the sandbox."""
        return await self._helper.connect(self._network, port)

    async def wait(self) -> ProgramEnd:
        """Wait until it has ended, and all that it started with it."""
        async with self._waiting:
            if self._end is None:
                wrapper = await self._wait_over()
                code = await self._status.exit_code()
                if code is None:
                    # The program couldn't be executed, or bubblewrap was ended itself.
                    code = wrapper.exit_status
                memory_kills = 0 if self._group is None else self._group.memory_kills()
                self._end = _program_end(code, memory_kills, self._passed_bound)
            return self._end

    async def _wait_over(self) -> ProgramEnd:
        """Return how bubblewrap ended, once nothing of the sandbox is there any more."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_bound)
            # bubblewrap ends with the plugin, and with that the sandbox.
            wrapper = await self._child.wait()
            self._first.send_signal(signal.SIGKILL)  # where bubblewrap was ended itself
            await self._first.wait_over()
            nursery.cancel_scope.cancel()
        return wrapper

    async def _watch_bound(self) -> None:
        self._passed_bound = await self._bound.wait_passed()
        self.kill()

    def terminate(self) -> None:
        """Send SIGTERM to the plugin itself: bubblewrap would end it outright."""
        if self._plugin is not None:
            self._plugin.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the sandbox with all that is in it.

        bubblewrap itself ends with it; killed too, it would leave a zombie to the machine's first
        process.
        """
        self._first.send_signal(signal.SIGKILL)
        if self._group is not None:
            self._group.kill()

    def usage(self) -> Usage | None:
        """Return what it uses, or None where the machine can't tell."""
        return None if self._group is None else self._group.usage()


def _program_end(code: int | None, memory_kills: int, passed_bound: str) -> ProgramEnd:
    if code is None:
        end = ProgramEnd(signal=signal.SIGKILL)
    else:
        end = ProgramEnd(exit_status=code)
        with suppress(ValueError):
            end = ProgramEnd(signal=signal.Signals(code - SIGNAL_STATUS))
    return ProgramEnd(
        exit_status=end.exit_status,
        signal=end.signal,
        # One that ends well although something of it was killed has coped with that.
        out_of_memory=memory_kills > 0 and end.exit_status != 0,
        passed_bound=passed_bound,
    )
