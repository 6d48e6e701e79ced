"""A look into the plugins folder while the runtime runs, and what it leads to."""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TypeAlias

import attrs
import trio

from sigil_actors.actors.mailbox import ActorDownError
from sigil_actors.core.text import escape_text
from sigil_actors.errors import PluginHeldError, SigilError
from sigil_actors.runtime.definition import Definition
from sigil_actors.runtime.discovery import DiscoveryProblem, Found
from sigil_actors.runtime.events import EventKind, Events
from sigil_actors.runtime.manager import Manager
from sigil_actors.runtime.plugin_actor import PluginActor
from sigil_actors.runtime.plugin_orders import ReloadResult
from sigil_actors.runtime.plugin_set import PluginSet

logger = logging.getLogger(__name__)

_REASON_CHARACTERS_MAX = 500
_NAME_SHOWN = 80

_NOT_HOT = "lifecycle.hot_reload is false"


class RescanWord(StrEnum):
    """What became of one plugin."""

    ADDED = "added"
    """It is new, and starts."""
    RELOADED = "reloaded"
    """Its folder changed; the new version serves."""
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    """Its folder is gone; it was drained and forgotten."""
    HELD = "held"
    """It asks for more than the version before; see `PluginStatus.held`."""
    FAILED = "failed"
    """Its new version can't be used; what ran before goes on."""
    SKIPPED = "skipped"
    """It was stopped by somebody and stays so, or takes no changes while it runs."""


@attrs.frozen
class RescanResult:
    """One plugin's part in a rescan."""

    plugin: str
    what: RescanWord
    reason: str = ""
    """Why, where that isn't plain; escaped."""


Step: TypeAlias = Callable[[], Awaitable[RescanResult]]


class Rescan:
    """Brings the plugins that run in line with the folder."""

    def __init__(
        self,
        manager: Manager,
        plugins: PluginSet,
        events: Events,
        *,
        define: Callable[[Found], Definition],
    ) -> None:
        self._manager = manager
        self._plugins = plugins
        self._events = events
        self._define = define
        self._looking = trio.Lock()
        self._steps: dict[str, trio.Lock] = {}
        """One of each plugin at a time, in the order of the looks that they follow from."""

    @property
    def is_under_way(self) -> bool:
        """Whether one is going on."""
        return self._looking.locked() or bool(self._steps)

    async def run(
        self, *, only_hot: bool = False, changed: Collection[str] | None = None
    ) -> tuple[RescanResult, ...]:
        """Look, and do what follows.

        Args:
            only_hot: Leave those alone that take no changes while they run.
            changed: The sub-folders that have changed and come to rest. Others, whose files may be
                on their way, are left alone, but for those that were refused at the last look. All
                of them where it isn't given.

        Returns when all of it is done, by name.
        """
        async with self._looking:
            before = self._from_folder()
            refused = {problem.folder for problem in self._manager.problems}
            await self._manager.discover()
            if self._manager.is_missing and before:
                # Most likely unmounted, or about to be there again: nobody meant all of them.
                return (RescanResult("", RescanWord.FAILED, "the plugins folder isn't there"),)
            found = {one.manifest.name: one for one in self._manager.found}
            gone = {
                name: folder
                for name, folder in before.items()
                if name not in found and not self._is_refused(name, folder)
            }

            def is_looked_at(folder: Path) -> bool:
                # What was refused may be sound now, without having changed: a plugin that it
                # depends on has come, or the other one of its name has gone.
                return changed is None or folder.name in changed or folder in refused

            steps: dict[str, Step] = {}
            for name, folder in gone.items():
                if is_looked_at(folder):
                    steps[name] = partial(self._remove, name, only_hot=only_hot)
            for name, one in found.items():
                if is_looked_at(one.folder):
                    steps[name] = partial(self._take_up, one, only_hot=only_hot)
            failed = [
                self._refuse(problem)
                for problem in self._manager.problems
                if changed is None or problem.folder is None or problem.folder.name in changed
            ]
            turns = {name: self._steps.setdefault(name, trio.Lock()) for name in steps}
        # Not under the lock of the looks: a plugin that takes its time holds up no other one.
        results = [*await self._take(steps, turns, last=gone), *failed]
        return tuple(sorted(results, key=lambda result: result.plugin))

    async def _take(
        self, steps: Mapping[str, Step], turns: Mapping[str, trio.Lock], *, last: Collection[str]
    ) -> list[RescanResult]:
        """Take all steps at once, but those of `last` after those of the plugins that need them."""
        results: list[RescanResult] = []
        taken = {name: trio.Event() for name in steps}
        dependants = self._plugins.dependants()

        async def take(name: str) -> None:
            for dependant in dependants.get(name, ()) if name in last else ():
                if dependant in taken:
                    await taken[dependant].wait()
            try:
                async with turns[name]:
                    results.append(await steps[name]())
            finally:
                waiting = turns[name].statistics().tasks_waiting
                if not waiting and self._steps.get(name) is turns[name]:
                    del self._steps[name]
            taken[name].set()

        async with trio.open_nursery() as nursery:
            for name in steps:
                nursery.start_soon(take, name)
        return results

    def _from_folder(self) -> Mapping[str, Path]:
        """Return the plugins that came out of the folder, each with its own."""
        definitions = [self._plugins.get(name).definition for name in self._plugins.names()]
        return {
            one.name: one.folder
            for one in definitions
            if one.folder is not None and self._is_ours(one)
        }

    def _is_ours(self, definition: Definition) -> bool:
        return (
            definition.is_from_folder
            and definition.folder is not None
            and definition.folder.parent == self._manager.plugins_dir
        )

    def _refuse(self, problem: DiscoveryProblem) -> RescanResult:
        """Make it known that something in the folder can't be used."""
        running = [name for name, folder in self._from_folder().items() if folder == problem.folder]
        shown = "" if problem.folder is None else problem.folder.name
        name = running[0] if running else problem.plugin or escape_text(shown, limit=_NAME_SHOWN)
        reason = escape_text(problem.render(), limit=_REASON_CHARACTERS_MAX)
        actor = self._plugins.find(name)
        if actor is not None and self._is_ours(actor.definition):
            actor.refuse(reason)
        return RescanResult(name, RescanWord.FAILED, reason)

    def _is_refused(self, name: str, folder: Path) -> bool:
        """Tell whether a plugin is there, though not as one that can be used."""
        # Of a folder that can't be read it isn't known what is in it.
        unknown = {folder, self._manager.plugins_dir}
        return any(
            problem.plugin == name or problem.folder in unknown
            for problem in self._manager.problems
        )

    async def _remove(self, name: str, *, only_hot: bool) -> RescanResult:
        actor = self._plugins.find(name)
        if actor is None:  # a look at the same time was first
            return RescanResult(name, RescanWord.REMOVED)
        if only_hot and not actor.definition.manifest.lifecycle.hot_reload:
            return RescanResult(name, RescanWord.SKIPPED, _NOT_HOT)
        try:
            await self._plugins.remove(name)
        except (SigilError, ActorDownError) as error:
            return _failed(name, error)
        self._events.publish(name, EventKind.REMOVED)
        logger.info("plugin %s is gone from the folder, and stopped", name)
        return RescanResult(name, RescanWord.REMOVED)

    async def _take_up(self, one: Found, *, only_hot: bool) -> RescanResult:
        name = one.manifest.name
        actor = self._plugins.find(name)
        if actor is None:
            return self._add(one)
        if actor.definition.folder != one.folder and not self._is_ours(actor.definition):
            return RescanResult(
                name, RescanWord.SKIPPED, "a plugin of its name is given in code as well"
            )
        if only_hot and not actor.definition.manifest.lifecycle.hot_reload:
            return RescanResult(name, RescanWord.SKIPPED, _NOT_HOT)
        return await self._reload(actor, self._define(one))

    def _add(self, one: Found) -> RescanResult:
        name = one.manifest.name
        try:
            actor = self._plugins.add(self._define(one))
        except SigilError as error:
            return _failed(name, error)
        self._events.publish(name, EventKind.ADDED, reason=f"version {one.manifest.version}")
        logger.info("plugin %s is new", name)
        if self._plugins.was_stopped(name):
            return RescanResult(name, RescanWord.SKIPPED, "it was stopped before its folder went")
        actor.start_nowait()
        return RescanResult(name, RescanWord.ADDED)

    async def _reload(self, actor: PluginActor, definition: Definition) -> RescanResult:
        try:
            result = await actor.reload(definition, only_if_changed=True)
        except PluginHeldError as error:
            return RescanResult(actor.name, RescanWord.HELD, "; ".join(error.differences))
        except (SigilError, ActorDownError) as error:
            return _failed(actor.name, error)
        match result:
            case ReloadResult.RELOADED:
                return RescanResult(actor.name, RescanWord.RELOADED)
            case ReloadResult.UNCHANGED:
                return RescanResult(actor.name, RescanWord.UNCHANGED)
            case ReloadResult.SKIPPED:
                return RescanResult(actor.name, RescanWord.SKIPPED, "it is stopped")


def _failed(name: str, error: SigilError) -> RescanResult:
    reason = escape_text(error.what, limit=_REASON_CHARACTERS_MAX)
    return RescanResult(name, RescanWord.FAILED, reason)
