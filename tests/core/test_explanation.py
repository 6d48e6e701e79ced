"""Explanations: they agree with the decision, name who can help, and are safe to show."""

import io
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from sigil_actors.core import explanation as module
from sigil_actors.core.capability import CapabilitySet
from sigil_actors.core.explanation import Explanation, SetName, explain
from sigil_actors.core.policy import CheckRequest, DenyReason, decide

EVERYTHING = CapabilitySet("*")
NOTHING = CapabilitySet()


def request(
    capability: str = "exec.run",
    *,
    plugin: str = "echo",
    workspace: CapabilitySet = EVERYTHING,
    user: CapabilitySet = EVERYTHING,
) -> CheckRequest:
    return CheckRequest(plugin, capability, "ws-1", workspace, user)


def yaml_of(explanation: Explanation) -> dict[str, list[str]]:
    line = explanation.remedy.partition(": ")[2].partition(" (as a pattern")[0]
    return cast("dict[str, list[str]]", YAML(typ="safe").load(io.StringIO(line)))


def test_an_allowed_check_names_the_patterns_and_has_no_remedy() -> None:
    explained = explain(request(), CapabilitySet("exec.*"), CapabilitySet("kv.*"))
    assert explained.verdict.allowed
    assert explained.remedy == ""
    assert [(one.name, one.consulted, one.matched) for one in explained.sets] == [
        (SetName.PLUGIN_ALLOW, True, "exec.*"),
        (SetName.PLUGIN_DENY, True, None),
        (SetName.WORKSPACE_ALLOW, True, "*"),
        (SetName.USER_PERMISSIONS, True, "*"),
    ]
    assert explained.text() == (
        "'exec.run' for plugin 'echo' in workspace 'ws-1': allowed\n"
        "  plugin_allow      'exec.*' matches\n"
        "  plugin_deny       no pattern matches\n"
        "  workspace_allow   '*' matches\n"
        "  user_permissions  '*' matches"
    )


def test_a_denied_check_says_what_every_set_says_and_which_were_not_asked() -> None:
    explained = explain(
        request(user=NOTHING), CapabilitySet("exec.runner", "kv.*"), CapabilitySet("exec.*")
    )
    assert explained.text() == (
        "'exec.run' for plugin 'echo' in workspace 'ws-1': denied (plugin_allow_missing)\n"
        "  plugin_allow      no pattern matches; the nearest is 'exec.runner'\n"
        "  plugin_deny       'exec.*' matches (not asked)\n"
        "  workspace_allow   '*' matches (not asked)\n"
        "  user_permissions  no pattern matches (not asked)\n"
        'The manifest\'s author can ask for it: capabilities: ["exec.run"]'
    )


@pytest.mark.parametrize(
    ("sets", "owner", "yaml"),
    [
        ((NOTHING, NOTHING, NOTHING, NOTHING), "manifest's author", "capabilities"),
        ((EVERYTHING, NOTHING, NOTHING, NOTHING), "workspace's owner", "workspace_allow"),
        ((EVERYTHING, NOTHING, EVERYTHING, NOTHING), "user's administrator", "user_permissions"),
    ],
)
def test_the_remedy_names_the_owner_and_the_yaml_that_would_do(
    sets: tuple[CapabilitySet, ...], owner: str, yaml: str
) -> None:
    allow, deny, workspace, user = sets
    explained = explain(request(workspace=workspace, user=user), allow, deny)
    assert owner in explained.remedy
    assert yaml_of(explained) == {yaml: ["exec.run"]}


def test_the_remedy_for_a_deny_names_the_pattern_to_take_out() -> None:
    explained = explain(request(), EVERYTHING, CapabilitySet("exec.*", "exec.r*n"))
    assert explained.verdict.reason is DenyReason.PLUGIN_DENY_MATCH
    assert "'exec.r*n'" in explained.remedy
    assert "deny_capabilities" in explained.remedy


def test_an_unknown_plugin_is_told_as_such() -> None:
    explained = explain(request(), None, None)
    assert explained.verdict.reason is DenyReason.PLUGIN_NOT_REGISTERED
    assert "Load the plugin" in explained.remedy
    assert not any(one.consulted for one in explained.sets)
    assert explained.workspace_allow.matched == "*"
    assert explained.plugin_allow.matched is None


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        (request("exec..run"), "empty segment"),
        (request("a." * 40 + "a"), "more than 32"),
        (request(cast("str", 5)), "as it is written"),
        (request(plugin="Echo"), "by its name"),
        (request(plugin=cast("str", None)), "by its name"),
    ],
)
def test_an_invalid_request_says_what_is_wrong(asked: CheckRequest, remedy: str) -> None:
    explained = explain(asked, EVERYTHING, NOTHING)
    assert explained.verdict.reason is DenyReason.INVALID_REQUEST
    assert remedy in explained.remedy
    assert "invalid_request" in explained.text()


@pytest.mark.parametrize(
    "capability",
    ["true", "1.0", "null", 'f./a"b\\c', "f./\u202e\xa0é\U000e0041\u2028", "f./# {x}: [y], 'z'"],
)
def test_the_yaml_of_a_remedy_reads_back_as_the_capability(capability: str) -> None:
    explained = explain(request(capability), NOTHING, NOTHING)
    assert explained.remedy.isprintable()
    assert yaml_of(explained) == {"capabilities": [capability]}
    (pattern,) = yaml_of(explained)["capabilities"]
    assert explain(request(capability), CapabilitySet(pattern), NOTHING).verdict.allowed


def test_a_star_in_a_path_comes_with_a_warning_since_the_pattern_is_wider() -> None:
    explained = explain(request("f./a*"), NOTHING, NOTHING)
    assert explained.remedy.endswith("(as a pattern its star stands for more)")
    assert yaml_of(explained) == {"capabilities": ["f./a*"]}


def test_hostile_text_is_escaped_wherever_it_is_shown() -> None:
    hostile = "f./\u202e\x1b[2J\nallowed"
    explained = explain(
        CheckRequest("\x1b[31m", hostile, "ws\n\x1b", NOTHING, NOTHING),
        EVERYTHING,
        NOTHING,
    )
    lines = explained.text().split("\n")
    assert len(lines) == 6
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("patterns", "nearest"),
    [
        (["messages.send.slack", "messages.read", "kv.*"], "messages.send.slack"),
        (["message.send.telegram"], "message.send.telegram"),
        (["me.send.telegram", "kv.*"], None),
        (["mes.send.telegram", "kv.*"], "mes.send.telegram"),
        ([], None),
    ],
)
def test_the_nearest_pattern_has_the_longest_beginning_in_common(
    patterns: list[str], nearest: str | None
) -> None:
    explained = explain(
        request("messages.send.telegram"), CapabilitySet(*patterns), CapabilitySet(*patterns)
    )
    assert explained.plugin_allow.nearest == nearest
    assert explained.plugin_deny.nearest is None


def test_the_search_for_the_nearest_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NEAREST_PATTERNS_MAX", 2)
    explained = explain(request("abcd"), CapabilitySet("aaa", "aab", "abc"), NOTHING)
    assert explained.plugin_allow.nearest is None
    monkeypatch.setattr(module, "NEAREST_LENGTH_MAX", 2)
    explained = explain(request("abcd"), CapabilitySet("abc"), NOTHING)
    assert explained.plugin_allow.nearest is None


PATTERNS = st.sampled_from(["*", "a", "a.*", "*.b", "a.b", "f./*", "f./a", "f.*"])
SETS = st.lists(PATTERNS, max_size=3).map(lambda patterns: CapabilitySet(*patterns))
CAPABILITIES = st.sampled_from(["a", "a.b", "c.b", "f./", "f./a", "f.a", "a..b"]) | st.text()


@given(CAPABILITIES, st.none() | SETS, st.none() | SETS, SETS, SETS, st.sampled_from(["e", "E"]))
def test_an_explanation_agrees_with_the_decision(
    capability: str,
    allow: CapabilitySet | None,
    deny: CapabilitySet | None,
    workspace: CapabilitySet,
    user: CapabilitySet,
    plugin: str,
) -> None:
    asked = request(capability, plugin=plugin, workspace=workspace, user=user)
    explained = explain(asked, allow, deny)
    verdict = decide(asked, allow, deny)
    assert explained.verdict == verdict
    assert bool(explained.remedy) is not verdict.allowed
    for one in explained.sets:
        told = getattr(verdict.matched, one.name)
        assert told == (one.matched if one.consulted else None)
    consulted = [one.consulted for one in explained.sets]
    assert consulted == sorted(consulted, reverse=True)
    assert all(line.isprintable() for line in explained.text().split("\n"))
