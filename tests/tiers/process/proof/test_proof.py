"""A sandbox is tried before its plugin runs in it; one that doesn't hold refuses the start."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from sigil_actors.core.egress_rule import EgressRule
from sigil_actors.core.execution import Limits
from sigil_actors.core.host_facts import HostFacts
from sigil_actors.core.proof_plan import PROGRAM, proof_name, proof_plan
from sigil_actors.core.sandbox_mounts import Bind, Sealed, SyntheticFile
from sigil_actors.core.sandbox_plan import SandboxPlan
from sigil_actors.core.sandbox_proof import AttackResult, SandboxProof
from sigil_actors.errors import AuditUnavailableError, SandboxBrokenError, SandboxUnavailableError
from sigil_actors.tiers.process.proof import trial
from sigil_actors.tiers.process.proof.keeper import ProofKeeper
from sigil_actors.tiers.process.sandbox.probe import probe_host_blocking
from sigil_actors.tiers.process.static_programs import ATTACKS, build
from tests.tiers.process.sandbox.sandboxes import IDENTITY, PROXY, Folders, open_host, plan_of

NOTHING = EgressRule.from_entries(())
SMALL = Limits(memory=48 * 1024 * 1024, pids=20)


@pytest.fixture(scope="module")
def facts(require: Callable[[str], None]) -> HostFacts:
    require("bwrap")
    return probe_host_blocking(IDENTITY)


@pytest.fixture
def folders() -> Iterator[Folders]:
    with reachable_folders() as folders:
        yield folders


@contextmanager
def reachable_folders() -> Iterator[Folders]:
    # Not in pytest's own folder: only its user may pass that, and a plugin has a uid of its own.
    with tempfile.TemporaryDirectory(prefix="sigil-test-") as root:
        yield Folders.below(Path(root).resolve())


@pytest.fixture
def plan(facts: HostFacts, folders: Folders) -> SandboxPlan:
    return plan_of(("/bin/true",), facts, folders, limits=SMALL)


class Told:
    """Keeps what was told, or fails to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.proofs: list[SandboxProof] = []
        self._error = error

    async def __call__(self, _: str, proof: SandboxProof) -> None:
        if self._error is not None:
            raise self._error
        self.proofs.append(proof)


async def ensure(keeper: ProofKeeper, plan: SandboxPlan, facts: HostFacts) -> None:
    async with open_host(facts) as host:
        await keeper.ensure(plan, host=host, identity=IDENTITY, rule=NOTHING)


async def test_a_sandbox_holds_and_is_tried_once(plan: SandboxPlan, facts: HostFacts) -> None:
    told = Told()
    keeper = ProofKeeper(told, None)
    for _ in range(2):
        await ensure(keeper, plan, facts)
    (proof,) = told.proofs
    assert proof.holds
    assert proof.count(AttackResult.HELD) >= 30


async def test_with_a_network_the_proxy_is_tried_too(facts: HostFacts, folders: Folders) -> None:
    told = Told()
    plan = plan_of(("/bin/true",), facts, folders, network=PROXY, limits=SMALL)
    await ensure(ProofKeeper(told, None), plan, facts)
    (proof,) = told.proofs
    asked = [one for one in proof.outcomes if "by the proxy" in one.name]
    assert {one.result for one in asked} == {AttackResult.HELD}
    assert all("403" in one.what for one in asked)


async def test_a_proof_outlives_the_host(
    plan: SandboxPlan, facts: HostFacts, tmp_path: Path
) -> None:
    told = Told()
    for _ in range(2):
        await ensure(ProofKeeper(told, tmp_path / "proofs"), plan, facts)
    assert len(told.proofs) == 1


@pytest.mark.parametrize("harm", ["cut", "changed", "renamed"])
async def test_a_proof_that_isnt_whole_is_none(
    plan: SandboxPlan, facts: HostFacts, tmp_path: Path, harm: str
) -> None:
    told = Told()
    folder = tmp_path / "proofs"
    await ensure(ProofKeeper(told, folder), plan, facts)
    (kept,) = folder.iterdir()
    if harm == "cut":
        kept.write_text(kept.read_text()[:-10])
    elif harm == "changed":
        kept.write_text(kept.read_text().replace("held", "HELD", 1))
    else:
        other = attrs.evolve(plan, hostname="other")
        name = proof_name(other, facts, _program(facts), has_own_uid=IDENTITY is not None)
        kept.rename(folder / name)
        plan = other
    await ensure(ProofKeeper(told, folder), plan, facts)
    assert len(told.proofs) == 2


async def test_a_sandbox_that_shows_too_much_refuses_the_start(
    plan: SandboxPlan, facts: HostFacts
) -> None:
    """As if the planning had a bug: the host's folder for temporary files is shown."""
    leak = Bind(source="/tmp", target="/tmp", why="a bug")
    mounts = tuple(mount for mount in plan.mounts if getattr(mount, "path", "") != "/tmp")
    broken = attrs.evolve(plan, mounts=(*mounts[:-1], leak, mounts[-1]))
    told = Told()
    with pytest.raises(SandboxBrokenError) as raised:
        await ensure(ProofKeeper(told, None), broken, facts)
    assert {failure.partition(" (")[0] for failure in raised.value.failures} == {
        "files: read one of the host's",
        "files: list a folder of the host's",
    }
    assert not told.proofs[0].holds


async def test_a_sandbox_without_its_filter_refuses_the_start(
    plan: SandboxPlan, facts: HostFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow_all = bytes.fromhex("0600000000 00ff7f".replace(" ", ""))
    monkeypatch.setattr("sigil_actors.core.bwrap_args.filter_for", lambda _: allow_all)
    with pytest.raises(SandboxBrokenError, match="system calls: "):
        await ensure(ProofKeeper(Told(), None), plan, facts)


async def test_a_broken_sandbox_is_tried_again_next_time(
    plan: SandboxPlan, facts: HostFacts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keeper = ProofKeeper(Told(), tmp_path / "proofs")
    with monkeypatch.context() as broken:
        allow_all = bytes.fromhex("060000000000ff7f")
        broken.setattr("sigil_actors.core.bwrap_args.filter_for", lambda _: allow_all)
        with pytest.raises(SandboxBrokenError):
            await ensure(keeper, plan, facts)
    await ensure(keeper, plan, facts)


async def test_nothing_starts_where_the_proof_cant_be_recorded(
    plan: SandboxPlan, facts: HostFacts, tmp_path: Path
) -> None:
    told = Told(AuditUnavailableError("the disk is full"))
    keeper = ProofKeeper(told, tmp_path / "proofs")
    for _ in range(2):  # nor is it taken as known
        with pytest.raises(AuditUnavailableError):
            await ensure(keeper, plan, facts)


async def test_attacks_that_cant_be_run_prove_nothing(
    plan: SandboxPlan, facts: HostFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "attack_program", lambda _: b"no program at all")
    with pytest.raises(SandboxUnavailableError):
        await ensure(ProofKeeper(Told(), None), plan, facts)


async def test_a_machine_without_the_attacks_is_told(facts: HostFacts, plan: SandboxPlan) -> None:
    other = attrs.evolve(facts, architecture="riscv64")
    with pytest.raises(SandboxUnavailableError, match=r"attacks\.riscv64 is missing"):
        await ensure(ProofKeeper(Told(), None), plan, other)


def test_the_attacks_run_in_exactly_the_plans_sandbox(plan: SandboxPlan) -> None:
    tried = proof_plan(plan, b"program", {"a": "b"})
    added = [mount for mount in tried.mounts if mount not in plan.mounts]
    assert added == [SyntheticFile(path=PROGRAM, content=b"program", is_program=True)]
    assert [mount for mount in tried.mounts if mount not in added] == list(plan.mounts)
    assert tried.mounts.index(added[0]) < tried.mounts.index(Sealed(path="/"))
    changed = {
        field.name
        for field in attrs.fields(SandboxPlan)
        if getattr(tried, field.name) != getattr(plan, field.name)
    }
    assert changed <= {"command", "environment", "mounts"}


@pytest.mark.parametrize(
    "changed",
    [
        {"hostname": "other"},
        {"uid": 1},
        {"proxy_port": 1},
        {"folder": "/elsewhere"},
        {"mounts": ()},
    ],
)
def test_another_plan_has_another_proof(
    plan: SandboxPlan, facts: HostFacts, changed: dict[str, object]
) -> None:
    program = _program(facts)
    other = attrs.evolve(plan, **changed)  # type: ignore[arg-type] # one field at a time
    assert proof_name(plan, facts, program, has_own_uid=True) != proof_name(
        other, facts, program, has_own_uid=True
    )


def test_another_machine_has_another_proof(plan: SandboxPlan, facts: HostFacts) -> None:
    program = _program(facts)
    here = proof_name(plan, facts, program, has_own_uid=True)
    assert here != proof_name(plan, attrs.evolve(facts, kernel="9.9"), program, has_own_uid=True)
    assert here != proof_name(plan, attrs.evolve(facts, bubblewrap=None), program, has_own_uid=True)
    assert here != proof_name(plan, facts, program + b"x", has_own_uid=True)
    assert here != proof_name(plan, facts, program, has_own_uid=False)


def test_each_starts_own_folders_make_no_difference(facts: HostFacts) -> None:
    names = set()
    for number in range(2):
        with reachable_folders() as folders:
            plan = plan_of(("/bin/true",), facts, folders, environment={"A": str(number)})
            names.add(proof_name(plan, facts, b"", has_own_uid=True))
    assert len(names) == 1


def test_the_same_plan_has_the_same_name_in_every_process() -> None:
    """The order of a set differs from process to process; the name must not."""
    script = Path(__file__).with_name("print_name.py")
    names = {
        subprocess.run(
            [sys.executable, script],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(names) == 1


@pytest.mark.slow
@pytest.mark.skipif("CI" not in os.environ, reason="building takes half a minute; CI does it")
def test_a_rebuild_of_the_attacks_gives_the_committed_bytes(
    require: Callable[[str], None], tmp_path: Path
) -> None:
    require("zig")
    built = build(ATTACKS, "x86_64", tmp_path)
    assert built.read_bytes() == trial.attack_program("x86_64")


def _program(facts: HostFacts) -> bytes:
    return trial.attack_program(facts.architecture)
