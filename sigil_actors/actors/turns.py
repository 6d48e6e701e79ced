"""Whose turn it is: who is to be stopped, and then who is to be started, one at a time, in order.

Belongs to a supervisor; knows nothing of why.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterable

import attrs

from sigil_actors.actors.supervised_child import SupervisedChild


@attrs.define(eq=False)
class Turns:
    """The two queues of a supervisor's conductor."""

    to_start: deque[SupervisedChild] = attrs.field(factory=deque)
    """The next one first."""
    to_stop: list[SupervisedChild] = attrs.field(factory=list)
    """The next one last: a stop goes the other way round."""

    def set_due(self, child: SupervisedChild) -> None:
        """Have a child started when all that are due before it are settled."""
        child.is_due = True
        if not self.to_start or self.to_start[-1].position < child.position:
            self.to_start.append(child)
        else:
            insort(self.to_start, child, key=_position)

    def set_not_due(self, child: SupervisedChild) -> None:
        """Have it not started after all."""
        if child.is_due:
            child.is_due = False
            self.to_start.remove(child)

    def next_to_start(self) -> SupervisedChild:
        """Take the one whose turn it is."""
        child = self.to_start.popleft()
        child.is_due = False
        return child

    def doom(self, children: Iterable[SupervisedChild]) -> None:
        """Have those stopped that are live, with those that are to be stopped already."""
        for child in children:
            if child.is_live and not child.is_doomed:
                child.is_doomed = True
                self.to_stop.append(child)
        self.to_stop.sort(key=_position)

    def next_to_stop(self) -> SupervisedChild | None:
        """Return the one that the others wait for; None where nobody is to be stopped."""
        while self.to_stop and not self.to_stop[-1].is_live:
            self.to_stop.pop()
        return self.to_stop[-1] if self.to_stop else None


def _position(child: SupervisedChild) -> int:
    return child.position
