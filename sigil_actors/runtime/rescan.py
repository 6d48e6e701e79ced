"""A look into the plugins folder while the runtime runs, and what it leads to."""

import logging
from collections.abc import Callable, Mapping
from enum import StrEnum

import attrs
import trio

from sigil_actors.actors.mailbox import ActorDownError
from sigil_actors.core.text import escape_text
from sigil_actors.errors import PluginHeldError, SigilError
from sigil_actors.runtime.definition import Definition
from sigil_actors.runtime.discovery import Found
from sigil_actors.runtime.events import EventKind, Events
from sigil_actors.runtime.manager import Manager
from sigil_actors.runtime.plugin_actor import PluginActor, ReloadResult
from sigil_actors.runtime.plugin_set import PluginSet

logger = logging.getLogger(__name__)

_REASON_CHARACTERS_MAX = 500


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
        self._one_at_a_time = trio.Lock()

    @property
    def is_under_way(self) -> bool:
        """Whether one is going on."""
        return self._one_at_a_time.locked()

    async def run(self, *, only_hot: bool = False) -> tuple[RescanResult, ...]:
        """Look, and do what follows; with `only_hot` for those alone that may change while running.

        Returns when all of it is done, by name.
        """
        async with self._one_at_a_time:
            before = set(self._from_folder())
            await self._manager.discover()
            found = {one.manifest.name: one for one in self._manager.found}
            # One whose manifest has become bad, or whose folder can't be read, goes on running.
            kept = {problem.plugin for problem in self._manager.problems} | {
                name
                for name, folder in self._from_folder().items()
                if any(problem.file.startswith(folder) for problem in self._manager.problems)
            }
            results: list[RescanResult] = []
            async with trio.open_nursery() as nursery:
                for name in sorted(before - found.keys() - kept):
                    nursery.start_soon(self._remove, name, results)
                for one in found.values():
                    nursery.start_soon(self._take_up, one, only_hot, results)
            return tuple(sorted(results, key=lambda result: result.plugin))

    def _from_folder(self) -> Mapping[str, str]:
        """Return the plugins that came out of the folder, each with its own."""
        definitions = [self._plugins.get(name).definition for name in self._plugins.names()]
        root = self._manager.plugins_dir
        return {
            one.name: str(one.folder)
            for one in definitions
            if one.is_from_folder and one.folder is not None and one.folder.parent == root
        }

    async def _remove(self, name: str, results: list[RescanResult]) -> None:
        try:
            await self._plugins.remove(name)
        except (SigilError, ActorDownError) as error:
            results.append(_failed(name, error))
            return
        self._events.publish(name, EventKind.REMOVED)
        logger.info("plugin %s is gone from the folder, and stopped", name)
        results.append(RescanResult(name, RescanWord.REMOVED))

    async def _take_up(self, one: Found, only_hot: bool, results: list[RescanResult]) -> None:  # noqa: FBT001
        name = one.manifest.name
        actor = self._plugins.find(name)
        if actor is None:
            try:
                actor = self._plugins.add(self._define(one))
            except SigilError as error:
                results.append(_failed(name, error))
                return
            self._events.publish(name, EventKind.ADDED, reason=f"version {one.manifest.version}")
            logger.info("plugin %s is new", name)
            actor.start_nowait()
            results.append(RescanResult(name, RescanWord.ADDED))
            return
        if actor.definition.folder != one.folder:
            what = "is given in code as well" if not actor.definition.is_from_folder else "moved"
            results.append(RescanResult(name, RescanWord.SKIPPED, f"a plugin of its name {what}"))
        elif only_hot and not actor.definition.manifest.lifecycle.hot_reload:
            results.append(RescanResult(name, RescanWord.SKIPPED, "lifecycle.hot_reload is false"))
        else:
            results.append(await self._reload(actor, self._define(one)))

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
