"""As whom each plugin runs, where the host is root: a uid that is its own, and stays so."""

import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager

from sigil_actors.errors import PluginStartError
from sigil_actors.tiers.process.spawner import Identity


class PluginUids:
    """Gives each plugin a uid of a range, and no uid to two plugins at the same time."""

    def __init__(self, first: int, count: int) -> None:
        self._first = first
        self._count = count
        self._users: dict[int, list[str]] = {}

    @contextmanager
    def identity_of(self, plugin: str) -> Generator[Identity | None, None, None]:
        """Give the identity of a plugin for as long as the block lasts; None: the host's own.

        Raises:
            PluginStartError: another plugin that runs has the same one.
        """
        if os.geteuid() != 0:
            yield None
            return
        uid = self.uid_of(plugin)
        users = self._users.setdefault(uid, [])
        if users and users[0] != plugin:
            raise PluginStartError(
                plugin,
                f"would run with the uid {uid}, as the plugin {users[0]!r} does",
                remedy="Rename one of them, or give settings.plugin_uids another range",
            )
        users.append(plugin)
        try:
            yield Identity(uid=uid, gid=uid)
        finally:
            users.pop()
            if not users:
                del self._users[uid]

    def tried_identity(self) -> Identity | None:
        """Return as whom to try what plugins will need; None: as the host's own."""
        return Identity(uid=self._first, gid=self._first) if os.geteuid() == 0 else None

    def uid_of(self, plugin: str) -> int:
        """Return the uid that is made from a plugin's name."""
        digest = hashlib.sha256(plugin.encode()).digest()
        return self._first + int.from_bytes(digest[:8]) % self._count
