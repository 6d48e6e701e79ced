"""Where what plugins remember by `kv.*` is kept."""

from collections.abc import Sequence
from typing import Protocol

import attrs


@attrs.frozen
class KvScope:
    """Whose keys: one plugin's within one workspace. No plugin and no workspace sees another's."""

    plugin: str
    workspace_id: str


class KvStore(Protocol):
    """Keys and values, both text, apart for each plugin and workspace.

    A write that returned stays.
    """

    async def get(self, scope: KvScope, key: str) -> str | None:
        """Return the value, or None where there is none."""

    async def set(self, scope: KvScope, key: str, value: str, *, bytes_max: int) -> None:
        """Keep a value.

        Raises:
            LimitExceededError: the plugin would hold more than `bytes_max` over all workspaces.
        """

    async def delete(self, scope: KvScope, key: str) -> bool:
        """Forget a key; tell whether it was there."""

    async def list_keys(self, scope: KvScope, prefix: str, *, limit: int) -> Sequence[str]:
        """Return the keys that begin with `prefix`, sorted, at most `limit`."""
