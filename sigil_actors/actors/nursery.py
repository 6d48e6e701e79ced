"""A nursery whose block raises the one thing that went wrong, not a group around it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio


@asynccontextmanager
async def open_bare_nursery() -> AsyncGenerator[trio.Nursery]:
    """Open a nursery for code that is itself a context manager of the public interface.

    An error of the block, or the only error of a child, leaves it bare; several leave as a group.
    """
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        error = only_error(group)
        if error is None:
            raise
        # Raised anew with its own context: `from None` would hide what the error itself came from.
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context
            del error, context


def only_error(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """Return the one error that a nursery's group holds; a Cancelled beside it doesn't count.

    Looks one level deep: a group that the block itself raised stays a group.
    """
    told = [error for error in group.exceptions if not _only_cancelled(error)]
    if len(told) == 1:
        return told[0]
    if not told:
        return group.exceptions[0]
    return None


def _only_cancelled(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_only_cancelled(inner) for inner in error.exceptions)
    return isinstance(error, trio.Cancelled)
