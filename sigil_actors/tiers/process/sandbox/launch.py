"""Starts a plugin in its sandbox: bubblewrap, held until every bound is set, then let go.

bubblewrap's options and environment reach it by descriptors only, since its /proc entry can be read
inside.
"""

import os
import signal
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import trio

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.core.bwrap_args import BwrapOptions, Slot, SlotPurpose, bwrap_options
from sigil_actors.core.host_facts import HostFacts
from sigil_actors.core.sandbox_plan import SandboxPlan
from sigil_actors.core.text import escape_text
from sigil_actors.errors import PluginStartError, SandboxUnavailableError
from sigil_actors.tiers.process.child_process import REAP_S, ChildProcess
from sigil_actors.tiers.process.group_guard import GroupGuard
from sigil_actors.tiers.process.sandbox.bound_folders import check_mounted, open_folders
from sigil_actors.tiers.process.sandbox.bwrap_status import BwrapStatus
from sigil_actors.tiers.process.sandbox.cgroups import Cgroup, CgroupMaker, open_cgroups
from sigil_actors.tiers.process.sandbox.confine.program import confined
from sigil_actors.tiers.process.sandbox.first_process import (
    HeldProcess,
    find_plugin,
    hold_first_process,
)
from sigil_actors.tiers.process.sandbox.gates import Gates, open_gates
from sigil_actors.tiers.process.sandbox.lacks import check_able
from sigil_actors.tiers.process.sandbox.namespace_helper import (
    NamespaceHelper,
    open_namespace_helper,
)
from sigil_actors.tiers.process.sandbox.rlimits import ProcessLimits, process_limits
from sigil_actors.tiers.process.sandbox.sandboxed_program import SandboxedProgram
from sigil_actors.tiers.process.sandbox.write_bound import WRITE_BYTES_MAX, WriteBound
from sigil_actors.tiers.process.spawner import Identity, Spawner

FIRST_S = 5.0
"""Seconds in which bubblewrap makes its namespaces, on the slowest of machines."""

WHY_BYTES_MAX = 4096
"""Of what bubblewrap says when it gives up: a line or two."""

WHY_S = 1.0
"""Seconds in which it has said it: it has ended by then."""


@attrs.frozen(kw_only=True)
class SandboxHost:
    """What a runtime keeps for all of its sandboxes."""

    facts: HostFacts
    spawner: Spawner
    guard: GroupGuard
    helper: NamespaceHelper
    cgroups: CgroupMaker | None
    """None where this machine has none: limits for each process take their place."""


@asynccontextmanager
async def open_sandbox_host(
    facts: HostFacts, *, spawner: Spawner, guard: GroupGuard
) -> AsyncGenerator[SandboxHost, None]:
    """Make ready for sandboxes, as long as the block lasts.

    Raises:
        SandboxUnavailableError: this machine can't make one.
    """
    check_able(facts)
    async with AsyncExitStack() as stack:
        cgroups = None
        if facts.cgroups is not None:
            try:
                cgroups = await stack.enter_async_context(open_cgroups(facts.cgroups))
            except OSError as error:
                raise SandboxUnavailableError(
                    f"groups of processes can't be made after all: {error}",
                    remedy="Look who changed /sys/fs/cgroup since the host was started",
                ) from error
        helper = await stack.enter_async_context(open_namespace_helper(spawner))
        yield SandboxHost(facts=facts, spawner=spawner, guard=guard, helper=helper, cgroups=cgroups)


@asynccontextmanager
async def open_sandboxed_program(
    plan: SandboxPlan,
    *,
    host: SandboxHost,
    identity: Identity | None,
    write_bytes_max: int = WRITE_BYTES_MAX,
) -> AsyncGenerator[SandboxedProgram, None]:
    """Run the plan's command in the plan's sandbox.

    Leaving the block, by any road, leaves no process, descriptor or group of it. It runs as
    `identity`, the host's own user where None; `write_bytes_max` is what its write folders may hold
    together.

    Raises:
        PluginStartError: on entering; says what to change.
        SandboxUnavailableError: on entering; the machine couldn't do it.
    """
    bubblewrap = host.facts.bubblewrap
    if bubblewrap is None:
        raise AssertionError("the host was opened without bubblewrap")
    plan = confined(plan, host.facts)
    options = bwrap_options(plan, bubblewrap)
    limits = process_limits(
        plan.limits,
        counted=frozenset() if host.cgroups is None else host.cgroups.controllers,
        file_bytes=write_bytes_max,
    )
    async with AsyncExitStack() as stack:
        folders = stack.enter_context(
            open_folders(
                plan.plugin,
                (bind for bind in plan.binds() if bind.is_by_descriptor),
                identity=identity,
            )
        )
        bound = _write_bound(plan, folders, write_bytes_max)
        await _check_bound(plan.plugin, bound)
        gates = stack.enter_context(open_gates())
        group = None
        if host.cgroups is not None:
            group = await stack.enter_async_context(host.cgroups.open_group(plan.limits))
        # At the same time, since either takes its milliseconds.
        async with open_bare_nursery() as nursery:
            nursery.start_soon(_make, plan.plugin, group)
            child = await _spawn(plan, options, limits, folders, gates, host, identity)
            await stack.enter_async_context(child)
            stack.enter_context(host.guard.forgetting(child.pid))
            status = BwrapStatus(gates.take_status())
            stack.push_async_callback(status.aclose)
            first = await _first_process(plan.plugin, child, status)
            stack.callback(first.close)
            stack.enter_context(host.guard.watching(first.pid))
            stack.push_async_callback(_end, first, child)
            await gates.wait_complete()
        await _bind(plan.plugin, child, first, group, limits, identity)
        if first.is_over():
            raise await _failure(plan.plugin, child)
        check_mounted(plan.plugin, first.pid, options.unpinned, folders)
        network = os.open(f"/proc/{first.pid}/ns/net", os.O_RDONLY)
        stack.callback(os.close, network)
        listener = None
        if plan.proxy_port is not None:
            listener = await _listen(plan.plugin, host.helper, network, plan.proxy_port)
            stack.push_async_callback(listener.aclose)
        if first.is_over():
            raise await _failure(plan.plugin, child)
        gates.let_go(_filter(options))
        plugin = await find_plugin(first)
        if plugin is not None:
            stack.callback(plugin.close)
        yield SandboxedProgram(
            child=child,
            status=status,
            first=first,
            plugin=plugin,
            group=group,
            network=network,
            helper=host.helper,
            proxy_listener=listener,
            socket_dir=Path(plan.socket_dir or plan.folder),
            socket_uid=os.geteuid() if identity is None else identity.uid,
            bound=bound,
        )


def _write_bound(plan: SandboxPlan, folders: Mapping[str, int], size_bytes_max: int) -> WriteBound:
    writable = (bind.source for bind in plan.binds() if bind.is_writable and not bind.is_pin)
    return WriteBound(
        tuple(folders[source] for source in writable if source != plan.socket_dir),
        size_bytes_max=size_bytes_max,
    )


async def _check_bound(plugin: str, bound: WriteBound) -> None:
    if (what := await bound.look()) is not None:
        raise PluginStartError(
            plugin,
            f"may not start, since {what}",
            remedy="Remove what it doesn't need, or raise settings.write_bytes_per_plugin",
        )


async def _make(plugin: str, group: Cgroup | None) -> None:
    if group is None:
        return
    try:
        await group.make()
    except OSError as error:
        raise SandboxUnavailableError(
            f"no bounded group of processes can be made for the plugin {plugin!r}: {error}",
            remedy="Look who changed /sys/fs/cgroup since the host was started",
        ) from error


def _filter(options: BwrapOptions) -> bytes:
    return next(slot.content for slot in options.slots() if slot.purpose is SlotPurpose.SECCOMP)


# Tells the guard of itself before it can start anything: were it the host's to tell, a host that is
# killed in between would leave a bubblewrap that nobody ends. A shell can name only ten descriptors
# in a redirection, so that the guard's pipe comes as its standard input.
_PREFIX = """set -e
echo "add $$" >&0
exec </dev/null
unset PWD OLDPWD
{limits}
exec "$@"
"""


async def _spawn(
    plan: SandboxPlan,
    options: BwrapOptions,
    limits: ProcessLimits,
    folders: Mapping[str, int],
    gates: Gates,
    host: SandboxHost,
    identity: Identity | None,
) -> ChildProcess:
    if host.facts.bubblewrap is None:
        raise AssertionError("the host was opened without bubblewrap")
    with _filled(options, folders, gates) as numbers:
        arguments = _memory_file("options", options.block(numbers))
        try:
            script = _PREFIX.format(
                limits="\n".join(limits.shell_commands(with_processes=identity is not None))
            )
            return await host.spawner.spawn(
                (
                    *("/bin/sh", "-c", script, "sh"),
                    *(host.facts.bubblewrap.path, "--args", str(arguments), "--"),
                    *plan.command,
                ),
                env={},
                pass_fds=(*numbers.values(), arguments),
                stdin=host.guard.descriptor,
                identity=identity,
            )
        except OSError as error:
            raise SandboxUnavailableError(
                f"no program can be started for the plugin {plan.plugin!r}: {error}",
                remedy="Look whether the machine has processes and memory left",
            ) from error
        finally:
            os.close(arguments)
            gates.close_passed()


@contextmanager
def _filled(
    options: BwrapOptions, folders: Mapping[str, int], gates: Gates
) -> Iterator[Mapping[Slot, int]]:
    """Give each slot its descriptor; those made here are closed with the block."""
    with ExitStack() as made:
        numbers: dict[Slot, int] = {}
        for slot in options.slots():
            match slot.purpose:
                case SlotPurpose.CONTENT:
                    numbers[slot] = _memory_file("content", slot.content)
                    made.callback(os.close, numbers[slot])
                case SlotPurpose.FOLDER:
                    numbers[slot] = folders[slot.path]
                case SlotPurpose.SECCOMP | SlotPurpose.STATUS | SlotPurpose.BLOCK:
                    numbers[slot] = gates.passed()[slot.purpose]
        yield numbers


def _memory_file(name: str, content: bytes) -> int:
    """Return a descriptor of a file that is nowhere, to be read from its start."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


async def _first_process(plugin: str, child: ChildProcess, status: BwrapStatus) -> HeldProcess:
    # Shielded, since who doesn't know it can't end it before its parent, and it would then wait as
    # a zombie for the machine's first process, which in a container may never look. Bounded, though
    # it is told within milliseconds.
    with trio.move_on_after(FIRST_S, shield=True):
        pid = await status.first_process()
        if pid is not None and (first := hold_first_process(pid, child.pid)) is not None:
            return first
    await trio.lowlevel.checkpoint_if_cancelled()
    raise await _failure(plugin, child)


async def _bind(
    plugin: str,
    child: ChildProcess,
    first: HeldProcess,
    group: Cgroup | None,
    limits: ProcessLimits,
    identity: Identity | None,
) -> None:
    try:
        if group is not None:
            await group.attach(first.pid)
        if identity is None:
            limits.bound_processes(first.pid)
    except OSError as error:
        if first.is_over():
            raise await _failure(plugin, child) from error
        raise SandboxUnavailableError(
            f"the plugin {plugin!r} couldn't be bounded: {error}",
            remedy="Look who changed /sys/fs/cgroup since the host was started",
        ) from error


async def _listen(
    plugin: str, helper: NamespaceHelper, network: int, port: int
) -> trio.SocketListener:
    try:
        made = await helper.listen(network, port)
    except OSError as error:
        raise SandboxUnavailableError(
            f"the proxy of the plugin {plugin!r} can't listen in its network namespace: {error}",
            remedy="Look whether the host may enter namespaces of its own",
        ) from error
    return trio.SocketListener(trio.socket.from_stdlib_socket(made))


async def _end(first: HeldProcess, child: ChildProcess) -> None:
    """End all that is in the sandbox, then bubblewrap, and wait until they are gone."""
    first.send_signal(signal.SIGKILL)
    # Shielded, since the processes would be left behind; bounded, since one may be stuck in the
    # kernel, which sees to it when it comes out. In this order, so that nobody is left a zombie.
    with trio.move_on_after(REAP_S, shield=True):
        await first.wait_over()
        await child.wait()
        first.reap()


async def _failure(plugin: str, child: ChildProcess) -> PluginStartError:
    """Return what bubblewrap said when it gave up."""
    said = b""
    with trio.move_on_after(WHY_S):
        while len(said) < WHY_BYTES_MAX and (
            piece := await child.stderr.receive_some(WHY_BYTES_MAX - len(said))
        ):
            said += piece
    why = escape_text(" ".join(said.decode(errors="replace").split())) or "it gave no reason"
    return PluginStartError(
        plugin,
        f"got no sandbox: {why}",
        remedy="sigil-actors doctor tells what this machine lacks, and sigil-actors sandbox what is"
        " asked of it",
    )
