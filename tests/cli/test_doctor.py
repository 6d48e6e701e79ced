"""`doctor`: what is needed and doesn't work makes it 9, what is absent doesn't."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sigil_actors.cli import doctor as module
from sigil_actors.cli.doctor import Status, doctor
from sigil_actors.tiers.process.sandbox import probe
from tests.cli.command import sigil


def test_a_machine_that_runs_the_tests_is_healthy(tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = sigil("doctor", "--state", state, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert report["healthy"] is True
    checks = {check["name"]: check for check in report["checks"]}
    for needed in ("python", "trio", "wasmtime", "wasm tier", "sqlite"):
        assert checks[needed]["status"] == "ok"
    assert checks["audit log"]["status"] in {"ok", "slow"}
    assert "fsync" in checks["audit log"]["found"]
    for optional in ("bubblewrap", "namespaces", "seccomp", "cgroups", "uids", "Go"):
        assert checks[optional]["status"] in {"ok", "weak", "absent"}
        assert checks[optional]["status"] == "ok" or checks[optional]["remedy"]
    assert not state.exists()


def test_people_get_a_table(tmp_path: Path) -> None:
    done = sigil("doctor", "--state", tmp_path)
    assert done.returncode == 0
    assert "wasm tier" in done.stdout
    assert list(tmp_path.iterdir()) == []


def run_doctor(capsys: pytest.CaptureFixture[str], state: Path) -> tuple[int, dict[str, str]]:
    code = doctor(state=state, json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["healthy"] is (code == 0)
    return code, {check["name"]: check["status"] for check in report["checks"]}


@pytest.mark.parametrize(
    "program", ["raise SystemExit('no executable memory')", "import os; os.abort()", "print(41)"]
)
def test_a_wasm_tier_that_doesnt_work_is_9(
    program: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(module, "_PROBE", program)
    code, checks = run_doctor(capsys, tmp_path)
    assert (code, checks["wasm tier"]) == (9, Status.BAD)


def test_a_probe_that_hangs_is_bounded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_PROBE", "import threading; threading.Event().wait()")
    monkeypatch.setattr(module, "PROBE_S", 0.5)
    code, checks = run_doctor(capsys, tmp_path)
    assert (code, checks["wasm tier"]) == (9, Status.BAD)


def test_a_disk_that_is_slow_is_told_and_still_healthy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "SLOW_FSYNC_MS", 0.0)
    code, checks = run_doctor(capsys, tmp_path)
    assert (code, checks["audit log"]) == (0, Status.SLOW)


def test_an_audit_folder_that_cant_be_written_is_9(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def refused(_folder: Path) -> float:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(module, "_fsync_ms", refused)
    code, checks = run_doctor(capsys, tmp_path)
    assert (code, checks["audit log"]) == (9, Status.BAD)


def test_a_sandbox_is_tried_where_one_can_be_made(
    require: Callable[[str], None], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    require("bwrap")
    code = doctor(state=tmp_path, json=True)
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert code == 0
    assert checks["sandbox proof"]["status"] == "ok"
    assert re.fullmatch(r"\d+ attacks tried in one, all held", checks["sandbox proof"]["found"])


def test_a_sandbox_that_doesnt_hold_is_9_and_named(
    require: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    require("bwrap")
    allow_all = bytes.fromhex("060000000000ff7f")
    monkeypatch.setattr("sigil_actors.core.bwrap_args.filter_for", lambda _: allow_all)
    code = doctor(state=tmp_path, json=True)
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert (code, checks["sandbox proof"]["status"]) == (9, "bad")
    assert "system calls: be traced" in checks["sandbox proof"]["found"]


def test_what_sandboxes_lack_is_told_and_no_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(probe, "DISTRIBUTION_PATH", str(tmp_path))
    monkeypatch.setattr(probe, "PYPI_PACKAGE", "no_such_package_of_bubblewrap")
    monkeypatch.setattr(probe, "probe_cgroups", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    code = doctor(state=tmp_path, json=True)
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert code == 0
    for name in ("bubblewrap", "namespaces", "seccomp"):
        assert checks[name]["status"] == "absent"
        assert "process plugins are refused" in checks[name]["found"]
    assert "apt install bubblewrap" in checks["bubblewrap"]["remedy"]
    assert "sandbox proof" not in checks
    assert checks["cgroups"]["status"] == "weak"
    assert "Delegate=yes" in checks["cgroups"]["remedy"]
    assert checks["Go"]["status"] == "absent"
