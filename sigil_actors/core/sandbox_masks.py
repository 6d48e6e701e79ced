"""What `read_deny` takes away again: which of the paths are visible at all, and how each is hidden.

Owns that a hidden path stays hidden: masks come last, what they lie in can't be moved away, and
what can't be hidden for sure is refused.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TypeAlias

from sigil_actors.core.host_facts import PathFact, PathKind
from sigil_actors.core.sandbox_mounts import Bind, HiddenFile, HiddenFolder
from sigil_actors.core.sandbox_paths import RequestedPath, depth, is_within
from sigil_actors.core.wording import shown
from sigil_actors.errors import SandboxRequestError

Mask: TypeAlias = HiddenFile | HiddenFolder


def denied_paths(
    plugin: str,
    read_deny: Sequence[RequestedPath],
    paths: Mapping[str, PathFact],
    binds: Sequence[Bind],
) -> Iterator[tuple[RequestedPath, PathFact]]:
    """Yield the entries whose path exists, with what lies there.

    Raises:
        SandboxRequestError: where an entry leads is up to the plugin.
    """
    for one in read_deny:
        fact = paths[one.path]
        if fact.kind is PathKind.MISSING:
            continue
        if fact.resolved != one.path and any(
            bind.is_writable and is_within(one.path, bind.source) for bind in binds
        ):
            raise SandboxRequestError(
                plugin,
                one.key,
                f"{shown(one.written)} leads through a link in a folder that the plugin can write,"
                " so that it would hide what the plugin wants",
                remedy=f"Write where it leads: {fact.resolved}",
            )
        yield one, fact


def remaining_settings(
    settings: Sequence[Bind], denied: Collection[tuple[RequestedPath, PathFact]]
) -> Iterator[Bind]:
    """Yield those of the host's settings in /etc that no entry covers altogether."""
    for bind in settings:
        if not any(
            is_within(bind.source, fact.resolved) or is_within(bind.target, one.path)
            for one, fact in denied
        ):
            yield bind


def plan_masks(
    plugin: str,
    binds: Sequence[Bind],
    denied: Collection[tuple[RequestedPath, PathFact]],
    *,
    own: Collection[str],
) -> tuple[Mask, ...]:
    """Return what hides the denied paths wherever `binds` show them, outermost first.

    `own` are the targets of what the plugin can't be without.

    Raises:
        SandboxRequestError: an entry hides all of what another one, or the plugin itself, needs.
    """
    masks: dict[str, Mask] = {}
    for one, fact in denied:
        for bind in binds:
            if is_within(bind.source, fact.resolved):
                _check_covered(plugin, one, bind, own)
            elif is_within(fact.resolved, bind.source):
                path = _inside(fact.resolved, bind)
                _check_spares(plugin, one, path, binds, own)
                is_folder = fact.kind is PathKind.FOLDER
                masks[path] = HiddenFolder(path=path) if is_folder else HiddenFile(path=path)
    outermost: list[Mask] = []
    for path in sorted(masks, key=lambda path: (depth(path), path)):
        # What lies in a hidden folder is gone already, and nothing can be mounted there.
        if not any(is_within(path, outer.path) for outer in outermost):
            outermost.append(masks[path])
    return tuple(outermost)


def _inside(path: str, bind: Bind) -> str:
    rest = path if bind.source == "/" else path[len(bind.source) :]
    return rest if bind.target == "/" else bind.target + rest


def _check_covered(plugin: str, one: RequestedPath, bind: Bind, own: Collection[str]) -> None:
    if bind.target in own:
        return  # it hides what else is there; the plugin's own files are no secret to it
    what = f"hides all of {bind.target}, which {bind.why} is to show"
    if not bind.is_by_descriptor:
        what = f"hides all of {bind.target}, without which no program runs"
    raise SandboxRequestError(
        plugin,
        one.key,
        f"{shown(one.written)} {what}",
        remedy="Drop one of the two, or name what is to be hidden in it",
    )


def _check_spares(
    plugin: str, one: RequestedPath, path: str, binds: Sequence[Bind], own: Collection[str]
) -> None:
    for bind in binds:
        if is_within(bind.target, path):
            what = "the plugin's own folder" if bind.target in own else f"what {bind.why} shows"
            raise SandboxRequestError(
                plugin,
                one.key,
                f"{shown(one.written)} hides {bind.target}, {what}",
                remedy="Drop one of the two, or name what is to be hidden in it",
            )


def pins(masks: Sequence[Mask], binds: Sequence[Bind]) -> Iterator[Bind]:
    """Yield the folders between a writable one and what is hidden in it, each bound onto itself.

    A mount point can't be renamed. Else the plugin would move a parent of the hidden path away, and
    at the next start there would be nothing left to hide by its old name.
    """
    pinned = {bind.target for bind in binds}
    for mask in masks:
        around = _innermost(mask.path, binds)
        if not around.is_writable:
            continue
        parts = mask.path[len(around.target) :].split("/")[1:-1]
        path = around.target
        for part in parts:
            path = f"{path}/{part}"
            if path not in pinned:
                pinned.add(path)
                yield Bind(
                    source=around.source + path[len(around.target) :],
                    target=path,
                    is_writable=True,
                    is_by_descriptor=True,
                    is_pin=True,
                    why="can't be moved: something in it is hidden",
                )


def _innermost(path: str, binds: Sequence[Bind]) -> Bind:
    return max(
        (bind for bind in binds if is_within(path, bind.target)),
        key=lambda bind: depth(bind.target),
    )
