"""The rounds: somebody is killed at some moment, and then nothing may be left of it.

One temporary folder and one place for groups of processes serve all rounds, and no one else: what
a killed host leaves in them, the next start has to sweep.
"""

import json
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import trio

from sigil_actors.core.host_facts import CgroupVersion
from sigil_actors.tiers.process.sandbox.cgroup_probe import probe_cgroups
from sigil_actors.tiers.process.sandbox.cgroups import _sweep
from tests.orphans.processes import Process, below, kill_if_still, reap_orphans, subreaper
from tests.orphans.victims import PLUGIN_ENDS, VICTIMS

ROOT = Path(__file__).resolve().parents[2]

GONE_S = 5.0
"""Seconds until all is gone: a hundred times what it takes."""

FOUND_S = 10.0
"""Seconds in which a busy host has what is looked for."""

TELL_S = 40.0
"""Seconds in which a host answers; its own bound is half of that."""

MOMENT_S = 0.12
"""Seconds of being busy in which the moment lies: some starts, stops and tens of calls."""

REST = 5
"""Looks that have to be the same."""

HOST_SHARE = 0.45
"""Of rounds in which it is the host that is killed; half of these while it is starting."""


class LeftBehindError(Exception):
    """Something was left, or didn't come back."""


@attrs.define(kw_only=True)
class Tally:
    """What was done."""

    rounds: int = 0
    killed: Counter[str] = attrs.field(factory=Counter)
    swept: int = 0
    """Folders and groups of killed hosts that the next start removed."""


@attrs.define(kw_only=True)
class Host:
    """A host that runs."""

    process: trio.Process
    mode: str
    said: bytes = b""
    """What it said beyond the line that was read last."""
    usual: Sequence[str] = ()
    """What it has open while nothing happens."""

    @property
    def pid(self) -> int:
        return self.process.pid

    async def order(self, word: str) -> None:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(f"{word}\n".encode())

    async def ask(self, word: str) -> dict[str, object]:
        await self.order(word)
        return await self.hear()

    async def hear(self) -> dict[str, object]:
        with trio.move_on_after(TELL_S):
            return await self._line()
        raise LeftBehindError(f"the host says nothing for {TELL_S:g} s")

    async def _line(self) -> dict[str, object]:
        assert self.process.stdout is not None
        while b"\n" not in self.said:
            piece = await self.process.stdout.receive_some()
            if not piece:
                raise LeftBehindError("the host has ended by itself")
            self.said += piece
        line, _, self.said = self.said.partition(b"\n")
        told: dict[str, object] = json.loads(line)
        return told


@attrs.define(kw_only=True)
class Rounds:
    """Runs them."""

    seed: int
    plugin: Path
    """The folder with the program."""
    scratch: Path
    """Where temporary folders of hosts are."""
    state: Path
    bases: tuple[Path, ...]
    """Where their groups of processes are."""
    say: Callable[[str], None]
    start_s: float = 1.0
    """What the last start took."""
    tally: Tally = attrs.field(factory=Tally)
    left: set[Path] = attrs.field(factory=set)
    """What killed hosts have left, for the next start to sweep."""
    host: Host | None = None

    async def run(self, first: int, count: int) -> None:
        """Run rounds by their numbers, then have the last host end well.

        Raises:
            LeftBehindError: one found something.
        """
        try:
            for number in range(first, first + count):
                await self._run_noted(number)
                self.tally.rounds += 1
            await self._end_well()
        finally:
            if self.host is not None:
                self.host.process.kill()
                await self.host.process.wait()

    async def _run_noted(self, number: int) -> None:
        moments = random.Random(f"{self.seed} {number}")
        try:
            await self._round(number, moments)
        except LeftBehindError as error:
            raise LeftBehindError(
                f"round {number} of seed {self.seed}: {error}\n"
                f"again: python -m tests.orphans --seed {self.seed} --first {number} --rounds 1"
            ) from error

    async def _round(self, number: int, moments: random.Random) -> None:
        mode = moments.choice(("boxed", "boxed", "plain"))
        keeps_state = moments.random() < 0.5
        if self.host is None and moments.random() < HOST_SHARE / 2:
            await self._kill_starting(number, mode, moments, keeps_state=keeps_state)
            return
        if self.host is None:
            self.host = await self._start(mode, moments, keeps_state=keeps_state)
        activity = moments.choice(("calls", "churn"))
        await self.host.order(activity)
        if moments.random() < HOST_SHARE:
            await trio.sleep(moments.random() * MOMENT_S)
            self.say(f"{number}: the host ({self.host.mode}) in {activity}")
            self.tally.killed[f"host in {activity}"] += 1
            await self._kill_host()
            return
        victim = moments.choice(sorted(VICTIMS[self.host.mode]))
        who = await self._kill_one(self.host, victim, moments)
        self.say(f"{number}: {victim} ({self.host.mode}) in {activity}: {who.name}")
        self.tally.killed[victim] += 1
        told = await self._settle(self.host)
        if activity == "calls" and victim != "anybody":
            _check_crashes(victim, told)
        await self._check_family(self.host)

    async def _start(self, mode: str, moments: random.Random, *, keeps_state: bool) -> Host:
        began = trio.current_time()
        host = await self._spawn(mode, moments, keeps_state=keeps_state)
        self.host = host  # to be ended, whatever comes of the rest
        await self._hear_settled(host)
        self.start_s = trio.current_time() - began
        host.usual = await _count_at_rest(host)
        # Who makes no sandbox needs no groups, and doesn't look for any.
        due = {path for path in self.left if mode == "boxed" or path.parent == self.scratch}
        if still := [path for path in due if path.exists()]:
            raise LeftBehindError(f"the next start has left {_shown(still)}")
        self.tally.swept += len(due)
        self.left -= due
        return host

    async def _spawn(self, mode: str, moments: random.Random, *, keeps_state: bool) -> Host:
        command = [
            *(sys.executable, "-m", "tests.orphans.host", mode, str(moments.getrandbits(32))),
            *(str(self.plugin), *([str(self.state)] if keeps_state else [])),
        ]
        with (self.scratch.parent / "host.log").open("ab") as log:
            process = await trio.lowlevel.open_process(
                command,
                stdin=-1,
                stdout=-1,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "TMPDIR": str(self.scratch)},
            )
        host = Host(process=process, mode=mode)
        await host.order("settle")
        return host

    async def _kill_starting(
        self, number: int, mode: str, moments: random.Random, *, keeps_state: bool
    ) -> None:
        self.host = await self._spawn(mode, moments, keeps_state=keeps_state)
        # The first part is the interpreter's.
        await trio.sleep(self.start_s * (0.3 + 0.9 * moments.random()))
        self.say(f"{number}: the host ({mode}) while it is starting")
        self.tally.killed["host at its start"] += 1
        await self._kill_host()

    async def _kill_host(self) -> None:
        assert self.host is not None
        process, self.host = self.host.process, None
        process.kill()
        await process.wait()
        await process.stdin.aclose() if process.stdin is not None else None
        await process.stdout.aclose() if process.stdout is not None else None
        await _until(lambda: below(os.getpid()), "outlives its host")
        if bound := _bound_sockets(self.scratch):
            raise LeftBehindError(f"sockets outlive their host: {bound}")
        self.left |= {*self._files(), *self._groups()}

    async def _kill_one(self, host: Host, victim: str, moments: random.Random) -> Process:
        find = VICTIMS[host.mode][victim]
        with trio.move_on_after(FOUND_S):
            await trio.sleep(moments.random() * MOMENT_S)
            while True:
                found = find(host.pid, below(host.pid))
                if found and kill_if_still(who := moments.choice(found), host.pid):
                    return who
                await trio.sleep(0.001)
        raise LeftBehindError(f"there is no {victim} to kill: {_told(below(host.pid))}")

    async def _settle(self, host: Host) -> dict[str, object]:
        await host.order("settle")
        return await self._hear_settled(host)

    async def _hear_settled(self, host: Host) -> dict[str, object]:
        told = await host.hear()
        if told["problem"]:
            raise LeftBehindError(f"{told['problem']}: {_told(below(host.pid))}")
        return told

    async def _check_family(self, host: Host) -> None:
        family = {process.pid for process in below(host.pid)} | {host.pid}
        await _until(
            lambda: [
                process
                for process in below(os.getpid())
                if process.pid not in family | {found.pid for found in below(host.pid)}
            ],
            "is nobody's",
            but=host.pid,
        )
        now: Sequence[str] = ()
        with trio.move_on_after(GONE_S):
            while True:
                now = await _count(host)
                if _kinds(now) == _kinds(host.usual):
                    return
                await trio.sleep(0.01)
        more, less = _kinds(now) - _kinds(host.usual), _kinds(host.usual) - _kinds(now)
        raise LeftBehindError(
            f"{dict(more)} more and {dict(less)} fewer descriptors than before:\n"
            f"before {host.usual}\nnow {now}"
        )

    async def _end_well(self) -> None:
        """End the last host in order: nothing at all is left then."""
        if self.host is None or self.left:
            if self.host is not None:
                await self._kill_host()
            await self._start("boxed", random.Random(self.seed), keeps_state=True)
        host = self.host
        assert host is not None
        told = await host.ask("quit")
        with trio.move_on_after(GONE_S):
            await host.process.wait()
        if told["children"] or host.process.returncode != 0:
            raise LeftBehindError(f"ended with {told} and status {host.process.returncode}")
        await _until(lambda: below(os.getpid()), "outlives the last host")
        if left := [*self._files(), *self._groups()]:
            raise LeftBehindError(f"the last host has left {_shown(left)}")

    def _files(self) -> list[Path]:
        return list(self.scratch.iterdir())

    def _groups(self) -> list[Path]:
        return [path for base in self.bases for path in base.glob("sigil-*")]


def _check_crashes(victim: str, told: Mapping[str, object]) -> None:
    crashes = told["crashes"]
    assert isinstance(crashes, list)
    if victim not in PLUGIN_ENDS:
        if crashes:
            raise LeftBehindError(f"the plugin crashed with the {victim}: {crashes}")
    elif not crashes or not all(has_last_words for _, has_last_words in crashes):
        raise LeftBehindError(f"no crash was told with the plugin's last words: {crashes}")


async def _count(host: Host) -> Sequence[str]:
    found = (await host.ask("count"))["descriptors"]
    assert isinstance(found, list)
    return found


async def _count_at_rest(host: Host) -> Sequence[str]:
    """Return what is open once that has been the same for a while."""
    seen: list[Sequence[str]] = []
    with trio.move_on_after(GONE_S):
        while len(seen) < REST or len({*map(str, seen[-REST:])}) > 1:
            seen.append(await _count(host))
            await trio.sleep(0.02)
    return seen[-1]


def _kinds(names: Sequence[str]) -> Counter[str]:
    return Counter("file" if name.startswith("/") else name.partition(":")[0] for name in names)


async def _until(
    find: Callable[[], Sequence[Process]], what: str, *, but: int | None = None
) -> None:
    """Wait until nobody is found any more."""
    found: Sequence[Process] = ()
    with trio.move_on_after(GONE_S):
        while True:
            reap_orphans(but=but)
            found = find()
            if not found:
                return
            await trio.sleep(0.002)
    raise LeftBehindError(f"{what}: {_told(found)}")


def _told(processes: Sequence[Process]) -> str:
    return "; ".join(
        f"{process.pid} (of {process.parent}) {process.name}{' Z' * process.is_zombie}:"
        f" {process.arguments}"
        for process in processes
    )


def _shown(paths: list[Path]) -> str:
    return ", ".join(map(str, paths))


def _bound_sockets(folder: Path) -> list[str]:
    lines = Path("/proc/net/unix").read_text().splitlines()
    return [line for line in lines if f"{folder}/" in line]


@contextmanager
def own_groups() -> Iterator[tuple[Path, ...]]:
    """Have all groups of processes that hosts make in groups of this program's own.

    Where that can't be (version 2 wants no processes there), they are where all others' are.
    """
    facts = probe_cgroups()
    bases = set() if facts is None else set(map(Path, facts.folders.values()))
    if facts is None or facts.version is CgroupVersion.V2:
        yield ()
        return
    name = f"orphans-{os.getpid()}"
    try:
        for base in bases:
            (base / name).mkdir()
            (base / name / "cgroup.procs").write_text(str(os.getpid()))
        yield tuple(base / name for base in bases)
    finally:
        for base in bases:
            if (base / name).is_dir():
                (base / "cgroup.procs").write_text(str(os.getpid()))
                _sweep({base / name})
                (base / name).rmdir()


@asynccontextmanager
async def open_rounds(
    seed: int, program: Path, say: Callable[[str], None]
) -> AsyncIterator[Rounds]:
    """Make ready for rounds with a plugin's program."""
    with (
        tempfile.TemporaryDirectory(prefix="sigil-test-") as root,
        subreaper(),
        own_groups() as bases,
    ):
        folder = Path(root).resolve()
        folder.chmod(0o755)
        for name in ("plugin", "tmp"):
            (folder / name).mkdir()
            (folder / name).chmod(0o755)
        (folder / "plugin" / "it").write_bytes(program.read_bytes())
        (folder / "plugin" / "it").chmod(0o755)
        yield Rounds(
            seed=seed,
            plugin=folder / "plugin",
            scratch=folder / "tmp",
            state=folder / "state",
            bases=bases,
            say=say,
        )
