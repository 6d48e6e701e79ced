"""What a runtime tells of itself, as JSON: plugins, events, the tree, explanations, problems."""

from collections.abc import Iterable
from typing import Final

import attrs

from sigil_actors.control.error_report import problem_json
from sigil_actors.core.explanation import Explanation
from sigil_actors.core.json_value import JsonObject
from sigil_actors.runtime.discovery import DiscoveryProblem
from sigil_actors.runtime.events import RuntimeEvent
from sigil_actors.runtime.status import HeldVersion, PluginStatus
from sigil_actors.runtime.tree import TreeNode

PLUGINS: Final = "plugins"
"""The node of the supervision tree below which the plugins are."""


def status_json(status: PluginStatus) -> JsonObject:
    """Return a plugin's status for a JSON text."""
    health = status.health
    return {
        "name": status.name,
        "version": status.version,
        "type": status.type,
        "tier": status.tier,
        "state": status.state,
        "generation": status.generation,
        "restarts": status.restarts,
        "in_flight": status.in_flight,
        "reason": status.reason,
        "remedy": status.remedy,
        "quarantined": status.quarantined,
        "restart_in_s": status.restart_in_s,
        "last_words": list(status.last_words),
        "health": None if health is None else str(health.status),
        "health_message": "" if health is None else health.message,
        "held": held_json(status.held),
        "reload_failed": status.reload_failed,
        "last_error": status.last_error,
        "draining_generations": list(status.draining_generations),
        "usage": None if status.usage is None else attrs.asdict(status.usage),
    }


def held_json(held: HeldVersion | None) -> JsonObject | None:
    """Return a version that waits to be approved for a JSON text."""
    if held is None:
        return None
    return {
        "version": held.version,
        "snapshot_sha256": held.snapshot_sha256,
        "differences": list(held.differences),
    }


def event_json(event: RuntimeEvent) -> JsonObject:
    """Return an event for a JSON text."""
    return {
        "seq": event.seq,
        "at": event.at.isoformat(timespec="microseconds"),
        "plugin": event.plugin,
        "generation": event.generation,
        "kind": event.kind,
        "state": event.state,
        "reason": event.reason,
        "missed": event.missed,
    }


def tree_json(node: TreeNode) -> JsonObject:
    """Return a node and everything below it for a JSON text."""
    return {
        "name": node.name,
        "kind": node.kind,
        "state": node.state,
        "generation": node.generation,
        "in_flight": node.in_flight,
        "restarts": node.restarts,
        "mailbox": None if node.mailbox is None else attrs.asdict(node.mailbox),
        "last_error": node.last_error,
        "children": [tree_json(child) for child in node.children],
    }


def tree_text(tree: TreeNode, statuses: Iterable[PluginStatus]) -> str:
    """Return a tree for people; its plugins also say that they are quarantined, or what is held."""
    by_name = {status.name: status for status in statuses}

    def told(node: TreeNode, parent: str) -> TreeNode:
        status = by_name.get(node.name) if parent == PLUGINS else None
        state = node.state if status is None else _state_text(node.state, status)
        children = tuple(told(child, node.name) for child in node.children)
        return attrs.evolve(node, state=state, children=children)

    return "\n".join(told(tree, "").lines())


def _state_text(state: str, status: PluginStatus) -> str:
    held = "" if status.held is None else f", {status.held.version} held"
    return f"{'quarantined' if status.quarantined else state}{held}"


def discovery_problem_json(problem: DiscoveryProblem) -> JsonObject:
    """Return something that was found and can't be used for a JSON text."""
    return {
        "file": problem.file,
        "plugin": problem.plugin,
        "problems": [problem_json(one) for one in problem.problems],
    }


def explanation_json(explanation: Explanation) -> JsonObject:
    """Return an explanation for a JSON text; `text` is the one for people."""
    request = explanation.request
    return {
        "plugin": request.plugin,
        "capability": request.capability,
        "allowed": explanation.verdict.allowed,
        "reason": explanation.verdict.reason,
        "sets": [
            {
                "name": one.name,
                "consulted": one.consulted,
                "matched": one.matched,
                "nearest": one.nearest,
            }
            for one in explanation.sets
        ],
        "remedy": explanation.remedy,
        "text": explanation.text(),
    }
