"""A look at what lives that costs next to nothing, for checks that run after every step.

It reads the runtime's own objects: a `PluginStatus` is made for people, and costs more than a step.
"""

from sigil_actors.runtime.deployment import Deployment
from sigil_actors.runtime.runtime import Runtime


def deployments(runtime: Runtime) -> list[Deployment]:
    """Return every version of every plugin of which anything is left, to be looked at only."""
    plugins = runtime._plugins  # noqa: SLF001 - as the module says
    return [
        deployment
        for name in plugins.names()
        for deployment in plugins.get(name)._roles.alive  # noqa: SLF001
    ]
