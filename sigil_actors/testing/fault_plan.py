"""A plan of faults: which go wrong where, as one value, made by hand or drawn from a seed.

It makes the tier and wraps the audit store, so that a test needs no more than the plan, and it says
in words what it does, so that a failure can be read.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from sigil_actors.core.calls import Health, HealthStatus
from sigil_actors.ports.audit_store import AuditStore
from sigil_actors.testing.fake_plugin import FakePlugin, scripted_health
from sigil_actors.testing.fake_tier import FakeTier
from sigil_actors.testing.faults import Crash, Fail, Fault, Hang, Slow
from sigil_actors.testing.faulty_audit_store import FaultyAuditStore

DRAWN_WITHIN: Final = 12
"""The highest number of a start, call or question that a drawn fault names: a scenario of some
dozen calls gets there, and most faults come to pass."""

DRAWN_APPENDS: Final = range(4, 40)
"""The appends that a drawn fault names. The first few register the plugins: a log that is down from
the beginning is a case of its own, to be planned by hand."""


@attrs.frozen
class PluginFault:
    """Something that goes wrong with one plugin."""

    plugin: str
    what: str
    """One of start, call, health, shutdown, close."""
    number: int
    """Which one, from 1; 0 for every one."""
    fault: Fault | Health

    @property
    def place(self) -> tuple[str, ...]:
        """Return where it happens; there is one fault at one place."""
        return (self.plugin, self.what, str(self.number))

    def __str__(self) -> str:
        """Say it in words."""
        if isinstance(self.fault, Health):
            return f"{self.plugin}: says that it is {self.fault.status} to question {self.number}"
        which = f"{self.what} {self.number}" if self.number else f"every {self.what}"
        return f"{self.plugin}: {which} {self.fault}"


@attrs.frozen
class AuditFault:
    """Something that goes wrong with the audit store."""

    what: str
    """One of fail, hang, tear, full, opening, slow."""
    number: int
    """Which append or opening, from 1; 0 for every one."""
    seconds: float = 0.0

    @property
    def place(self) -> tuple[str, ...]:
        """Return where it happens. An append that hangs may fail as well."""
        return (self.what, str(self.number))

    def __str__(self) -> str:
        """Say it in words."""
        match self.what:
            case "opening":
                return f"audit log: opening {self.number} fails"
            case "full":
                return f"audit log: the disk is full from append {self.number} on"
            case "slow":
                return f"audit log: every append takes {self.seconds:g} s"
            case verb:
                return f"audit log: append {self.number} {_THIRD_PERSON[verb]}"


_THIRD_PERSON = {"fail": "fails", "hang": "hangs", "tear": "is torn"}


@attrs.frozen
class FaultPlan:
    """Which faults happen where. Immutable: each method returns a plan with one more.

    Numbers count from 1: starts and calls of a plugin over all of its instances, health questions
    of each instance, appends and openings of the audit store over reopenings. Of two faults at one
    place the later one counts.
    """

    faults: tuple[PluginFault | AuditFault, ...] = ()

    # Plugins

    def fail_start(self, plugin: str, number: int) -> "FaultPlan":
        """Have a start refused."""
        return self._with(PluginFault(plugin, "start", number, Fail()))

    def crash_on_start(self, plugin: str, number: int) -> "FaultPlan":
        """Have an instance come up and die before it is initialised."""
        return self._with(PluginFault(plugin, "start", number, Crash()))

    def hang_start(self, plugin: str, number: int) -> "FaultPlan":
        """Have a start never end."""
        return self._with(PluginFault(plugin, "start", number, Hang()))

    def slow_start(self, plugin: str, number: int, seconds: float) -> "FaultPlan":
        """Have a start take so long."""
        return self._with(PluginFault(plugin, "start", number, Slow(seconds)))

    def fail_call(self, plugin: str, number: int) -> "FaultPlan":
        """Have a call answered with an error of the plugin's."""
        return self._with(PluginFault(plugin, "call", number, Fail()))

    def crash_on_call(self, plugin: str, number: int) -> "FaultPlan":
        """Have a call take its instance down."""
        return self._with(PluginFault(plugin, "call", number, Crash()))

    def hang_call(self, plugin: str, number: int) -> "FaultPlan":
        """Have a call never answered."""
        return self._with(PluginFault(plugin, "call", number, Hang()))

    def slow_call(self, plugin: str, number: int, seconds: float) -> "FaultPlan":
        """Have a call answered so much later."""
        return self._with(PluginFault(plugin, "call", number, Slow(seconds)))

    def answer_health(self, plugin: str, number: int, answer: Health | Fault) -> "FaultPlan":
        """Have every instance of a plugin answer its n-th health question like this.

        The first one is asked while it is loaded.
        """
        return self._with(PluginFault(plugin, "health", number, answer))

    def never_shut_down(self, plugin: str) -> "FaultPlan":
        """Have the plugin never answer a shutdown."""
        return self._with(PluginFault(plugin, "shutdown", 0, Hang()))

    def slow_shutdown(self, plugin: str, seconds: float) -> "FaultPlan":
        """Have the plugin take so long to answer a shutdown."""
        return self._with(PluginFault(plugin, "shutdown", 0, Slow(seconds)))

    def slow_close(self, plugin: str, seconds: float) -> "FaultPlan":
        """Have the tier take so long to be rid of an instance."""
        return self._with(PluginFault(plugin, "close", 0, Slow(seconds)))

    # The audit store

    def fail_append(self, number: int) -> "FaultPlan":
        """Have an append raise, with nothing stored."""
        return self._with(AuditFault("fail", number))

    def hang_append(self, number: int) -> "FaultPlan":
        """Have an append hang until it is cancelled or released."""
        return self._with(AuditFault("hang", number))

    def tear_append(self, number: int) -> "FaultPlan":
        """Have an append raise with the first half of its entries stored."""
        return self._with(AuditFault("tear", number))

    def fail_opening(self, number: int) -> "FaultPlan":
        """Have an opening of the store raise; the first one is that of the runtime's start."""
        return self._with(AuditFault("opening", number))

    def fill_disk(self, *, after_appends: int) -> "FaultPlan":
        """Have the disk be full after so many appends, until `FaultyAuditStore.free`."""
        return self._with(AuditFault("full", after_appends + 1))

    def slow_audit(self, seconds: float) -> "FaultPlan":
        """Have every append take so long."""
        return self._with(AuditFault("slow", 0, seconds))

    # What it is for

    @classmethod
    def draw(
        cls, rng: random.Random, *, plugins: Sequence[str], faults_max: int = 6, audit: bool = True
    ) -> "FaultPlan":
        """Return a plan of up to `faults_max` faults, drawn; the same `rng`, the same plan.

        Args:
            rng: What a scenario of `simulate` is given.
            plugins: Whose faults may be drawn; empty for the audit store's alone.
            faults_max: At most so many.
            audit: Whether the audit store may fail too. Of its faults those are drawn after which a
                runtime recovers by itself and with a whole log. Not so a full disk, an append that
                hangs while the runtime stops, and a torn write, by which a store breaks its
                promise: plan those by hand.
        """
        plan = cls()
        for _ in range(rng.randint(0, faults_max)):
            if plugins and (not audit or rng.random() < _PLUGIN_SHARE):
                draw = rng.choice(_PLUGIN_DRAWS)
                plan = draw(plan, rng, rng.choice(list(plugins)))
            elif audit:
                plan = rng.choice(_AUDIT_DRAWS)(plan, rng)
        return plan

    def tier(
        self, plugins: Mapping[str, FakePlugin] | None = None, *, kind: str = "wasm"
    ) -> FakeTier:
        """Return a tier of these plugins, with what the plan has go wrong in them."""
        given = dict(plugins or {})
        named = [fault.plugin for fault in self.faults if isinstance(fault, PluginFault)]
        for name in dict.fromkeys(named):
            given[name] = self._faulty(name, given.get(name, FakePlugin()))
        return FakeTier(given, kind=kind)

    def audit_store(self, store: AuditStore) -> FaultyAuditStore:
        """Return the store with what the plan has go wrong in it."""
        full = self._appends("full")
        slow = [
            fault.seconds
            for fault in self.faults
            if isinstance(fault, AuditFault) and fault.what == "slow"
        ]
        return FaultyAuditStore(
            store,
            fail_appends=self._appends("fail"),
            hang_appends=self._appends("hang"),
            tear_appends=self._appends("tear"),
            fail_openings=self._appends("opening"),
            full_at=min(full, default=None),
            slow_s=slow[-1] if slow else 0.0,
        )

    def describe(self) -> str:
        """Return it for people, a line for each fault that counts."""
        return "\n".join(map(str, self.faults)) or "no faults"

    def _with(self, fault: PluginFault | AuditFault) -> "FaultPlan":
        others = [one for one in self.faults if one.place != fault.place]
        return FaultPlan((*others, fault))

    def _faulty(self, name: str, plugin: FakePlugin) -> FakePlugin:
        starts, calls = dict(plugin.on_start), dict(plugin.on_call)
        health: dict[int, Health | Fault] = {}
        for planned in self.faults:
            if not isinstance(planned, PluginFault) or planned.plugin != name:
                continue
            match planned.what, planned.fault:
                case "start", (Fail() | Crash() | Hang() | Slow()) as fault:
                    starts[planned.number] = fault
                case "call", (Fail() | Crash() | Hang() | Slow()) as fault:
                    calls[planned.number] = fault
                case "health", answer:
                    health[planned.number] = answer
                case "shutdown", Hang():
                    plugin = attrs.evolve(plugin, shutdown_s=math.inf)
                case "shutdown", Slow(seconds):
                    plugin = attrs.evolve(plugin, shutdown_s=seconds)
                case "close", Slow(seconds):
                    plugin = attrs.evolve(plugin, close_s=seconds)
                case _:
                    raise AssertionError(planned)
        if health:
            plugin = attrs.evolve(plugin, health=scripted_health(health, otherwise=plugin.health))
        return attrs.evolve(plugin, on_start=starts, on_call=calls)

    def _appends(self, what: str) -> list[int]:
        return [
            fault.number
            for fault in self.faults
            if isinstance(fault, AuditFault) and fault.what == what
        ]


_PLUGIN_SHARE = 0.7
"""Of the faults that are drawn: there are more ways for plugins to fail than for a log."""


def _number(rng: random.Random) -> int:
    # Low numbers more often: every scenario gets to them.
    return min(rng.randint(1, DRAWN_WITHIN), rng.randint(1, DRAWN_WITHIN))


def _seconds(rng: random.Random) -> float:
    return round(rng.choice([0.1, 1, 10]) * rng.random(), 3)


def _health_answer(rng: random.Random) -> Health | Fault:
    answers: Sequence[Health | Fault] = (
        Health(HealthStatus.DEGRADED, "as drawn"),
        Health(HealthStatus.UNHEALTHY, "as drawn"),
        Hang(),
        Fail(),
        Crash(),
        Slow(_seconds(rng)),
    )
    return rng.choice(answers)


_PLUGIN_DRAWS: Sequence[Callable[[FaultPlan, random.Random, str], FaultPlan]] = (
    lambda plan, rng, plugin: plan.fail_start(plugin, _number(rng)),
    lambda plan, rng, plugin: plan.crash_on_start(plugin, _number(rng)),
    lambda plan, rng, plugin: plan.hang_start(plugin, _number(rng)),
    lambda plan, rng, plugin: plan.slow_start(plugin, _number(rng), _seconds(rng)),
    lambda plan, rng, plugin: plan.fail_call(plugin, _number(rng)),
    lambda plan, rng, plugin: plan.crash_on_call(plugin, _number(rng)),
    lambda plan, rng, plugin: plan.hang_call(plugin, _number(rng)),
    lambda plan, rng, plugin: plan.slow_call(plugin, _number(rng), _seconds(rng)),
    lambda plan, rng, plugin: plan.answer_health(plugin, _number(rng), _health_answer(rng)),
    lambda plan, _rng, plugin: plan.never_shut_down(plugin),
    lambda plan, rng, plugin: plan.slow_shutdown(plugin, _seconds(rng)),
    lambda plan, rng, plugin: plan.slow_close(plugin, min(1.0, _seconds(rng))),
)

_AUDIT_DRAWS: Sequence[Callable[[FaultPlan, random.Random], FaultPlan]] = (
    lambda plan, rng: plan.fail_append(rng.choice(DRAWN_APPENDS)),
    lambda plan, rng: plan.fail_opening(rng.randint(2, 4)),
    lambda plan, rng: plan.slow_audit(rng.choice([0.001, 0.01, 0.1])),
)
