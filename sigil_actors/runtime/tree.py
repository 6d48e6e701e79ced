"""The supervision tree at one moment: who is whose supervisor, and how each of them is."""

from collections.abc import Iterator
from enum import StrEnum

import attrs

from sigil_actors.actors.mailbox import MailboxStatistics
from sigil_actors.core.wording import counted


class NodeKind(StrEnum):
    """What stands at a place of the tree."""

    SUPERVISOR = "supervisor"
    ACTOR = "actor"
    INSTANCE = "instance"
    """One generation of a plugin, in its tier."""


@attrs.frozen(kw_only=True)
class TreeNode:
    """One supervisor, actor or instance. All text from plugins is escaped."""

    name: str
    kind: NodeKind
    state: str
    """A word; of plugins and instances, one of `PluginState`."""
    generation: int = 0
    """Of an instance or its plugin; 0 for the others and before the first."""
    in_flight: int = 0
    """Calls that are in it."""
    restarts: int = 0
    mailbox: MailboxStatistics | None = None
    """None for what takes no messages."""
    last_error: str = ""
    """How it, or what it supervises, ended by itself last; empty where it never did."""
    children: tuple["TreeNode", ...] = ()

    def walk(self) -> Iterator["TreeNode"]:
        """Yield it and everything below it, from the top down."""
        yield self
        for child in self.children:
            yield from child.walk()

    def find(self, name: str) -> "TreeNode | None":
        """Return the first node of that name at or below it."""
        return next((node for node in self.walk() if node.name == name), None)

    def lines(self) -> Iterator[str]:
        """Yield it for people, a line a node, in the form of a tree."""
        yield self._line()
        for child in self.children:
            is_last = child is self.children[-1]
            first, *rest = child.lines()
            yield f"{'└─ ' if is_last else '├─ '}{first}"
            yield from (f"{'   ' if is_last else '│  '}{line}" for line in rest)

    def _line(self) -> str:
        parts = [self.name, self.state]
        if self.in_flight:
            parts.append(f"{self.in_flight} in flight")
        if self.restarts:
            parts.append(counted(self.restarts, "restart"))
        if self.mailbox is not None and (self.mailbox.waiting or self.mailbox.orders):
            parts.append(f"{self.mailbox.waiting + self.mailbox.orders} waiting")
        if self.mailbox is not None and self.mailbox.dead_letters:
            parts.append(counted(self.mailbox.dead_letters, "dead letter"))
        if self.last_error:
            parts.append(f"last error: {self.last_error}")
        return "  ".join(parts)
