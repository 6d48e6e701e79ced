"""All plugins of one runtime: one actor each, and what the order of dependencies asks of them.

What depends on another starts once that one runs, and stops before it does.
"""

from collections.abc import Callable, Iterable

import attrs
import trio

from sigil_actors.core.dependencies import order_by_dependencies
from sigil_actors.errors import PluginStartError, PluginUnavailableError
from sigil_actors.runtime.definition import Definition
from sigil_actors.runtime.manager import not_found
from sigil_actors.runtime.plugin_actor import PluginActor
from sigil_actors.runtime.stop_order import StopKind


class PluginSet:
    """The actors of a runtime, by the names of their plugins."""

    def __init__(self, new_actor: Callable[[Definition], PluginActor], *, stop_s: float) -> None:
        self._new_actor = new_actor
        self._stop_s = stop_s
        self._actors: dict[str, PluginActor] = {}
        self._scopes: dict[str, trio.CancelScope] = {}
        self._stopped: set[str] = set()
        """Whom somebody stopped and whose folder went then: it isn't started when it comes back."""
        self._nursery: trio.Nursery | None = None
        self._changed = trio.Event()

    def open(self, nursery: trio.Nursery) -> None:
        """Run the actors in `nursery` from now on."""
        self._nursery = nursery

    def close(self) -> None:
        """Take no more plugins; the runtime is going down."""
        self._nursery = None

    def names(self) -> list[str]:
        """Return all names, sorted."""
        return sorted(self._actors)

    def get(self, name: str) -> PluginActor:
        """Return a plugin's actor.

        Raises:
            PluginNotFoundError: there is none of that name.
        """
        try:
            return self._actors[name]
        except KeyError:
            raise not_found(name, list(self._actors)) from None

    def find(self, name: str) -> PluginActor | None:
        """Return a plugin's actor, or None."""
        return self._actors.get(name)

    def add(self, definition: Definition) -> PluginActor:
        """Add a plugin that doesn't run yet.

        Raises:
            PluginUnavailableError: the runtime is going down.
        """
        if self._nursery is None:
            raise PluginUnavailableError(definition.name, "runtime stopping")
        actor = self._new_actor(definition)
        scope = trio.CancelScope()

        @trio.lowlevel.enable_ki_protection
        async def run() -> None:
            with scope:
                await actor.run()

        self._nursery.start_soon(run, name=f"actor {definition.name}")
        self._actors[definition.name] = actor
        self._scopes[definition.name] = scope
        self._notify()
        return actor

    async def remove(self, name: str) -> None:
        """Drain a plugin and forget it."""
        actor = self._actors[name]
        if actor.is_stopped:
            self._stopped.add(name)
        await actor.stop(StopKind.DRAIN)
        if self._actors.get(name) is actor:
            del self._actors[name]
            self._scopes.pop(name).cancel()
            self._notify()

    def was_stopped(self, name: str) -> bool:
        """Tell, once, whether somebody had stopped a plugin before it was removed."""
        was = name in self._stopped
        self._stopped.discard(name)
        return was

    async def wait_for(self, definition: Definition, tell: Callable[[str, str], None]) -> None:
        """Wait until all that a plugin depends on runs.

        `tell` hears each time whom it waits for, and why that one won't come by itself, if so.
        """
        while (missing := self._missing(definition)) is not None:
            actor = self._actors.get(missing)
            if actor is None:
                tell(missing, "isn't there")
                await self._changed.wait()
            else:
                tell(missing, actor.why_not_coming)
                await actor.wait_changed()

    def _missing(self, definition: Definition) -> str | None:
        for name in definition.manifest.dependencies:
            actor = self._actors.get(name)
            if actor is None or not actor.is_running:
                return name
        return None

    async def stop_all(self, kind: StopKind) -> None:
        """End all of them: what depends on another before that one, unless it is to go fast."""
        self.close()
        waits_for = self.dependants() if kind is not StopKind.KILL else {}
        gone = {name: trio.Event() for name in self._actors}

        @trio.lowlevel.enable_ki_protection
        async def stop(name: str, actor: PluginActor) -> None:
            for dependant in waits_for.get(name, ()):
                await gone[dependant].wait()
            await actor.stop(kind)
            gone[name].set()

        async with trio.open_nursery() as nursery:
            for name, actor in self._actors.items():
                nursery.start_soon(stop, name, actor)

    def stop_bound_s(self) -> float:
        """Return what stopping all of them in order takes at most, without the last resort's."""
        waits_for = self.dependants()
        bounds: dict[str, float] = {}

        def bound_s(name: str) -> float:
            if name not in bounds:
                lifecycle = self._actors[name].definition.manifest.lifecycle
                own_s = max(lifecycle.graceful_shutdown_timeout, self._stop_s)
                before_s = max(map(bound_s, waits_for.get(name, ())), default=0.0)
                # Each one on the way has steps of its own after its drain.
                bounds[name] = own_s + (before_s + self._stop_s if before_s else 0.0)
            return bounds[name]

        return max(map(bound_s, self._actors), default=self._stop_s)

    def dependants(self) -> dict[str, list[str]]:
        """Return for each plugin who depends on it; nobody who is in a circle."""
        manifests = [actor.definition.manifest for actor in self._actors.values()]
        # What isn't there any more has nobody to wait for, but the rest of its order holds.
        known = [
            attrs.evolve(
                one, dependencies=dict.fromkeys(one.dependencies.keys() & self._actors, "*")
            )
            for one in manifests
        ]
        ordered, _problems = order_by_dependencies(known)
        dependants: dict[str, list[str]] = {}
        for manifest in ordered:
            for name in manifest.dependencies:
                dependants.setdefault(name, []).append(manifest.name)
        return dependants

    def _notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


def check_definitions(definitions: Iterable[Definition]) -> None:
    """Check plugins that are to be started together.

    Raises:
        PluginStartError: two have one name, or one depends on what isn't there.
    """
    seen: set[str] = set()
    manifests = []
    for definition in definitions:
        if definition.name in seen:
            raise PluginStartError(
                definition.name,
                "is there twice: given in code, or in the plugins folder as well",
                remedy="Take out one of them",
            )
        seen.add(definition.name)
        manifests.append(definition.manifest)
    _ordered, problems = order_by_dependencies(manifests)
    for name, what in sorted(problems.items()):
        raise PluginStartError(
            name, f"can't be started: {what}", remedy="Give what it depends on as well"
        )
