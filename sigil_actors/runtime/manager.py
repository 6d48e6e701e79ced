"""The manager: discovers plugins and knows which should run, in which version."""

import difflib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path

from sigil_actors.core.manifest import Manifest
from sigil_actors.errors import PluginNotFoundError
from sigil_actors.runtime.discovery import Discovery, DiscoveryProblem, Found, discover
from sigil_actors.runtime.enforcer import Enforcer


class Manager:
    """Knows the plugins of one folder. Made by `open_manager`, or by `open_runtime`."""

    def __init__(
        self, plugins_dir: Path | None, enforcer: Enforcer | None, *, tiers: Sequence[str] = ()
    ) -> None:
        """Make one that registers what it finds with `enforcer`, if it is given one.

        A runtime's doesn't: there, what may run is registered when it does. `tiers` are the words
        of those that the application brings.
        """
        self.plugins_dir = plugins_dir
        self._tiers = tuple(tiers)
        self._enforcer = enforcer
        self._discovery = Discovery(found=(), problems=())

    async def discover(self) -> list[Manifest]:
        """Look into the folder; register what is sound, report what isn't in `problems`.

        What was registered by an earlier look and is gone now is registered no longer.
        """
        before = {one.manifest.name for one in self._discovery.found}
        if self.plugins_dir is not None:
            self._discovery = await discover(self.plugins_dir, tiers=self._tiers)
        if self._enforcer is not None:
            await self._register(self._enforcer, before)
        return self.list()

    async def _register(self, enforcer: Enforcer, before: set[str]) -> None:
        for one in self._discovery.found:
            manifest = one.manifest
            await enforcer.register_plugin(
                manifest.name, manifest.capabilities, manifest.deny_capabilities
            )
            before.discard(manifest.name)
        for gone in sorted(before):
            await enforcer.unregister_plugin(gone)

    @property
    def is_missing(self) -> bool:
        """Whether the folder wasn't there at the last look."""
        return self._discovery.is_missing

    @property
    def problems(self) -> tuple[DiscoveryProblem, ...]:
        """Return what the last look found and couldn't use."""
        return self._discovery.problems

    @property
    def found(self) -> tuple[Found, ...]:
        """Return what the last look found, what depends on another after it."""
        return self._discovery.found

    def get(self, name: str) -> Manifest:
        """Return a plugin's manifest.

        Raises:
            PluginNotFoundError: the last look found none of that name.
        """
        for one in self._discovery.found:
            if one.manifest.name == name:
                return one.manifest
        names = [one.manifest.name for one in self._discovery.found]
        raise not_found(name, names)

    def list(self) -> list[Manifest]:
        """Return all manifests that the last look found, by name."""
        return sorted(
            (one.manifest for one in self._discovery.found), key=lambda manifest: manifest.name
        )


def not_found(name: str, names: "list[str]") -> PluginNotFoundError:
    """Return the error for a plugin that isn't known, with the names that look like it."""
    near = difflib.get_close_matches(name[:64], names, n=3, cutoff=0.5)
    return PluginNotFoundError(name, near=near, known=len(names))


@asynccontextmanager
async def open_manager(
    plugins_dir: str | PathLike[str], enforcer: Enforcer
) -> AsyncGenerator[Manager]:
    """Open a manager by itself, without a runtime; call `discover` to have it look."""
    manager = Manager(Path(plugins_dir), enforcer)
    try:
        yield manager
    finally:
        for manifest in manager.list():
            await enforcer.unregister_plugin(manifest.name)
