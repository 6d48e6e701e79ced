"""`sigil-actors sandbox`: what a plugin's sandbox will be, with nothing of the plugin run."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from sigil_actors.cli.errors import PathNotFoundError
from sigil_actors.cli.exit_codes import ExitCode
from sigil_actors.cli.folders import real_path, state_folder
from sigil_actors.cli.options import JsonOption, StateOption
from sigil_actors.cli.output import Output, terminal_text
from sigil_actors.core.execution import ProcessExecution
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.sandbox_mounts import (
    Bind,
    DeviceFiles,
    EmptyFolder,
    HiddenFile,
    HiddenFolder,
    Link,
    Mount,
    ProcessFiles,
    ScratchFolder,
    Sealed,
    SyntheticFile,
)
from sigil_actors.core.sandbox_plan import SandboxPlan
from sigil_actors.errors import ManifestError, SandboxUnavailableError
from sigil_actors.runtime.discovery import DiscoveryProblem, Found, read_plugin
from sigil_actors.sandbox import SandboxPreview, preview_sandbox

if TYPE_CHECKING:
    from rich.table import Table

_MEBIBYTE = 1 << 20


def sandbox(
    plugin_dir: Annotated[
        Path, Parameter(name="PLUGIN_DIR", help="The plugin's folder, with its plugin.yaml.")
    ],
    /,
    *,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Show what a plugin's sandbox will be on this machine; nothing is run.

    The file system as the plugin will see it, its environment and limits, and the command line.
    Exits with 8 where this machine can't make it.
    """
    output = Output(as_json=json)
    found = _read(plugin_dir)
    manifest = found.manifest
    if not isinstance(manifest.execution, ProcessExecution):
        _show_other_tier(manifest, output)
        return ExitCode.OK
    folder = real_path(plugin_dir)
    preview = preview_sandbox(
        manifest,
        folder,
        host_folders=(str(real_path(state_folder(state))), str(folder.parent)),
    )
    if output.as_json:
        output.document(preview_json(manifest, preview))
    else:
        _show(manifest, preview, output)
    if preview.lacks:
        first = preview.lacks[0]
        raise SandboxUnavailableError(
            f"this machine can't make the sandbox: {first.what}", remedy=first.remedy
        )
    return ExitCode.OK


def _read(folder: Path) -> Found:
    found = read_plugin(folder)
    if found is None:
        raise PathNotFoundError(
            f"there is no manifest in {folder}", remedy="Name a folder with a plugin.yaml"
        )
    if isinstance(found, DiscoveryProblem):
        raise ManifestError(found.problems, file=found.file)
    return found


def _show_other_tier(manifest: Manifest, output: Output) -> None:
    tier = str(manifest.execution.tier)
    if output.as_json:
        output.document({"plugin": manifest.name, "tier": tier, "plan": None})
        return
    output.text(
        terminal_text(
            f"{manifest.name} is of the {tier} tier, which needs no sandbox of this kind:"
            " what it may do is in its manifest alone"
        )
    )


def _show(manifest: Manifest, preview: SandboxPreview, output: Output) -> None:
    plan = preview.plan
    output.text(terminal_text(f"{manifest.name} {manifest.version}: its sandbox on this machine\n"))
    for table in (_file_system(plan), _bounds(plan), _environment(plan)):
        output.show(table)
        output.text("")
    output.text("The command line (angle brackets: what is passed by a descriptor):\n")
    output.text(terminal_text(" \\\n  ".join(_lines(preview.command_line))))
    for lack in preview.lacks:
        output.note(f"missing here: {lack.what}. {lack.remedy}")


def _file_system(plan: SandboxPlan) -> "Table":
    from sigil_actors.cli.tables import cell, new_table

    table = new_table("path inside", "what it is", "why")
    for mount in plan.mounts:
        table.add_row(*map(cell, _row(mount)))
    return table


def _row(mount: Mount) -> tuple[str, str, str]:
    match mount:
        case Bind():
            what = "writable" if mount.is_writable else "read-only"
            if mount.source != mount.target:
                what += f", the host's {mount.source}"
            return mount.target, what, mount.why
        case Link():
            return mount.path, f"a link to {mount.leads_to}", "where programs look"
        case ScratchFolder():
            size = f"{mount.size_bytes // _MEBIBYTE} MiB"
            return mount.path, f"writable, {size} in memory", "gone with the plugin"
        case _:
            return mount.path, *_PLAIN[type(mount)]


_PLAIN: Mapping[type[Mount], tuple[str, str]] = {
    EmptyFolder: ("a folder", "for what follows"),
    SyntheticFile: ("read-only, a text of the sandbox's own", "in the place of the host's"),
    ProcessFiles: ("the sandbox's own processes", "in the place of the host's"),
    DeviceFiles: ("null, zero, full, random, urandom, tty", "in the place of the host's"),
    HiddenFile: ("hidden", "read_deny"),
    HiddenFolder: ("hidden", "read_deny"),
    Sealed: ("read-only from here on", "nothing else is added"),
}


def _bounds(plan: SandboxPlan) -> "Table":
    from sigil_actors.cli.tables import cell, new_table

    limits = plan.limits
    network = (
        "none but its own loopback"
        if plan.proxy_port is None
        else f"the host's audited proxy at 127.0.0.1:{plan.proxy_port}, and no other road"
    )
    table = new_table("bound", "value")
    for name, text in (
        ("command", shlex.join(plan.command)),
        ("starts in", plan.folder),
        ("network", network),
        ("memory", f"{limits.memory_bytes / _MEBIBYTE:g} MiB"),
        ("processes and threads", str(limits.pids)),
        ("open files", f"{limits.open_files} in each process"),
        ("processors", f"{limits.cpu:g}"),
        ("user inside", f"{plan.uid}:{plan.gid}, no capabilities, no new privileges"),
        ("system calls", f"an allow list for {plan.architecture}"),
    ):
        table.add_row(name, cell(text))
    return table


def _environment(plan: SandboxPlan) -> "Table":
    from sigil_actors.cli.tables import cell, new_table

    table = new_table("variable", "value")
    for name, text in plan.environment.items():
        table.add_row(cell(name), cell(text))
    return table


def _lines(command_line: tuple[str, ...]) -> Iterator[str]:
    """Yield a line for each option with its words."""
    line: list[str] = []
    is_command = False
    for word in command_line:
        # After `--` it is the plugin's own command, on one line.
        if line and word.startswith("--") and not is_command:
            yield shlex.join(line)
            line = []
        is_command = is_command or word == "--"
        line.append(word)
    if line:
        yield shlex.join(line)


def preview_json(manifest: Manifest, preview: SandboxPreview) -> JsonObject:
    """Return a plan for programs."""
    plan = preview.plan
    return {
        "plugin": manifest.name,
        "tier": str(manifest.execution.tier),
        "possible": not preview.lacks,
        "lacks": [{"what": lack.what, "remedy": lack.remedy} for lack in preview.lacks],
        "plan": {
            "command": list(plan.command),
            "folder": plan.folder,
            "environment": dict(plan.environment),
            "mounts": [
                dict(zip(("path", "what", "why"), _row(mount), strict=True))
                for mount in plan.mounts
            ],
            "network": str(plan.network),
            "proxy_port": plan.proxy_port,
            "limits": {
                "memory_bytes": plan.limits.memory_bytes,
                "pids": plan.limits.pids,
                "open_files": plan.limits.open_files,
                "cpu": plan.limits.cpu,
            },
            "uid": plan.uid,
            "gid": plan.gid,
            "architecture": plan.architecture,
        },
        "command_line": list(preview.command_line),
    }
