"""Mutants of the actor kit: mailbox, ask, supervisor."""

from tests.mutants.mutant import Mutant

_MAILBOX = (
    Mutant(
        name="cancelled-ask-still-wanted",
        file="actors/mailbox.py",
        old="        self.is_wanted = False\n        del self._asks[self]\n"
        "        self.asker = None\n",
        new="        del self._asks[self]\n        self.asker = None\n",
        why="a reply to an asker that was cancelled breaks the actor",
    ),
    Mutant(
        name="answered-ask-kept",
        file="actors/mailbox.py",
        old="        self.is_wanted = False\n        del self._asks[self]\n        # Cleared first",
        new="        self.is_wanted = False\n        # Cleared first",
        why="every ask that was answered stays in the mailbox for ever",
    ),
    Mutant(
        name="close-leaves-askers",
        file="actors/mailbox.py",
        old="            envelope.fail(self._down())\n",
        new="            self._down()\n",
        why="who asked an actor that died waits for ever",
    ),
    Mutant(
        name="ask-wakes-nobody",
        file="actors/mailbox.py",
        old="            self._receiver = None\n            reschedule(receiver)\n        # Nobody",
        new="            self._receiver = receiver\n        # Nobody",
        why="an actor that sleeps isn't woken by a question",
    ),
    Mutant(
        name="room-waiter-not-counted",
        file="actors/mailbox.py",
        old="            await self._wait_for_room(envelope)\n            self._counted += 1\n",
        new="            await self._wait_for_room(envelope)\n",
        why="a question that waited for room is never taken",
    ),
    Mutant(
        name="early-reply-lost",
        file="actors/mailbox.py",
        old="        if self.answer is not _NO_ANSWER:\n",
        new="        if False:\n",
        why="a reply that comes before its asker has got to its place is lost",
    ),
    Mutant(
        name="order-wakes-nobody",
        file="actors/mailbox.py",
        old="        self._orders += 1\n        self._wake()\n",
        new="        self._orders += 1\n",
        why="an order waits for the next piece of work",
    ),
    Mutant(
        name="finish-wakes-nobody",
        file="actors/mailbox.py",
        old="                self._send_order.close()\n            self._wake()\n",
        new="                self._send_order.close()\n",
        why="an actor that sleeps isn't told that there will be no more work",
    ),
    Mutant(
        name="batch-without-bound",
        file="actors/mailbox.py",
        old="        count = min(count, limit)\n",
        new="",
        why="a batch is as large as whatever waits",
    ),
    Mutant(
        name="accepted-work-dropped",
        file="actors/mailbox.py",
        old="        try:\n            while len(taken) < limit:\n",
        new="        try:\n            while False:\n",
        why="what was accepted before a finish is never done",
    ),
    Mutant(
        name="dead-letters-not-counted",
        file="actors/mailbox.py",
        old="                self._dead_letters += 1\n",
        new="                self._dead_letters += 0\n",
        why="nobody hears of messages that nobody took",
    ),
    Mutant(
        name="cancelled-room-waiter-kept",
        file="actors/mailbox.py",
        old="            # Cancelled, so it was not sent: memory channels do either.\n"
        "            self._asks.pop(envelope, None)\n",
        new="            # Cancelled, so it was not sent: memory channels do either.\n",
        why="an ask that was cancelled while it waited for room stays for ever",
    ),
    Mutant(
        name="cancelled-receiver-kept",
        file="actors/mailbox.py",
        old="        self._receiver = None\n        return trio.lowlevel.Abort.SUCCEEDED\n",
        new="        return trio.lowlevel.Abort.SUCCEEDED\n",
        why="a receiver that was cancelled is woken a second time",
    ),
)

_SUPERVISOR = (
    Mutant(
        name="stops-in-starting-order",
        file="actors/turns.py",
        old="        self.to_stop.sort(key=_position)\n",
        new="        self.to_stop.sort(key=_position, reverse=True)\n",
        why="children stop before those that rest on them",
    ),
    Mutant(
        name="next-starts-too-early",
        file="actors/supervisor.py",
        old="            if self._starting.is_live and not self._starting.is_settled:\n"
        "                return math.inf\n",
        new="",
        why="a child starts before the one before it is ready",
    ),
    Mutant(
        name="grace-without-end",
        file="actors/supervised_child.py",
        old="            self.context.request_stop(grace_s=grace_s)\n",
        new="            self.context.request_stop(grace_s=math.inf)\n",
        why="a child that doesn't stop is waited for without end",
    ),
    Mutant(
        name="stop-waits-for-backoff",
        file="actors/supervised_child.py",
        old="            self.backoff.cancel()\n",
        new="            pass\n",
        why="a stop waits until a backoff has passed",
    ),
    Mutant(
        name="restarts-while-stopping",
        file="actors/supervisor.py",
        old="            while not child.is_stopping:\n",
        new="            while True:\n",
        why="a child that was stopped in its backoff is started again",
    ),
    Mutant(
        name="every-end-abnormal",
        file="actors/supervisor.py",
        old="            abnormal=error is not None,\n",
        new="            abnormal=True,\n",
        why="a transient child that has finished is started again",
    ),
    Mutant(
        name="no-end-abnormal",
        file="actors/supervisor.py",
        old="            abnormal=error is not None,\n",
        new="            abnormal=False,\n",
        why="a transient child that crashed isn't started again",
    ),
    Mutant(
        name="history-forgotten",
        file="actors/supervisor.py",
        old="                child.history = plan.history\n",
        new="",
        why="a child may crash without end",
    ),
    Mutant(
        name="group-not-stopped",
        file="actors/supervisor.py",
        old="        self._turns.doom(child for child in group if child is not failed)\n",
        new="",
        why="a group is restarted while its members still run",
    ),
    Mutant(
        name="temporary-comes-back",
        file="actors/supervisor.py",
        old="            stays = child.is_held or"
        " child.spec.restart.type is RestartType.TEMPORARY\n",
        new="            stays = child.is_held\n",
        why="a temporary child is started again with its group",
    ),
    Mutant(
        name="held-comes-back",
        file="actors/supervisor.py",
        old="            stays = child.is_held or"
        " child.spec.restart.type is RestartType.TEMPORARY\n",
        new="            stays = child.spec.restart.type is RestartType.TEMPORARY\n",
        why="a child that somebody stopped is started again with its group",
    ),
    Mutant(
        name="gives-up-in-silence",
        file="actors/supervisor.py",
        old="        self._failures.append(failure)\n",
        new="",
        why="nobody above hears that a supervisor has given up",
    ),
    Mutant(
        name="late-start-is-no-failure",
        file="actors/incarnation.py",
        old="    if context.scope.cancel_called and not context.is_ready"
        " and not context.is_stopping:\n",
        new="    if False:\n",
        why="a child that isn't ready in time counts as one that has finished",
    ),
    Mutant(
        name="cancelled-starter-leaves-child",
        file="actors/supervisor.py",
        old="            self._withdraw(child, keep=keep)\n            raise\n",
        new="            raise\n",
        why="a child stays whose starter was cancelled",
    ),
    Mutant(
        name="significance-ignored",
        file="actors/supervisor.py",
        old="        if not child.spec.significant:\n            return\n",
        new="        if child.spec.id:\n            return\n",
        why="the end of a significant child means nothing",
    ),
    Mutant(
        name="any-significant-for-all",
        file="actors/supervisor.py",
        old="AutoShutdown.ALL_SIGNIFICANT and not others):\n",
        new="AutoShutdown.ALL_SIGNIFICANT):\n",
        why="the first significant child that ends takes all down",
    ),
    Mutant(
        name="cancel-not-passed-on",
        file="actors/supervisor.py",
        old="            except BaseException:\n                self._interrupt()\n"
        "                raise\n",
        new="            except BaseException:\n                raise\n",
        why="a supervisor that is cancelled goes on for ever",
    ),
    Mutant(
        name="cancel-without-shield",
        file="actors/supervisor.py",
        old="        with trio.CancelScope(shield=True):\n",
        new="        with trio.CancelScope(shield=False):\n",
        why="a cancel reaches all children at once, in no order",
    ),
    Mutant(
        name="doomed-end-counts",
        file="actors/supervisor.py",
        old="        if child.is_stopping or child.is_doomed or self._stop_requested:\n",
        new="        if child.is_stopping or self._stop_requested:\n",
        why="a child that ends while its group waits to stop it is restarted by itself as well",
    ),
    Mutant(
        name="stop-child-does-not-wait",
        file="actors/supervisor.py",
        old="        await child.wait_down()\n",
        new="        await trio.lowlevel.checkpoint()\n",
        why="who stops a child goes on while it still runs",
    ),
    Mutant(
        name="stopped-child-still-due",
        file="actors/supervisor.py",
        old="        child.is_held = True\n        self._turns.set_not_due(child)\n",
        new="        child.is_held = True\n",
        why="a child that was stopped before its turn is started after all",
    ),
)

KIT = (*_MAILBOX, *_SUPERVISOR)
