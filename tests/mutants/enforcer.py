"""Mutants of the enforcer: what is recorded, in which order, and what happens when it can't be."""

from tests.mutants.mutant import Mutant

ENFORCER = (
    Mutant(
        name="fails-open",
        file="runtime/enforcer.py",
        old="            for one in waiting:\n"
        "                one.envelope.fail(_unavailable(failure))\n",
        new="            for one in waiting:\n                one.reply(one.entry)\n",
        why="a check that couldn't be recorded is allowed",
    ),
    Mutant(
        name="reply-before-the-store",
        file="runtime/enforcer.py",
        old="            stored = await self._append(entries)\n        except",
        new="            for one in waiting:\n                one.reply(one.entry)\n"
        "            stored = await self._append(entries)\n        except",
        why="callers hear of an allow before it is stored",
    ),
    Mutant(
        name="refusal-unanswered",
        file="runtime/enforcer.py",
        old="                        self._missed += 1\n"
        "                        envelope.fail(_unavailable(failure))\n",
        new="                        self._missed += 1\n",
        why="who asks while the log is down waits for ever",
    ),
    Mutant(
        name="outcomes-lost-in-a-failure",
        file="runtime/enforcer.py",
        old="            self._outcomes.extendleft(reversed(outcomes))\n",
        new="",
        why="what was told and not stored is forgotten",
    ),
    Mutant(
        name="outcomes-reversed-by-a-failure",
        file="runtime/enforcer.py",
        old="            self._outcomes.extendleft(reversed(outcomes))\n",
        new="            self._outcomes.extendleft(outcomes)\n",
        why="a failure turns the order of what is stored later",
    ),
    Mutant(
        name="outcomes-not-stored",
        file="runtime/enforcer.py",
        old="        entries.extend(outcomes)\n",
        new="",
        why="outcomes and lifecycle steps don't reach the log",
    ),
    Mutant(
        name="never-woken-again",
        file="runtime/enforcer.py",
        old="            batch = await self._mailbox.receive_batch(COMMIT_MAX)\n"
        "            self._woken = False\n",
        new="            batch = await self._mailbox.receive_batch(COMMIT_MAX)\n",
        why="what is told stays unstored until somebody asks",
    ),
    Mutant(
        name="gap-not-written",
        file="runtime/enforcer.py",
        old="        entries = [self._gap_entry(missed)] if missed else []\n",
        new="        entries: list[AuditEntry] = []\n",
        why="the log doesn't say that checks are missing from it",
    ),
    Mutant(
        name="not-reopened",
        file="runtime/enforcer.py",
        old="                failure = await self._reopen()\n",
        new="                await trio.lowlevel.checkpoint()\n",
        why="a log that failed once stays down",
    ),
    Mutant(
        name="denial-passes",
        file="runtime/enforcer.py",
        old="        if not decision.allowed:\n",
        new="        if False:\n",
        why="a denied call runs",
    ),
)
