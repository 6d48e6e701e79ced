"""Which version of a plugin has which part: serves, is about to take over, finishes its calls.

A look at it, and why it takes no calls, follow from that; who plays which part is the actor's to
decide.
"""

from enum import StrEnum

import trio

from sigil_actors.actors.mailbox import MailboxStatistics
from sigil_actors.core.lifecycle import PluginState
from sigil_actors.errors import PluginUnavailableError
from sigil_actors.runtime.chain import Chain
from sigil_actors.runtime.definition import Definition
from sigil_actors.runtime.deployment import Deployment
from sigil_actors.runtime.status import HeldVersion, PluginStatus
from sigil_actors.runtime.tree import NodeKind, TreeNode


class Down(StrEnum):
    """Why nothing of it runs, as the word that callers are told."""

    STOPPED = "stopped"
    """Somebody did that, and only somebody starts it again."""
    ENDED = "ended"
    """By itself, and its restart type says that it stays so."""
    QUARANTINED = "quarantined"
    HELD = "held"


class Roles:
    """The versions of one plugin that live, and what is known of those that don't."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        """What serves, or is started next."""
        self.current: Deployment | None = None
        """What serves, or served last."""
        self.candidate: Deployment | None = None
        """What is about to take over."""
        self.leaving: Deployment | None = None
        """What served before and finishes its calls."""
        self.down = Down.STOPPED
        """Why nothing of it runs, where that is so."""
        self.held: HeldVersion | None = None
        """The version that waits to be approved, where there is one."""
        self.reload_failed = ""
        """Why the newest version isn't what runs; empty where it is."""
        self.last_error = ""
        """How it ended by itself last."""
        self._changed = trio.Event()

    @property
    def name(self) -> str:
        """Return the plugin's name."""
        return self.definition.name

    @property
    def alive(self) -> tuple[Deployment, ...]:
        """Return the versions of which anything is left."""
        parts = (self.current, self.candidate, self.leaving)
        return tuple(one for one in parts if one is not None and not one.is_over)

    @property
    def is_running(self) -> bool:
        """Whether it can be called."""
        return self.current is not None and self.current.is_running

    @property
    def is_swapping_in_place(self) -> bool:
        """Whether what served has made place for what takes over, or comes back since that fails.

        Either way one of the two is about to serve.
        """
        current = self.current
        return current is not None and (current.is_aside or current.is_resuming)

    def notify(self) -> None:
        """Wake who waits for a change."""
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    async def wait_changed(self) -> None:
        """Wait until anything changes."""
        await self._changed.wait()

    def definition_of(self, generation: int) -> Definition:
        """Return what a generation that lives was made from; the one that serves otherwise."""
        for deployment in self.alive:
            if deployment.life.generation == generation:
                return deployment.definition
        return self.definition

    def takes(self, chain: Chain) -> bool:
        """Tell whether a call may enter what serves now."""
        current = self.current
        if current is None:
            return False
        if current.is_running:
            return True
        # A drain finishes what had begun, and that includes what it goes on to call.
        return (
            current.state is PluginState.DRAINING
            and current.drain_began is not None
            and len(chain.plugins) > 1
            and chain.began < current.drain_began
        )

    def unavailable(self) -> PluginUnavailableError:
        """Return what a caller is told that can't be let in."""
        current = self.current
        reason, detail, retry_after_s = "starting", "", None
        if not self.alive:
            reason, detail = str(self.down), self._why_down()
        elif current is None or current.is_over:
            pass  # what takes its place is on its way
        elif current.is_aside:
            reason, retry_after_s = "reloading", 1.0
        elif current.order.kind is not None:
            reason = "draining"
        elif current.blocked_by:
            reason, detail = "waiting", current.blocked_by
            retry_after_s = current.restart_in_s()
        elif current.restart_at is not None:
            reason, detail = "restarting", current.reason
            retry_after_s = current.restart_in_s()
        elif current.waits_for:
            reason, detail = "waiting", f"it {current.waiting}"
        return PluginUnavailableError(self.name, reason, detail=detail, retry_after_s=retry_after_s)

    def _why_down(self) -> str:
        """Return why it ended, with what the error that it ended by says can be done."""
        current = self.current
        if current is None:
            return ""
        return f"{current.reason}. {current.remedy}" if current.remedy else current.reason

    @property
    def why_not_coming(self) -> str:
        """Return what keeps it down until a person acts, in a few words; empty where nothing."""
        if self.current is not None and self.current.waits_in_vain:
            return self.current.waiting
        if self.current is not None and self.current.blocked_by:
            return f"can't be started now: {self.current.blocked_by}"
        return "" if self.alive else f"is {self.down}"

    def status(self) -> PluginStatus:
        """Return a look at it as it is now."""
        manifest = self.definition.manifest
        current, leaving = self.current, self.leaving
        alive = self.alive
        return PluginStatus(
            name=self.name,
            version=manifest.version,
            type=manifest.type,
            tier=str(manifest.execution.tier),
            state=PluginState.DISCOVERED if current is None else current.state,
            generation=0 if current is None else current.life.generation,
            restarts=0 if current is None else current.restarts,
            in_flight=sum(one.gate.in_flight for one in (current, leaving) if one is not None),
            reason="" if current is None else current.waiting or current.reason,
            remedy="" if current is None else current.remedy,
            quarantined=not alive and self.down is Down.QUARANTINED,
            restart_in_s=None if current is None else current.restart_in_s(),
            last_words=() if current is None else current.last_words,
            health=None if current is None else current.health,
            held=self.held,
            reload_failed=self.reload_failed,
            last_error=self.last_error,
            is_swapping=len(alive) > 1,
            draining_generations=() if leaving is None else (leaving.life.generation,),
            usage=None if current is None else current.usage(),
        )

    def node(self, mailbox: MailboxStatistics) -> TreeNode:
        """Return its place in the tree, with the generations that live below it."""
        status = self.status()
        return TreeNode(
            name=self.name,
            kind=NodeKind.ACTOR,
            state=status.state,
            generation=status.generation,
            in_flight=status.in_flight,
            restarts=status.restarts,
            mailbox=mailbox,
            last_error=self.last_error,
            children=tuple(one.node() for one in self.alive),
        )
