"""One version of a plugin on its way to run: its snapshot, and whether it may run as it is.

The snapshot is made once and kept until the version is done with, so that a restart runs what was
checked, whatever has become of the plugin's folder since. A version that asks for more than the one
before is held until somebody approves exactly these files.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import attrs
import trio

from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.core.approvals import held_for, with_accepted
from sigil_actors.core.authority import authority_of
from sigil_actors.core.json_schema import SchemaValidator
from sigil_actors.errors import PluginHeldError, PluginRefusedError
from sigil_actors.ports.tier import Tier
from sigil_actors.runtime.approval_records import ApprovalRecords
from sigil_actors.runtime.definition import Definition
from sigil_actors.runtime.discovery import MANIFEST_NAME, read_manifest
from sigil_actors.runtime.settings import RuntimeSettings
from sigil_actors.runtime.snapshot import open_snapshot

CLOSE_S = 30.0
"""What removing a snapshot may take; local files end long before."""


@attrs.frozen
class VersionFiles:
    """What a version runs from."""

    folder: Path | None
    digest: str
    """SHA-256 of the snapshot as 64 hex digits; empty where there are no files."""


class Version:
    """One version of a plugin. Used by one task at a time; `close` it when nothing runs from it."""

    def __init__(
        self,
        definition: Definition,
        *,
        settings: RuntimeSettings,
        snapshots: Callable[[], Path],
        approvals: ApprovalRecords,
        tiers: Mapping[str, Tier],
    ) -> None:
        self.definition = definition
        self._settings = settings
        self._snapshots = snapshots
        self._approvals = approvals
        self._tiers = tiers
        self._stack = AsyncExitStack()
        self._files: VersionFiles | None = None
        self._is_accepted = False

    @property
    def digest(self) -> str:
        """Return what `VersionFiles.digest` is or was; empty before `prepare`."""
        return "" if self._files is None else self._files.digest

    def check(self) -> Tier:
        """Check what needs no files, and return the tier that runs it.

        Raises:
            PluginRefusedError: it can't run here as it is.
        """
        definition = self.definition
        name, manifest = definition.name, definition.manifest
        # One from a folder was checked when it was read, in a thread: that can take a second.
        problems = () if definition.is_from_folder else manifest.validate()
        if problems:
            raise PluginRefusedError(
                name, f"has a manifest that isn't sound: {problems[0].render('manifest')}"
            )
        word = str(manifest.execution.tier)
        tier = self._tiers.get(word)
        if tier is None:
            has = ", ".join(sorted(self._tiers)) or "none"
            raise PluginRefusedError(
                name,
                f"needs the tier {word!r}, which this runtime doesn't have",
                remedy=f"It has: {has}",
            )
        wrong = SchemaValidator(manifest.config_schema).problems(definition.config)
        if wrong:
            raise PluginRefusedError(
                name,
                f"has a configuration that doesn't fit its config_schema: {'; '.join(wrong)}",
                remedy="Mend the plugin's section of the configuration",
            )
        return tier

    async def prepare(self) -> VersionFiles:
        """Copy its files and check that it may run; the second time, return what is there.

        Raises:
            PluginRefusedError: see `check`.
            PluginStartError: its folder can't be copied, or isn't what its manifest was read from.
            PluginHeldError: it asks for more than the version before, and nobody approved it.
            ApprovalsUnavailableError: what was approved can't be read, so nothing is.
        """
        if self._files is None:
            # First: nobody is to approve what can't run here anyway.
            self.check()
            files = await self._copy()
            try:
                await self._check_held(files)
            except BaseException:
                await self.close()
                self._stack = AsyncExitStack()
                raise
            self._files = files
        return self._files

    async def accept(self) -> None:
        """Record that it is about to serve: what it asks for is what the next is compared with.

        Raises:
            ApprovalsUnavailableError: it can't be recorded.
        """
        if self._is_accepted or not self._is_held_at_all or self._files is None:
            return
        name, manifest = self.definition.name, self.definition.manifest
        digest = self._files.digest
        await self._approvals.update(
            name,
            lambda before: with_accepted(before, authority_of(manifest), manifest.version, digest),
        )
        self._is_accepted = True

    async def close(self) -> None:
        """Remove its files; shielded, so that a cancelled runtime leaves none behind."""
        with trio.move_on_after(CLOSE_S, shield=True):
            await self._stack.aclose()

    @property
    def _is_held_at_all(self) -> bool:
        # A manifest that the application wrote itself needs nobody's approval.
        return self._settings.hold_widened_manifests and self.definition.is_from_folder

    async def _copy(self) -> VersionFiles:
        definition = self.definition
        if definition.folder is None:
            return VersionFiles(None, "")
        snapshot = await self._stack.enter_async_context(
            open_snapshot(
                definition.name,
                definition.folder,
                into=await run_in_worker(self._snapshots, abandon_on_cancel=False),
                bytes_max=self._settings.snapshot_bytes,
                files_max=self._settings.snapshot_files,
            )
        )
        if definition.is_from_folder:
            try:
                await run_in_worker(lambda: self._compare(snapshot.folder), abandon_on_cancel=False)
            except BaseException:
                await self.close()
                self._stack = AsyncExitStack()
                raise
        return VersionFiles(snapshot.folder, snapshot.digest)

    def _compare(self, folder: Path) -> None:
        """Make sure that the copy's manifest is the one that was read and checked."""
        try:
            text = read_manifest(folder / MANIFEST_NAME)
        except OSError:
            text = b""
        if hashlib.sha256(text).hexdigest() != self.definition.manifest_sha256:
            raise PluginRefusedError(
                self.definition.name,
                "has another manifest than when it was read",
                remedy="Its folder has changed since; reload it",
            )

    async def _check_held(self, files: VersionFiles) -> None:
        if not self._is_held_at_all:
            return
        name, manifest = self.definition.name, self.definition.manifest
        approvals = await self._approvals.read(name)
        # In a thread: what a hostile manifest can ask for takes long to compare.
        wider = await run_in_worker(
            lambda: held_for(approvals, authority_of(manifest), files.digest),
            abandon_on_cancel=False,
        )
        if wider:
            raise PluginHeldError(
                name,
                version=manifest.version,
                snapshot_sha256=files.digest,
                differences=[one.text() for one in wider],
            )
