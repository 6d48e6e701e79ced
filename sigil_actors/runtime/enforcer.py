"""The enforcer: decides one check after another, and stores each before it replies.

What waits together is committed together. Where an entry can't be stored, its check is denied; the
store is opened anew with backoff, and the gap is the first thing that is then written.
"""

import logging
import math
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime

import attrs
import trio

from sigil_actors.actors.mailbox import ActorDownError, Envelope, Mailbox, Request
from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.core.capability import CapabilitySet
from sigil_actors.core.explanation import Explanation, explain
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.policy import CheckRequest, Decision, DenyReason, Matched, Verdict
from sigil_actors.errors import AuditUnavailableError, CapabilityDeniedError
from sigil_actors.ports.audit_store import AuditStore
from sigil_actors.ports.wall_clock import WallClock
from sigil_actors.runtime.clock import SystemClock
from sigil_actors.runtime.registry import Registration, Registry
from sigil_actors.runtime.tree import NodeKind, TreeNode

logger = logging.getLogger(__name__)

COMMIT_MAX = 512
"""Entries in one commit. Larger groups gain nothing and make the first asker wait for the last."""

OUTCOMES_MAX = 4096
"""Entries that nobody waits for. What is more is counted, and the count is written."""

REOPEN_FIRST_S = 0.1
REOPEN_MAX_S = 5.0
"""How long a broken store is left alone before the next try, at first and at most."""

GIVE_UP_S = 2.0
"""How long a stopping enforcer tries again to open a broken store, for entries that were told."""

FINISH_EXTRA_S = 5.0
"""How long a stopping enforcer may go on storing, besides what one hanging append may take."""


@attrs.frozen(eq=False)
class _Check(Request[Decision]):
    request: CheckRequest
    refused: DenyReason | None
    details: JsonObject


@attrs.frozen(eq=False)
class _Record(Request[AuditEntry]):
    entry: AuditEntry


@attrs.frozen(eq=False)
class _Register(Request[None]):
    name: str
    generation: int | None
    registration: Registration | None


@attrs.frozen(eq=False)
class _Waiting:
    """An asker whose entry is about to be stored."""

    envelope: Envelope
    entry: AuditEntry
    request: CheckRequest | None
    verdict: Verdict | None

    def reply(self, stored: AuditEntry) -> None:
        if self.request is None or self.verdict is None:
            self.envelope.reply(stored)
            return
        verdict = self.verdict
        self.envelope.reply(
            Decision(verdict.allowed, verdict.reason, self.request, verdict.matched, stored.seq)
        )


_WAKE = object()
"""A message that only wakes the enforcer: entries wait that nobody asked for."""
_NO_DETAILS: JsonObject = {}


class Enforcer:
    """The one that decides. Made by `open_enforcer` or `open_runtime`, never by hand."""

    def __init__(
        self,
        store: AuditStore,
        *,
        clock: WallClock | None = None,
        mailbox_size: int = 1024,
        audit_timeout_s: float = 10.0,
    ) -> None:
        self._store = store
        self._clock = clock or SystemClock()
        self._mailbox = Mailbox("the enforcer", capacity=mailbox_size)
        self._registry = Registry()
        self._audit_timeout_s = audit_timeout_s
        self._outcomes: deque[AuditEntry] = deque()
        self._outcomes_lost = 0
        self._missed = 0
        self._pause_s = REOPEN_FIRST_S
        self._last_failure = ""
        """Why everything is denied now; empty where the store takes entries."""
        self._woken = False
        self._give_up_at = math.inf

    async def check(
        self,
        request: CheckRequest,
        *,
        refused: DenyReason | None = None,
        details: JsonObject = _NO_DETAILS,
    ) -> Decision:
        """Decide and return the decision when it is allowed, once its audit entry is stored.

        `refused` denies for a reason that the caller has found out; it is audited like any denial.

        Raises:
            CapabilityDeniedError: it is denied.
            AuditUnavailableError: the entry couldn't be stored, so nothing is allowed.
            ActorDownError: the enforcer has been stopped.
        """
        decision = await self._mailbox.ask(_Check(request, refused, details))
        if not decision.allowed:
            raise CapabilityDeniedError(
                plugin=request.plugin,
                capability=request.capability,
                reason=decision.reason,
                explanation=self._remedy(decision) if refused is None else "",
                decision=decision,
            )
        return decision

    def node(self) -> TreeNode:
        """Return its place in the tree."""
        return TreeNode(
            name="enforcer",
            kind=NodeKind.ACTOR,
            state="refusing" if self._last_failure else "running",
            mailbox=self._mailbox.statistics(),
            last_error=self._last_failure,
        )

    def explain(self, request: CheckRequest) -> Explanation:
        """Decide without auditing, and say why, set by set."""
        registration = self._registry.find(request.plugin, request.generation)
        if registration is None:
            return explain(request, None, None)
        return explain(request, registration.allow, registration.deny)

    def _remedy(self, decision: Decision) -> str:
        if decision.reason is DenyReason.INVALID_REQUEST:
            return "The capability or the plugin's name isn't one; see the capability grammar"
        return self.explain(decision.request).remedy

    async def register_plugin(
        self,
        name: str,
        allow: CapabilitySet | Iterable[str],
        deny: CapabilitySet | Iterable[str],
        generation: int | None = None,
    ) -> None:
        """Replace what is registered under that name and generation; it counts at once.

        Raises:
            InvalidCapabilityError: a pattern is malformed; what was registered stays.
        """
        registration = Registration(_patterns(allow), _patterns(deny))
        await self._mailbox.ask(_Register(name, generation, registration))

    async def unregister_plugin(self, name: str, generation: int | None = None) -> None:
        """Remove one generation's registration; without one, all of that name."""
        await self._mailbox.ask(_Register(name, generation, None))

    def is_registered(self, name: str, generation: int | None = None) -> bool:
        """Tell whether a plugin is registered under that generation; without one, under any."""
        return self._registry.find(name, generation) is not None

    async def record(self, entry: AuditEntry) -> AuditEntry:
        """Store an entry; returns it with its `seq` and `hash`.

        Raises:
            AuditUnavailableError: it couldn't be stored.
        """
        return await self._mailbox.ask(_Record(entry))

    def tell_outcome(self, entry: AuditEntry) -> None:
        """Have an entry stored soon. Never waits: over the bound, it is counted as missed."""
        if len(self._outcomes) >= OUTCOMES_MAX:
            self._outcomes_lost += 1
            return
        self._outcomes.append(entry)
        self._wake_for_leftovers()

    @property
    def clock(self) -> WallClock:
        """Return the clock that its entries are stamped with."""
        return self._clock

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Decide until `finish` is called and all that was accepted is stored.

        Raises:
            AuditUnavailableError: the store can't be opened at the start; later it is tried again.
        """
        try:
            async with self._store:
                task_status.started()
                failure = await self._serve()
            while failure is not None and await self._refuse(failure):
                failure = await self._reopen()
        finally:
            self._mailbox.close("it was stopped")

    def finish(self) -> None:
        """Take no more checks; `run` stores what was accepted and returns."""
        self._give_up_at = trio.current_time() + GIVE_UP_S
        self._mailbox.finish("it was stopped")

    async def _reopen(self) -> AuditUnavailableError | None:
        try:
            async with self._store:
                return await self._serve()
        except AuditUnavailableError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a store need not be ours
            return _failed_oddly(error)

    async def _refuse(self, failure: AuditUnavailableError) -> bool:
        """Deny what comes until it is time to open the store again; tell whether to go on."""
        self._last_failure = failure.what
        logger.warning("the audit log is unavailable, so everything is denied: %s", failure)
        pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, REOPEN_MAX_S)
        with trio.move_on_after(pause_s) as pause:
            while batch := await self._mailbox.receive_batch(COMMIT_MAX):
                for envelope in batch:
                    if isinstance(envelope.message, _Register):
                        self._register(envelope, envelope.message)
                    elif envelope.is_wanted:
                        self._missed += 1
                        envelope.fail(_unavailable(failure))
            # Nobody asks any more. What was told and isn't stored yet is worth some tries.
            if trio.current_time() + pause_s < self._give_up_at and (
                self._outcomes or self._missed or self._outcomes_lost
            ):
                await trio.sleep_until(pause.deadline)
                return True
            if self._outcomes:
                logger.error("%d entries of the audit log are lost", len(self._outcomes))
            return False
        return True

    async def _serve(self) -> AuditUnavailableError | None:
        """Decide with an open store, until it fails or everything is done."""
        # What a failure left over is stored before anybody asks: nobody may for a long while.
        self._woken = False
        self._wake_for_leftovers()
        while True:
            batch = await self._mailbox.receive_batch(COMMIT_MAX)
            self._woken = False
            waiting = self._decide(batch)
            failure = await self._store_all(waiting)
            if failure is not None:
                return failure
            self._wake_for_leftovers()
            if not batch and not self._outcomes:
                return None

    def _wake_for_leftovers(self) -> None:
        if not self._woken and (self._outcomes or self._missed or self._outcomes_lost):
            self._woken = True
            with suppress(ActorDownError):
                self._mailbox.tell_order_nowait(_WAKE)

    def _decide(self, batch: Sequence[Envelope]) -> list[_Waiting]:
        now = self._clock.now()
        waiting: list[_Waiting] = []
        for envelope in batch:
            message = envelope.message
            if isinstance(message, _Check):
                # One who was cancelled while waiting asks nothing any more.
                if envelope.is_wanted:
                    verdict = (
                        self._registry.decide(message.request)
                        if message.refused is None
                        else Verdict(message.refused, Matched())
                    )
                    entry = _check_entry(message, verdict, now)
                    waiting.append(_Waiting(envelope, entry, message.request, verdict))
            elif isinstance(message, _Record):
                waiting.append(_Waiting(envelope, message.entry, None, None))
            elif isinstance(message, _Register):
                self._register(envelope, message)
            else:
                assert message is _WAKE, message  # noqa: S101 - our own bug
        return waiting

    def _register(self, envelope: Envelope, message: _Register) -> None:
        self._registry.put(message.name, message.generation, message.registration)
        envelope.reply(None)

    async def _store_all(self, waiting: Sequence[_Waiting]) -> AuditUnavailableError | None:
        """Store the entries and reply; return the failure where they couldn't be stored."""
        outcomes = [self._outcomes.popleft() for _ in range(min(len(self._outcomes), COMMIT_MAX))]
        missed = self._missed + self._outcomes_lost
        entries = [self._gap_entry(missed)] if missed else []
        first = len(entries)
        entries.extend(one.entry for one in waiting)
        entries.extend(outcomes)
        if not entries:
            return None
        try:
            stored = await self._append(entries)
        except AuditUnavailableError as failure:
            self._missed += len(waiting)
            self._outcomes.extendleft(reversed(outcomes))
            for one in waiting:
                one.envelope.fail(_unavailable(failure))
            return failure
        self._pause_s = REOPEN_FIRST_S
        self._last_failure = ""
        self._missed = 0
        self._outcomes_lost -= min(self._outcomes_lost, missed)
        for one, entry in zip(waiting, stored[first:], strict=False):
            one.reply(entry)
        return None

    async def _append(self, entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
        stored: Sequence[AuditEntry] | None = None
        try:
            # A store bounds its own waiting; this bound holds for stores that don't.
            with trio.move_on_after(self._audit_timeout_s):
                stored = await self._store.append(entries)
        except AuditUnavailableError:
            raise
        except Exception as error:  # a store need not be ours, and must not fail open
            raise _failed_oddly(error) from error
        if stored is None:
            if self._give_up_at != math.inf:
                # The hanging has used up the time in which the store could be opened again.
                self._give_up_at = max(self._give_up_at, trio.current_time() + GIVE_UP_S)
            raise AuditUnavailableError(
                f"the audit store didn't answer within {self._audit_timeout_s:g} s",
                remedy="Look at the disk that it writes to",
            )
        if len(stored) != len(entries):
            raise AuditUnavailableError(
                f"the audit store took {len(entries)} entries and returned {len(stored)}",
                remedy="Use a store that passes the contract suite",
            )
        return stored

    def _gap_entry(self, missed: int) -> AuditEntry:
        return AuditEntry(
            action="audit_gap",
            timestamp=self._clock.now(),
            actor="enforcer",
            result="gap",
            details={"missed": missed},
        )


def _failed_oddly(error: Exception) -> AuditUnavailableError:
    logger.error("the audit store failed in a way of its own", exc_info=error)
    return AuditUnavailableError(
        f"the audit store failed with {type(error).__name__}",
        remedy="The log of the host has the rest",
    )


def _unavailable(failure: AuditUnavailableError) -> AuditUnavailableError:
    # A fresh one for each asker: one exception in several tasks gathers all their tracebacks.
    error = AuditUnavailableError(
        f"it can't be recorded, so it is denied: {failure.what}", remedy=failure.remedy
    )
    error.__cause__ = failure
    return error


def _check_entry(check: _Check, verdict: Verdict, now: datetime) -> AuditEntry:
    request = check.request
    return AuditEntry(
        action="capability_check",
        timestamp=now,
        actor=_text(request.actor or request.user_id),
        plugin=_text(request.plugin),
        workspace_id=_text(request.workspace_id),
        user_id=_text(request.user_id),
        session_id=_text(request.session_id),
        capability=_text(request.capability),
        result="allowed" if verdict.allowed else "denied",
        reason=verdict.reason,
        details=check.details,
    )


def _text(value: object) -> str:
    """Return what an entry can hold of a field that may be anything.

    One malformed request must not keep those that wait with it from being stored.
    """
    return value if type(value) is str else f"({type(value).__name__})"


def _patterns(given: CapabilitySet | Iterable[str]) -> CapabilitySet:
    if isinstance(given, CapabilitySet):
        return given
    return CapabilitySet(given) if isinstance(given, str) else CapabilitySet(*given)


@asynccontextmanager
async def open_enforcer(
    audit_store: AuditStore,
    *,
    clock: WallClock | None = None,
    mailbox_size: int = 1024,
    audit_timeout_s: float = 10.0,
) -> AsyncGenerator[Enforcer]:
    """Run an enforcer for as long as the block lasts; what it has accepted is stored on leaving.

    Raises:
        AuditUnavailableError: the store can't be opened; no store, no enforcer.
    """
    enforcer = Enforcer(
        audit_store, clock=clock, mailbox_size=mailbox_size, audit_timeout_s=audit_timeout_s
    )
    async with open_bare_nursery() as nursery:
        scope = trio.CancelScope()

        @trio.lowlevel.enable_ki_protection
        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await enforcer.run(task_status=task_status)

        await nursery.start(run)
        # Shielded, since who is being cancelled still has outcomes to be stored. Bounded from the
        # moment at which the block is left. Not earlier: nobody would finish a cancelled start.
        scope.shield = True
        try:
            yield enforcer
        finally:
            scope.deadline = trio.current_time() + audit_timeout_s + FINISH_EXTRA_S
            enforcer.finish()
