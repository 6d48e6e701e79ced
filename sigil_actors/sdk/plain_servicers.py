"""Plain servicers, as they are written for grpcio's own server: methods that block, in threads.

Such a method iterates over its requests and yields its answers as it is used to. It can't be
interrupted: when its caller has gone, its thread is left to finish by itself, and what it still
sends goes nowhere.
"""

import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import trio

from sigil_actors.rpc.server_call import AbortError, ServerCall
from sigil_actors.rpc.status import RpcError
from sigil_actors.sdk.plain_context import PlainContext, PlainRequests

_LOG = logging.getLogger(__name__)

THREADS_MAX: Final = 32
"""At a time; more calls wait for their turn. grpcio's authors choose about as many."""


def is_plain(method: Callable[..., Any]) -> bool:
    """Tell whether a method may block; one that is asynchronous behind a decorator looks so too."""
    return not (inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method))


def in_threads(
    method: Callable[..., Any],
    *,
    request_streaming: bool,
    response_streaming: bool,
    limiter: trio.CapacityLimiter,
) -> Callable[..., Any]:
    """Return a plain method as an asynchronous one."""
    work = _answer_all if response_streaming else _answer

    async def run(request: Any, call: ServerCall) -> Any:
        context = PlainContext(call)
        given = PlainRequests(context, call) if request_streaming else request
        try:
            (answer,) = await trio.to_thread.run_sync(
                partial(work, method, given, context), abandon_on_cancel=True, limiter=limiter
            )
            return await _settle(answer, call)
        except (AbortError, RpcError):
            raise
        except Exception as error:
            if not call.was_failed:
                raise
            # What the method said of the call before it failed is what the caller is told, as with
            # grpcio; so end the methods of a generated servicer that nobody has written.
            if not isinstance(error, NotImplementedError):
                _LOG.exception("the handler of %s failed", call.method)
            raise AbortError from error
        finally:
            context.end()

    return run


# Each returns its answer in a tuple: trio takes a bare coroutine from a thread for a mistake.


def _answer(method: Callable[..., Any], request: Any, context: PlainContext) -> tuple[Any]:
    return (method(request, context),)


def _answer_all(method: Callable[..., Any], request: Any, context: PlainContext) -> tuple[Any]:
    answers = method(request, context)
    if hasattr(answers, "__aiter__") or inspect.isawaitable(answers):
        return (answers,)
    try:
        for message in answers or ():
            context.write(message)
    finally:
        if hasattr(answers, "close"):
            answers.close()
    return (None,)


async def _settle(answer: Any, call: ServerCall) -> Any:
    """Return the answer of a method; wait for it where it is asynchronous after all."""
    if hasattr(answer, "__aiter__"):
        try:
            async for message in answer:
                await call.write(message)
        finally:
            if hasattr(answer, "aclose"):
                await answer.aclose()
        return None
    return await answer if inspect.isawaitable(answer) else answer
