"""A look at what lives that costs next to nothing, for checks that run after every step.

It reads the runtime's own objects: a `PluginStatus` is made for people, and costs more than a step.
"""

from sigil_actors.runtime.deployment import Deployment
from sigil_actors.runtime.runtime import Runtime


def deployments(runtime: Runtime) -> list[Deployment]:
    """Return every version of every plugin of which anything is left, to be looked at only."""
    found: list[Deployment] = []
    for actor in runtime._plugins._actors.values():  # noqa: SLF001 - as the module says
        roles = actor._roles  # noqa: SLF001
        for deployment in (roles.current, roles.candidate, roles.leaving):
            if deployment is not None and not deployment.is_over:
                found.append(deployment)  # noqa: PERF401 - a comprehension of these is no clearer
    return found
