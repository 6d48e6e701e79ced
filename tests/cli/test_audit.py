"""`audit query` and `audit verify`: what is in the log, and whether it is what was written."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sigil_actors.cli.audit_query import ACTIONS, RESULTS
from tests.cli.command import EXAMPLES, error_of, json_lines, sigil

SEGMENT = "segment-000001.db"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a log of a call that was answered and one that was denied."""
    state = tmp_path_factory.mktemp("audit") / "state"
    where = ("--plugins", EXAMPLES, "--state", state)
    assert sigil("call", "text-tool", "stats", '{"text": "a"}', *where).returncode == 0
    assert sigil("call", "greedy", "grab", *where).returncode == 0
    denied = ("--workspace-allow", "kv.*")
    assert sigil("call", "greedy", "grab", *where, *denied).returncode == 5
    return state


def query(state: Path, *arguments: str) -> list[dict[str, object]]:
    done = sigil("audit", "query", "--state", state, "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json_lines(done.stdout)


def test_every_entry_is_a_json_line_with_all_that_it_holds(state: Path) -> None:
    entries = query(state)
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))
    for entry in entries:
        assert datetime.fromisoformat(str(entry["timestamp"])).tzinfo is not None
        assert len(str(entry["hash"])) == 64
    assert set(entries[0]) == {
        "seq", "timestamp", "action", "actor", "plugin", "workspace_id", "user_id", "session_id",
        "capability", "result", "reason", "details", "hash",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "value", "field"),
    [
        ("--action", "outcome", "action"),
        ("--actor", "runtime", "actor"),
        ("--plugin", "greedy", "plugin"),
        ("--workspace-id", "local", "workspace_id"),
        ("--result", "denied", "result"),
    ],
)
def test_a_filter_lets_through_what_fits_and_all_of_it(
    option: str, value: str, field: str, state: Path
) -> None:
    everything = query(state)
    fits = [entry for entry in everything if entry[field] == value]
    assert 0 < len(fits) < len(everything)
    assert query(state, option, value) == fits


def test_user_and_session_are_filters_too(state: Path) -> None:
    call = query(state, "--action", "outcome")[0]
    user, session = str(call["user_id"]), str(call["session_id"])
    assert user.startswith("uid:")
    assert all(entry["user_id"] == user for entry in query(state, "--user-id", user))
    assert {entry["session_id"] for entry in query(state, "--session-id", session)} == {session}


def test_a_capability_is_filtered_by_a_pattern(state: Path) -> None:
    found = {entry["capability"] for entry in query(state, "--capability", "tool.*")}
    assert found == {"tool.stats", "tool.grab"}


def test_times_and_numbers_bound_what_is_shown(state: Path) -> None:
    everything = query(state)
    middle = everything[5]
    assert query(state, "--since", str(middle["timestamp"]))[0]["seq"] <= 6  # type: ignore[operator]
    assert query(state, "--until", str(middle["timestamp"]), "--after-seq", "4")[0]["seq"] == 5
    naive = str(middle["timestamp"]).removesuffix("+00:00")
    assert query(state, "--since", naive) == query(state, "--since", str(middle["timestamp"]))
    assert query(state, "--since", datetime.max.replace(tzinfo=UTC).isoformat()) == []
    assert [entry["seq"] for entry in query(state, "--newest-first", "--limit", "2")] == [
        len(everything),
        len(everything) - 1,
    ]


def test_a_limit_that_was_reached_is_told_on_standard_error(state: Path) -> None:
    done = sigil("audit", "query", "--state", state, "--json", "--limit", "2")
    assert len(json_lines(done.stdout)) == 2
    assert "limit of 2 is reached" in done.stderr
    assert "limit" not in sigil("audit", "query", "--state", state).stderr


def test_a_long_log_comes_in_pages_without_a_gap(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sigil_actors.cli import audit_query

    everything = query(state)
    monkeypatch.setattr(audit_query, "PAGE", 3)
    assert audit_query.query(state=state, json=True) == 0
    assert json_lines(capsys.readouterr().out) == everything
    assert audit_query.query(state=state, json=True, limit=7) == 0
    assert json_lines(capsys.readouterr().out) == everything[:7]


def test_people_get_a_table(state: Path) -> None:
    done = sigil("audit", "query", "--state", state, "--plugin", "greedy")
    assert "capability_check" in done.stdout
    assert "user_permission" not in done.stdout
    assert "workspace_allow_missing" in done.stdout
    assert "plugin_allow_missing" in done.stdout
    assert "--json has them" in done.stderr
    whole = sigil("audit", "query", "--state", state, "--action", "nothing")
    assert "--json" not in whole.stderr.replace("--action", "")


def test_reading_changes_and_makes_nothing(state: Path) -> None:
    folder = state / "audit"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    query(state)
    sigil("audit", "verify", "--state", state)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("command", ["query", "verify"])
def test_a_log_that_isnt_there_is_4_and_isnt_made(command: str, tmp_path: Path) -> None:
    (tmp_path / "state" / "audit").mkdir(parents=True)
    for folder in (tmp_path / "state", tmp_path / "none"):
        error = error_of(sigil("audit", command, "--state", folder, "--json"))
        assert (error["exit_code"], error["type"]) == (4, "PathNotFoundError")
    assert list((tmp_path / "state" / "audit").iterdir()) == []
    assert not (tmp_path / "none").exists()


def test_a_time_or_a_hash_that_is_none_is_3(state: Path) -> None:
    assert sigil("audit", "query", "--state", state, "--since", "yesterday").returncode == 3
    assert sigil("audit", "query", "--state", state, "--capability", "a..b").returncode == 3
    assert sigil("audit", "verify", "--state", state, "--expected-head", "12").returncode == 3


def test_a_good_log_is_verified_with_its_head(state: Path) -> None:
    entries = query(state)
    done = sigil("audit", "verify", "--state", state, "--json")
    assert done.returncode == 0
    head = str(entries[-1]["hash"])
    assert json.loads(done.stdout) == {
        "ok": True, "entries": len(entries), "head": head, "first_bad": None,
    }  # fmt: skip
    assert sigil("audit", "verify", "--state", state).stdout == (
        f"OK: {len(entries)} entries, head {head}\n"
    )
    assert sigil("audit", "verify", "--state", state, "--expected-head", head).returncode == 0


def test_a_head_that_isnt_there_is_7(state: Path) -> None:
    done = sigil("audit", "verify", "--state", state, "--expected-head", "ab" * 32, "--json")
    assert done.returncode == 7
    assert json.loads(done.stdout)["first_bad"]["kind"] == "truncated"


def test_a_flipped_byte_is_7_and_names_the_entry(state: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(state / "audit" / SEGMENT, copy)
    content = copy.read_bytes()
    expected = query(state, "--result", "denied")[0]["seq"]
    at = content.index(b'"denied"', content.index(f"[1,{expected},".encode()))
    copy.write_bytes(content[:at] + b'"denjed"' + content[at + 8 :])
    done = sigil("audit", "verify", copy, "--json")
    assert done.returncode == 7
    bad = json.loads(done.stdout)["first_bad"]
    assert (bad["seq"], bad["kind"]) == (expected, "edited")
    told = sigil("audit", "verify", copy)
    assert told.returncode == 7
    assert told.stdout.startswith(f"BAD: entry {expected}: edited: ")


@pytest.mark.parametrize(
    ("option", "word", "meant"),
    [("--action", "outcom", "outcome"), ("--result", "Denied", "denied")],
)
def test_a_word_that_no_entry_can_hold_is_told_with_the_one_that_was_meant(
    option: str, word: str, meant: str, state: Path
) -> None:
    done = sigil("audit", "query", option, word, "--state", state)
    assert done.returncode == 0
    assert f"Did you mean '{meant}'?" in done.stderr
    assert sigil("audit", "query", option, meant, "--state", state).stderr == ""


def test_every_word_of_a_log_is_known(state: Path) -> None:
    entries = query(state)
    assert {str(entry["action"]) for entry in entries} <= ACTIONS
    assert {str(entry["result"]) for entry in entries} <= RESULTS


@pytest.mark.parametrize("option", ["--after-seq", "--limit"])
def test_a_number_that_no_log_reaches_is_2(option: str, state: Path) -> None:
    assert sigil("audit", "query", option, str(2**63), "--state", state).returncode == 2
    assert sigil("audit", "query", option, str(2**63 - 1), "--state", state).returncode == 0
