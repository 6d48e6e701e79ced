"""Mutants of what goes on between versions and plugins: admission, swaps, order, events."""

from tests.mutants.mutant import Mutant

SWAPS = (
    Mutant(
        name="admits-while-it-drains",
        file="runtime/roles.py",
        old="            and len(chain.plugins) > 1\n"
        "            and chain.began < current.drain_began\n",
        new="",
        why="new calls come in while it drains",
    ),
    Mutant(
        name="late-chain-let-in",
        file="runtime/roles.py",
        old="            and chain.began < current.drain_began\n",
        new="",
        why="a drain is kept up by chains of calls that began after it",
    ),
    Mutant(
        name="drain-refuses-its-own",
        file="runtime/roles.py",
        old="            and chain.began < current.drain_began\n",
        new="            and False\n",
        why="calls that a drain waits for are refused what they need",
    ),
    Mutant(
        name="swap-not-waited-for",
        file="runtime/plugin_actor.py",
        old="            while self._roles.is_swapping_in_place:\n",
        new="            while False:\n",
        why="callers are turned away while a channel is swapped",
    ),
    Mutant(
        name="changes-wake-nobody",
        file="runtime/roles.py",
        old="        changed, self._changed = self._changed, trio.Event()\n        changed.set()\n",
        new="        self._changed = trio.Event()\n",
        why="who waits for a change waits for ever",
    ),
    Mutant(
        name="gate-turned-too-early",
        file="runtime/plugin_actor.py",
        old="        elif current.is_running and self.definition.manifest.type"
        " is not PluginType.CHANNEL:\n"
        "            deployment.go()\n",
        new="        elif current.is_running and self.definition.manifest.type"
        " is not PluginType.CHANNEL:\n"
        "            deployment.go()\n"
        "            self._turn(deployment)\n",
        why="the old version stops taking calls before the new one runs",
    ),
    Mutant(
        name="gate-never-turned",
        file="runtime/plugin_actor.py",
        old="            self._turn(deployment)\n        self._settle_starting()\n",
        new="            self._settle_reloading(ReloadResult.RELOADED)\n"
        "        self._settle_starting()\n",
        why="the new version runs beside the old one and gets no calls",
    ),
    Mutant(
        name="old-version-stays",
        file="runtime/plugin_actor.py",
        old="            before.stop(StopKind.DRAIN, at_call=self._count_call())\n",
        new="            before.drain_began = self._count_call()\n",
        why="the old version runs on beside the new one",
    ),
    Mutant(
        name="old-version-killed",
        file="runtime/plugin_actor.py",
        old="            before.stop(StopKind.DRAIN,",
        new="            before.stop(StopKind.KILL,",
        why="a swap interrupts the calls in the old version",
    ),
    Mutant(
        name="no-way-back",
        file="runtime/plugin_actor.py",
        old="        if current is not None and current.is_aside and not current.is_over:\n"
        "            current.resume()\n",
        new="",
        why="what stepped aside for a version that failed stays down",
    ),
    Mutant(
        name="two-of-a-channel",
        file="runtime/plugin_actor.py",
        old="        elif current.is_running and self.definition.manifest.type"
        " is not PluginType.CHANNEL:\n",
        new="        elif current.is_running:\n",
        why="a channel's new version runs beside the old one",
    ),
    Mutant(
        name="swaps-overlap",
        file="runtime/plugin_actor.py",
        old="        if self._roles.candidate is not None or (\n"
        "            self._roles.leaving is not None and not self._roles.leaving.is_over"
        " and waiting\n"
        "        ):\n",
        new="        if self._roles.candidate is not None:\n",
        why="a third version starts while the first still finishes its calls",
    ),
    Mutant(
        name="stop-forgets-the-candidate",
        file="runtime/plugin_actor.py",
        old="        for deployment in self._roles.alive:\n            deployment.stop(kind",
        new="        for deployment in self._roles.alive[:1]:\n            deployment.stop(kind",
        why="a version that is about to take over isn't stopped",
    ),
    Mutant(
        name="reload-while-it-ends",
        file="runtime/plugin_actor.py",
        old="        if self._is_ending:\n"
        '            envelope.fail(PluginUnavailableError(self.name, "draining"))\n'
        "            return\n"
        "        self._reloads",
        new="        self._reloads",
        why="a reload brings up what is being stopped",
    ),
    Mutant(
        name="stop-leaves-reloads-waiting",
        file="runtime/plugin_actor.py",
        old='        self._fail_reloads(PluginUnavailableError(self.name, "draining"))\n',
        new='        self._fail_reloading(PluginUnavailableError(self.name, "draining"))\n',
        why="a reload that waited brings up what was stopped after it",
    ),
    Mutant(
        name="quarantine-forgotten",
        file="runtime/plugin_actor.py",
        old="            self._roles.down = Down.QUARANTINED\n",
        new="            self._roles.down = Down.STOPPED\n",
        why="what crashed too often is said to have been stopped",
    ),
    Mutant(
        name="start-unanswered",
        file="runtime/plugin_actor.py",
        old="            self._turn(deployment)\n        self._settle_starting()\n",
        new="            self._turn(deployment)\n",
        why="who started a plugin isn't told that it runs",
    ),
    Mutant(
        name="reload-unanswered",
        file="runtime/plugin_actor.py",
        old="        self._settle_reloading(ReloadResult.RELOADED)\n",
        new="",
        why="who reloaded a plugin isn't told that it serves",
    ),
    Mutant(
        name="new-version-is-the-same",
        file="runtime/plugin_actor.py",
        old="        if current is None or current.definition != deployment.definition:\n",
        new="        if current is None:\n",
        why="a new manifest isn't taken up",
    ),
    Mutant(
        name="oldest-version-wins",
        file="runtime/plugin_actor.py",
        old="        newest = waiting[-1].message\n",
        new="        newest = waiting[0].message\n",
        why="of two reloads that waited, the first one's version serves",
    ),
    Mutant(
        name="old-definition-kept",
        file="runtime/plugin_actor.py",
        old="        self._roles.definition = candidate.definition\n",
        new="",
        why="a swap isn't shown, and the next start is of the old version",
    ),
    Mutant(
        name="dependants-not-waited-for",
        file="runtime/plugin_set.py",
        old="                await gone[dependant].wait()\n",
        new="                await trio.lowlevel.checkpoint()\n",
        why="a plugin stops before those that depend on it",
    ),
    Mutant(
        name="stops-the-wrong-way-round",
        file="runtime/plugin_set.py",
        old="                dependants.setdefault(name, []).append(manifest.name)\n",
        new="                dependants.setdefault(manifest.name, []).append(name)\n",
        why="what depends on another stops after it",
    ),
    Mutant(
        name="dependency-need-not-run",
        file="runtime/plugin_set.py",
        old="            if actor is None or not actor.is_running:\n",
        new="            if actor is None:\n",
        why="a plugin starts though what it depends on is down",
    ),
    Mutant(
        name="step-not-logged",
        file="runtime/announcer.py",
        old="        self._record(deployment, life.state, reason)\n",
        new="",
        why="the log doesn't hold the steps of a life",
    ),
    Mutant(
        name="step-not-published",
        file="runtime/announcer.py",
        old="        self._events.publish(\n"
        "            self._plugin,\n"
        "            EventKind.LIFECYCLE,\n"
        "            generation=life.generation,\n"
        "            state=life.state,\n"
        "            reason=reason,\n"
        "        )\n",
        new="",
        why="who follows the events hears of no step of a life",
    ),
    Mutant(
        name="event-lost-in-a-cancel",
        file="runtime/events.py",
        old="        event = self._waiting.popleft()\n        missed",
        new="        event = self._waiting.popleft()\n"
        "        await trio.lowlevel.checkpoint()\n"
        "        missed",
        why="a reader that is cancelled loses an event",
    ),
    Mutant(
        name="streams-never-end",
        file="runtime/events.py",
        old="        self._is_over = True\n"
        "        for stream in self._streams:\n"
        "            stream.end()\n",
        new="        self._is_over = True\n",
        why="who follows the events waits on when the runtime has ended",
    ),
)
