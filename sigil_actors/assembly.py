"""A configuration becomes a running runtime: the one place that names concrete tiers."""

import logging
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from os import PathLike
from pathlib import Path

from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.sandbox_proof import AttackResult, SandboxProof
from sigil_actors.ports.audit_store import AuditStore
from sigil_actors.ports.tier import Tier
from sigil_actors.ports.wall_clock import WallClock
from sigil_actors.runtime.definition import NO_CONFIG, Definition, manifest_digest
from sigil_actors.runtime.discovery import Found
from sigil_actors.runtime.enforcer import Enforcer, open_enforcer
from sigil_actors.runtime.host_calls import HostFunction
from sigil_actors.runtime.manager import Manager
from sigil_actors.runtime.runtime import Parts, Runtime, run_runtime
from sigil_actors.runtime.settings import RuntimeSettings
from sigil_actors.storage.approvals_file import FileApprovalStore
from sigil_actors.storage.memory_approvals import MemoryApprovalStore
from sigil_actors.storage.sqlite_kv import open_sqlite_kv
from sigil_actors.storage.state_folder import open_state_folder

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_runtime(
    plugins_dir: str | PathLike[str] | None = None,
    *,
    audit_store: AuditStore,
    manifests: Sequence[Found | tuple[Manifest, str | PathLike[str] | None]] = (),
    host_functions: Mapping[str, HostFunction] | None = None,
    settings: RuntimeSettings | None = None,
    configs: Mapping[str, JsonObject] | None = None,
    state_dir: str | PathLike[str] | None = None,
    tiers: Sequence[Tier] | None = None,
    clock: WallClock | None = None,
) -> AsyncGenerator[Runtime]:
    """Run plugins for as long as the block lasts.

    Args:
        plugins_dir: The folder with a folder for each plugin. A missing one is empty.
        audit_store: Where every decision is recorded, opened and closed here. No store, no runtime.
        manifests: Plugins made in code, each with its folder (None: it has no files), or found by
            a look into a folder that was made before.
        host_functions: What plugins may call back, by capability pattern; the longest one wins.
        settings: Bounds and times.
        configs: The configuration of each plugin, by its name.
        state_dir: Where plugins' keys and values, the snapshots, and what each plugin was allowed
            are kept. Without one, all of that lives as long as the block: the first version of each
            plugin after a start runs without being compared with the one before.
        tiers: The ways of running plugins; those of this package where none are given.
        clock: The time of day, for audit entries.

    Raises:
        AuditUnavailableError: the audit store can't be opened.
        StateFolderError: the state folder can't be used, or another runtime uses it.
        SettingsError: a setting or a host function can't be as it is.

    A plugin of the process tier on a machine that can't make a sandbox is refused, and the rest
    runs; see `RuntimeSettings.unsafe_no_sandbox`.
    """
    settings = settings or RuntimeSettings()
    async with AsyncExitStack() as stack:
        state = await stack.enter_async_context(
            open_state_folder(None if state_dir is None else Path(state_dir))
        )
        kv = await stack.enter_async_context(open_sqlite_kv(state.kv))
        enforcer = await stack.enter_async_context(
            open_enforcer(
                audit_store,
                clock=clock,
                mailbox_size=settings.mailbox_size,
                audit_timeout_s=settings.audit_timeout_s,
            )
        )
        chosen = tiers
        if chosen is None:
            chosen = _default_tiers(settings, (state_dir, plugins_dir), enforcer, state.proofs)
        for tier in chosen:
            # It may have what outlives its instances: a thread, a folder.
            if isinstance(tier, AbstractAsyncContextManager):
                await stack.enter_async_context(tier)
        if settings.unsafe_no_sandbox:
            await _record_unsafe(enforcer)
        parts = Parts(
            enforcer=enforcer,
            manager=Manager(
                None if plugins_dir is None else Path(plugins_dir),
                None,
                tiers=[tier.kind for tier in chosen],
            ),
            definitions=[_definition(given, configs or {}) for given in manifests],
            tiers={tier.kind: tier for tier in chosen},
            snapshots=state.snapshots,
            kv=kv,
            approvals=(
                MemoryApprovalStore()
                if state.approvals is None
                else FileApprovalStore(state.approvals)
            ),
            host_functions=host_functions or {},
            configs=configs or {},
            settings=settings,
        )
        runtime = await stack.enter_async_context(run_runtime(parts))
        yield runtime


async def _record_unsafe(enforcer: Enforcer) -> None:
    logger.warning("plugins of the process tier run without a sandbox: unsafe_no_sandbox is set")
    await enforcer.record(
        AuditEntry(
            action="sandbox_disabled",
            timestamp=enforcer.clock.now(),
            actor="operator",
            result="disabled",
            reason="settings.unsafe_no_sandbox",
        )
    )


async def _record_proof(enforcer: Enforcer, plugin: str, proof: SandboxProof) -> None:
    await enforcer.record(
        AuditEntry(
            action="sandbox_proof",
            timestamp=enforcer.clock.now(),
            actor="runtime",
            plugin=plugin,
            result="holds" if proof.holds else "broken",
            reason="; ".join(failure.name for failure in proof.failures),
            details={
                "held": proof.count(AttackResult.HELD),
                "nothing_to_attack": [
                    outcome.name
                    for outcome in proof.outcomes
                    if outcome.result is AttackResult.SKIPPED
                ],
            },
        )
    )


def _default_tiers(
    settings: RuntimeSettings,
    own_folders: Sequence[str | PathLike[str] | None],
    enforcer: Enforcer,
    proofs_folder: Path | None,
) -> Sequence[Tier]:
    # Loaded on use: importing the package must load neither wasmtime nor gRPC.
    from sigil_actors.tiers.process import PluginUids, ProcessTier
    from sigil_actors.tiers.wasm import WasmTier

    return (
        WasmTier(),
        ProcessTier(
            uids=PluginUids(settings.plugin_uids.first, settings.plugin_uids.count),
            unsafe_no_sandbox=settings.unsafe_no_sandbox,
            auto_mtls=settings.auto_mtls,
            write_bytes_max=settings.write_bytes_per_plugin,
            host_folders=[os.path.realpath(folder) for folder in own_folders if folder is not None],
            told_of_proof=partial(_record_proof, enforcer),
            proofs_folder=proofs_folder,
        ),
    )


def _definition(
    given: Found | tuple[Manifest, str | PathLike[str] | None],
    configs: Mapping[str, JsonObject],
) -> Definition:
    if isinstance(given, Found):
        return Definition(
            manifest=given.manifest,
            folder=given.folder,
            config=configs.get(given.manifest.name, NO_CONFIG),
            manifest_sha256=given.manifest_sha256,
            is_from_folder=True,
        )
    manifest, folder = given
    return Definition(
        manifest=manifest,
        folder=None if folder is None else Path(folder),
        config=configs.get(manifest.name, NO_CONFIG),
        manifest_sha256=manifest_digest(manifest),
    )
