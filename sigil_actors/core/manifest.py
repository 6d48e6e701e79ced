"""The manifest of one plugin as a value: who it is, what it may do at most, how it is run.

The attributes are the keys of `plugin.yaml`. This module is light: reading text is the work of
`manifest_yaml`, the rules are in `manifest_rules`, and their libraries are loaded on first use.
"""

from collections.abc import Mapping

import attrs

from sigil_actors.core.execution import (
    Execution,
    PluginType,
    read_only_json,
    read_only_texts,
    texts,
)
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.quantities import Duration
from sigil_actors.core.restart import RestartPolicy
from sigil_actors.errors import Problem


@attrs.frozen(kw_only=True)
class LifecyclePolicy:
    """How a plugin is stopped, started again and watched."""

    hot_reload: bool = True
    """Whether a changed folder is taken up while the runtime runs."""
    graceful_shutdown_timeout: Duration = 30.0
    """How long a drain may take before what is left is stopped."""
    restart: RestartPolicy = attrs.field(factory=RestartPolicy)
    health_interval: Duration = 10.0


@attrs.frozen(kw_only=True)
class Storage:
    """What the host keeps for a plugin."""

    kv: bool = False
    """Whether it has the built-in key-value store."""


@attrs.frozen(kw_only=True)
class Manifest:
    """Everything that a plugin's author says of it. One made in code is checked by `validate`."""

    name: str
    version: str
    """A semantic version, without a leading v."""
    type: PluginType = attrs.field(converter=PluginType)
    execution: Execution
    engine: str | None = None
    """The range of plugin contract versions that it works with; None: any."""
    license: str | None = None
    capabilities: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """Patterns: what it may do at most. Empty: nothing."""
    deny_capabilities: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """Patterns that win over every grant."""
    config_schema: JsonObject = attrs.field(factory=dict, converter=read_only_json)
    """JSON Schema 2020-12 of its configuration. Empty: any object."""
    dependencies: Mapping[str, str] = attrs.field(factory=dict, converter=read_only_texts)
    """Names of plugins that must run before it, each with the range of versions that will do."""
    lifecycle: LifecyclePolicy = LifecyclePolicy()
    storage: Storage = Storage()

    def validate(self) -> tuple[Problem, ...]:
        """Return everything that is wrong with it, in the order of its attributes; lines are 0."""
        from sigil_actors.core.manifest_rules import find_problems

        return tuple(find_problems(self))

    def remarks(self) -> tuple[Problem, ...]:
        """Return what is legitimate but worth a look: grants that a deny cuts a piece out of."""
        from sigil_actors.core.manifest_rules import find_remarks

        return tuple(find_remarks(self))

    def secret_config_keys(self) -> tuple[str, ...]:
        """Return the configuration keys that are never shown: `smtp.password`, `bots[].token`."""
        from sigil_actors.core.secret_keys import find_secret_keys

        return find_secret_keys(self.config_schema)
