"""Where everyone waits: a line for each task, with the place in the code that it can't get past."""

import sys
from collections.abc import Collection, Iterator
from types import FrameType

import trio
from trio._core._run import CancelStatus

TASKS_SHOWN_MAX = 60
"""More than a scenario has; of a thousand tasks that hang, the first ones show the pattern."""

_OUTSIDE = ("trio", "contextlib", "sigil_actors.testing", "sigil_actors.actors")
"""Whose frames aren't shown while there are others: everybody waits in there in the end."""

_TRIO = ("trio", "contextlib")
"""Whose lines tell nobody anything."""


def describe_waits(*, besides: Collection[trio.lowlevel.Task] = ()) -> str:
    """Return a line for each task of this run of trio: its name, and where it waits."""
    tasks = [task for task in _all_tasks() if task not in besides]
    lines = sorted(f"  {task.name}: {_place(task)}" for task in tasks)
    shown = lines[:TASKS_SHOWN_MAX]
    if len(lines) > len(shown):
        shown.append(f"  and {len(lines) - len(shown)} more")
    return "\n".join(shown)


def describe_here() -> str:
    """Return the line of code that is being run, as `describe_waits` shows it."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - the one way to the frames
    while frame is not None and _is_within(_module(frame), _OUTSIDE):
        frame = frame.f_back
    if frame is None:
        return "trio"
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"


def lift_shields(*, besides: Collection[trio.lowlevel.Task] = ()) -> None:
    """Take away every shield from every task, so that a cancellation reaches all of them."""
    for task in _all_tasks():
        if task in besides:
            continue
        # trio has no public way from a task to the scopes around it.
        status: CancelStatus | None = task._cancel_status  # noqa: SLF001
        while status is not None:
            status._scope.shield = False  # noqa: SLF001
            status = status.parent


def _all_tasks() -> Iterator[trio.lowlevel.Task]:
    """Yield all tasks but trio's own."""
    root = trio.lowlevel.current_root_task()
    todo = [] if root is None else [root]
    while todo:
        task = todo.pop()
        if not task.name.startswith("<"):  # trio's own names for its own
            yield task
        for nursery in task.child_nurseries:
            todo.extend(nursery.child_tasks)


def _place(task: trio.lowlevel.Task) -> str:
    frames = [(frame, line) for frame, line in task.iter_await_frames()]
    if not frames:
        return "not started"
    for left_out in (_OUTSIDE, _TRIO):
        ours = [found for found in frames if not _is_within(_module(found[0]), left_out)]
        if ours:
            frame, line = ours[-1]
            return f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_qualname}"
    # Such as `nursery.start_soon(event.wait)`: trio's own function is the task, and no line of it
    # says which event. The one who has the nursery does, or is near it.
    waits_in = frames[0][0].f_code.co_qualname
    parent = None if task.parent_nursery is None else task.parent_nursery.parent_task
    return waits_in if parent is None else f"{waits_in}, in the nursery at {_place(parent)}"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _is_within(module: str, packages: Collection[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)
