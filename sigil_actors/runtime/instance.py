"""One running generation of a plugin, as callers meet it: its tools, its door, its turns."""

import difflib
import re
from collections.abc import Sequence

import attrs

from sigil_actors.core.calls import ToolDefinition
from sigil_actors.core.execution import PluginType
from sigil_actors.core.json_schema import SchemaValidator, check_schema
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.text import escape_text
from sigil_actors.errors import PluginStartError, ToolNotFoundError
from sigil_actors.ports.tier import TierSession
from sigil_actors.runtime.admission import Gate
from sigil_actors.runtime.call_tokens import CallTokens
from sigil_actors.runtime.chain import Turns

_TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""What makes one plain segment of a capability once its dots are `_`."""

TOOLS_MAX = 256
"""Tools of one plugin; what is more is no help to a model that chooses among them."""


@attrs.frozen
class CheckedTool:
    """A tool whose definition was found to be sound."""

    definition: ToolDefinition
    validator: SchemaValidator


def check_tools(plugin: str, tools: Sequence[ToolDefinition]) -> dict[str, CheckedTool]:
    """Return the tools by name, in the plugin's order.

    Raises:
        PluginStartError: the plugin describes what can't be called safely.
    """
    if len(tools) > TOOLS_MAX:
        raise PluginStartError(
            plugin, f"describes {len(tools)} tools", remedy=f"At most {TOOLS_MAX} are taken"
        )
    checked: dict[str, CheckedTool] = {}
    capabilities: dict[str, str] = {}
    for tool in tools:
        shown = escape_text(tool.name, limit=80)
        if not _TOOL_NAME.fullmatch(tool.name):
            raise PluginStartError(
                plugin,
                f"describes a tool named '{shown}'",
                remedy="A tool's name has 1 to 64 letters, digits, dots, _ and -",
            )
        same = capabilities.setdefault(tool.name.replace(".", "_"), tool.name)
        if tool.name in checked or same != tool.name:
            raise PluginStartError(
                plugin,
                f"describes both '{same}' and '{shown}', which need the same capability",
                remedy="Give each tool a name of its own; dots count as _",
            )
        problems = check_schema(tool.input_schema)
        if problems:
            raise PluginStartError(
                plugin,
                f"describes the tool '{shown}' with a schema that is none: {problems[0]}",
                remedy="input_schema is JSON Schema 2020-12, without references to elsewhere",
            )
        checked[tool.name] = CheckedTool(tool, SchemaValidator(tool.input_schema))
    return checked


@attrs.frozen(kw_only=True, eq=False)
class Instance:
    """One generation that runs. It exists from the moment at which it can be called."""

    plugin: str
    type: PluginType
    generation: int
    session: TierSession
    checked_tools: dict[str, CheckedTool]
    gate: Gate
    turns: Turns
    tokens: CallTokens

    @property
    def tools(self) -> tuple[ToolDefinition, ...]:
        """Return its tools, in the plugin's order."""
        return tuple(tool.definition for tool in self.checked_tools.values())

    def tool(self, name: str) -> ToolDefinition:
        """Return one tool.

        Raises:
            ToolNotFoundError: it has none of that name.
        """
        return self._checked(name).definition

    def argument_problems(self, tool: str, arguments: JsonObject) -> tuple[str, ...]:
        """Return how the arguments don't fit the tool's schema; empty where they do."""
        return self._checked(tool).validator.problems(arguments)

    def _checked(self, name: str) -> CheckedTool:
        try:
            return self.checked_tools[name]
        except KeyError:
            near = difflib.get_close_matches(name[:64], self.checked_tools, n=3, cutoff=0.4)
            raise ToolNotFoundError(
                self.plugin, name, near=near or list(self.checked_tools)[:8]
            ) from None
