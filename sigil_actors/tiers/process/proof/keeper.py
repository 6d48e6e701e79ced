"""Sees to it that every sandbox was tried before a plugin runs in it, and each only once."""

import hashlib
import json
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio

from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.core.egress_rule import EgressRule
from sigil_actors.core.proof_plan import proof_name
from sigil_actors.core.sandbox_plan import SandboxPlan
from sigil_actors.core.sandbox_proof import SandboxProof
from sigil_actors.errors import SandboxBrokenError
from sigil_actors.tiers.process.proof.trial import attack_program, try_sandbox
from sigil_actors.tiers.process.sandbox.launch import SandboxHost
from sigil_actors.tiers.process.spawner import Identity

Told = Callable[[str, SandboxProof], Awaitable[None]]
"""Takes the plugin's name and what its sandbox proved; raises where it can't be recorded."""

REMEMBERED_MAX: Final = 1024
"""Proofs in a folder, each a line: far more than plugins times updates of a machine."""


class ProofKeeper:
    """Knows which sandboxes hold.

    Args:
        told: Has each new proof recorded, before the plugin is started.
        folder: Where proofs outlive the host; without one, each host tries anew. Nobody else may
            write it.
    """

    def __init__(self, told: Told, folder: Path | None) -> None:
        self._told = told
        self._folder = folder
        self._known: set[str] = set()
        self._one_at_a_time = trio.Lock()

    async def ensure(
        self,
        plan: SandboxPlan,
        *,
        host: SandboxHost,
        identity: Identity | None,
        rule: EgressRule,
    ) -> None:
        """Return once the plan's sandbox is known to hold.

        Raises:
            SandboxBrokenError: it doesn't; names what got through.
            SandboxUnavailableError: it can't be tried.
            PluginStartError: it can't be made.
            AuditUnavailableError: the proof can't be recorded.
        """
        program = attack_program(host.facts.architecture)
        name = proof_name(plan, host.facts, program, has_own_uid=identity is not None)
        if name in self._known:
            return
        async with self._one_at_a_time:
            if name in self._known or await self._is_remembered(name):
                self._known.add(name)
                return
            proof = await try_sandbox(plan, host=host, identity=identity, rule=rule)
            await self._told(plan.plugin, proof)
            if not proof.holds:
                raise SandboxBrokenError(
                    [f"{failure.name} ({failure.what})" for failure in proof.failures]
                )
            self._known.add(name)
            await self._remember(name, proof)

    async def _is_remembered(self, name: str) -> bool:
        if self._folder is None:
            return False
        return await run_in_worker(partial(_is_whole, self._folder / name))

    async def _remember(self, name: str, proof: SandboxProof) -> None:
        if self._folder is not None:
            await run_in_worker(partial(_write, self._folder, name, proof))


def _is_whole(path: Path) -> bool:
    """Tell whether there is a proof, whole, and written by this user."""
    try:
        if path.stat().st_uid != os.geteuid():
            return False
        text = path.read_text()
    except (OSError, ValueError):
        return False
    told, _, digest = text.rstrip("\n").rpartition("\n")
    return digest == hashlib.sha256(f"{path.name}\n{told}".encode()).hexdigest()


def _write(folder: Path, name: str, proof: SandboxProof) -> None:
    """Write a proof; where it can't be, the next host tries again."""
    told = json.dumps({outcome.name: outcome.result for outcome in proof.outcomes})
    digest = hashlib.sha256(f"{name}\n{told}".encode()).hexdigest()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        kept = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in kept[: max(0, len(kept) - REMEMBERED_MAX + 1)]:
            path.unlink()
        half = folder / f".{name}"
        half.write_text(f"{told}\n{digest}\n")
        half.replace(folder / name)
    except OSError:
        return
