"""Mutants of one version's life: loading, health, drain, restarts, generations."""

from tests.mutants.mutant import Mutant

LIFE = (
    Mutant(
        name="ready-before-running",
        file="runtime/instance_life.py",
        old="                    self._enter(PluginState.RUNNING)\n"
        "                    ready(instance)\n",
        new="                    ready(instance)\n"
        "                    self._enter(PluginState.RUNNING)\n",
        why="those who wait for a start aren't told, since it doesn't run yet",
    ),
    Mutant(
        name="start-timeout-kept",
        file="runtime/instance_life.py",
        old="                    loading.deadline = math.inf\n",
        new="",
        why="an instance ends when its time to start is over, though it runs",
    ),
    Mutant(
        name="order-unheard-while-loading",
        file="runtime/instance_life.py",
        old="            loading.cancel()\n",
        new="            loading.cancel_called\n",
        why="an instance that is told to end goes on loading",
    ),
    Mutant(
        name="end-without-error-state",
        file="runtime/instance_life.py",
        old="            self._enter(PluginState.ERROR, _reason(error))\n            raise\n",
        new="            raise\n",
        why="a life that fails never comes to its last state",
    ),
    Mutant(
        name="drain-not-waited",
        file="runtime/instance_life.py",
        old="            await self._drain()\n",
        new="            await trio.lowlevel.checkpoint()\n",
        why="a drain interrupts the calls that it should let finish",
    ),
    Mutant(
        name="drain-without-bound",
        file="runtime/instance_life.py",
        old="CancelScope(deadline=began + graceful_s)",
        new="CancelScope()",
        why="a call that hangs keeps its instance from ever ending",
    ),
    Mutant(
        name="stop-no-shorter-than-drain",
        file="runtime/instance_life.py",
        old="        scope.deadline = min(scope.deadline, trio.current_time() + stop_s)\n",
        new="",
        why="a stop takes as long as a drain may",
    ),
    Mutant(
        name="gate-not-ended",
        file="runtime/instance_life.py",
        old="        self._enter(PluginState.STOPPING)\n",
        new="        self._enter(PluginState.STOPPING)\n        self.gate = Gate()\n",
        why="callers stay in an instance that stops",
    ),
    Mutant(
        name="crash-unnoticed",
        file="runtime/instance_life.py",
        old="            nursery.start_soon(self._fail_when_ended, instance)\n",
        new="",
        why="an instance that has crashed goes on as if it ran",
    ),
    Mutant(
        name="crash-not-told-to-callers",
        file="runtime/instance_life.py",
        old="        self.gate.end(_for_callers(self._definition.name, end.error,"
        " end.last_words))\n",
        new="",
        why="who waits for his turn isn't woken by a crash",
    ),
    Mutant(
        name="health-unwatched",
        file="runtime/instance_life.py",
        old="            nursery.start_soon(self._watch_health, instance)\n",
        new="",
        why="nobody asks an instance how it is",
    ),
    Mutant(
        name="misses-not-counted",
        file="runtime/instance_life.py",
        old="                misses += 1\n",
        new="                misses = 1\n",
        why="a plugin that answers no health check runs on",
    ),
    Mutant(
        name="misses-never-forgotten",
        file="runtime/instance_life.py",
        old="            misses = 0\n            self._on_health",
        new="            self._on_health",
        why="misses with answers between them count as a crash",
    ),
    Mutant(
        name="illness-ignored",
        file="runtime/instance_life.py",
        old="            if health.status is HealthStatus.UNHEALTHY:\n                self._fail(",
        new="            if False:\n                self._fail(",
        why="a plugin that says that it is unhealthy runs on",
    ),
    Mutant(
        name="ill-from-the-start",
        file="runtime/instance_life.py",
        old="                if health.status is HealthStatus.UNHEALTHY:\n"
        "                    raise",
        new="                if False:\n                    raise",
        why="a plugin that comes up unhealthy takes calls",
    ),
    Mutant(
        name="registration-kept",
        file="runtime/instance_life.py",
        old="                await enforcer.unregister_plugin(name, generation)\n",
        new="                await trio.lowlevel.checkpoint()\n",
        why="what a dead generation was allowed stays registered",
    ),
    Mutant(
        name="runs-unregistered",
        file="runtime/instance_life.py",
        old="            await enforcer.register_plugin(\n"
        "                name, manifest.capabilities, manifest.deny_capabilities, generation\n"
        "            )\n",
        new="            await trio.lowlevel.checkpoint()\n",
        why="an instance runs whose capabilities nobody knows",
    ),
    Mutant(
        name="generation-counted-anew",
        file="runtime/deployment.py",
        old="generation=self._next_generation())",
        new="generation=self.life.generation + 1)",
        why="a new version's generations have the numbers of the old one's",
    ),
    Mutant(
        name="trial-without-end",
        file="runtime/deployment.py",
        old=" or self.is_on_trial:\n",
        new=":\n",
        why="a version that doesn't come up is tried again and again beside the old one",
    ),
    Mutant(
        name="giving-up-forgotten",
        file="runtime/deployment.py",
        old="        except RestartIntensityError:\n            self.gave_up = True\n",
        new="        except RestartIntensityError:\n            self.gave_up = False\n",
        why="what crashed too often isn't quarantined",
    ),
    Mutant(
        name="resumes-under-its-old-order",
        file="runtime/deployment.py",
        old='        self.reason = self.remedy = self.blocked_by = ""\n'
        "        self.order = StopOrder()\n",
        new='        self.reason = self.remedy = self.blocked_by = ""\n',
        why="what stepped aside ends when it should run again",
    ),
    Mutant(
        name="stop-unheard-while-waiting",
        file="runtime/deployment.py",
        old="        self._before.cancel()\n",
        new="",
        why="what waits for another plugin can't be stopped",
    ),
    Mutant(
        name="stop-unheard-in-backoff",
        file="runtime/deployment.py",
        old="        self._before.cancel()\n        self._supervisor.stop()\n",
        new="        self._before.cancel()\n",
        why="what was stopped in its backoff comes back",
    ),
    Mutant(
        name="dependency-not-waited-for",
        file="runtime/deployment.py",
        old="            await self._services.wait_for(self.definition, self._waits)\n",
        new="            await trio.lowlevel.checkpoint()\n",
        why="a plugin starts before what it depends on",
    ),
    Mutant(
        name="place-not-given-up",
        file="runtime/deployment.py",
        old="                self._listener.stepped_aside(self)\n",
        new="",
        why="nobody hears that the place is free for the new version",
    ),
    Mutant(
        name="starts-without-leave",
        file="runtime/deployment.py",
        old="                await self._go.wait()\n",
        new="",
        why="a new version starts while the old one still has its place",
    ),
    Mutant(
        name="restart-stays-planned",
        file="runtime/deployment.py",
        old="        self.restart_at = None\n"
        "        self.life = PluginInstance(self.definition.name, generation=self._next",
        new="        self.life = PluginInstance(self.definition.name, generation=self._next",
        why="what runs again is still said to be restarted",
    ),
    Mutant(
        name="drain-is-a-hard-order",
        file="runtime/stop_order.py",
        old="            if lower <= kind:\n",
        new="            if lower >= kind:\n",
        why="a drain is heard as a kill",
    ),
)
