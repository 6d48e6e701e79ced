"""A module's bytes become machine code, within bounds of time and memory.

wasmtime can't be interrupted while it compiles, and the worst code takes minutes and gigabytes per
mebibyte. So small modules are compiled in a worker thread, others in a program that can be killed.
"""

import os
import signal
import sys
from typing import Final

import trio
import wasmtime

from sigil_actors.core.text import escape_text
from sigil_actors.errors import LimitExceededError, PluginStartError
from sigil_actors.tiers.wasm import engine
from sigil_actors.tiers.wasm.limits import (
    COMPILE_MEMORY_BYTES_MAX,
    COMPILED_BYTES_MAX,
    STACK_BYTES_MAX,
    THREAD_COMPILE_BYTES_MAX,
    shown_bytes,
    shown_seconds,
)
from sigil_actors.tiers.wasm.module_bytes import check_module_bytes

_COMPILES_AT_ONCE: Final = 2
"""Each takes one processor and up to `COMPILE_MEMORY_BYTES_MAX`."""

_PASSED_ON = ("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH")
"""What the compiling program needs to find wasmtime. Secrets of the host stay here."""


class Compiler:
    """Compiles for one tier; a few modules at a time."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(_COMPILES_AT_ONCE)

    async def compile(self, plugin: str, data: bytes, *, compile_s: float) -> bytes:
        """Return the machine code of `data`, which the engines of this package take.

        `compile_s` bounds the whole, the wait for a free place included.

        Raises:
            PluginStartError: it is no valid core module, in wasmtime's words.
            LimitExceededError: module size, compile time, compile memory or the code's size.
        """
        check_module_bytes(plugin, data)
        with trio.move_on_after(compile_s):
            if len(data) <= THREAD_COMPILE_BYTES_MAX:
                return await self._compile_in_thread(plugin, data)
            async with self._limiter:
                return await _compile_in_program(plugin, data, cpu_s=int(compile_s) + 2)
        raise LimitExceededError(
            plugin,
            bound="compile time",
            value=shown_seconds(compile_s),
            key="execution.start_timeout",
        )

    async def _compile_in_thread(self, plugin: str, data: bytes) -> bytes:
        def compile_now() -> bytes:
            try:
                return engine.compile_module(data, stack_bytes=STACK_BYTES_MAX)
            except wasmtime.WasmtimeError as error:
                raise _invalid(plugin, str(error)) from error

        return await trio.to_thread.run_sync(compile_now, limiter=self._limiter)


async def _compile_in_program(plugin: str, data: bytes, *, cpu_s: int) -> bytes:
    # `-P`: the folder of the script holds modules that must not shadow the standard library's.
    command = [
        sys.executable,
        "-P",
        engine.__file__,
        str(STACK_BYTES_MAX),
        str(COMPILE_MEMORY_BYTES_MAX),
        str(cpu_s),
    ]
    result = await trio.run_process(
        command,
        stdin=data,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        deliver_cancel=_kill,
    )
    if result.returncode == engine.REFUSED_STATUS:
        raise _invalid(plugin, result.stderr.decode(errors="replace"))
    if result.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise LimitExceededError(
            plugin, bound="compile time", value=shown_seconds(cpu_s), key="execution.start_timeout"
        )
    if result.returncode == -signal.SIGABRT:
        # What Rust does when memory runs out.
        raise LimitExceededError(
            plugin, bound="compile memory", value=shown_bytes(COMPILE_MEMORY_BYTES_MAX), key=""
        )
    if result.returncode != 0:
        last_line = result.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise PluginStartError(
            plugin,
            f"has a module whose compilation ended with {result.returncode}: "
            f"{escape_text(last_line)}",
            remedy="If the module is an honest one, report this",
        )
    if len(result.stdout) > COMPILED_BYTES_MAX:
        raise LimitExceededError(
            plugin, bound="compiled size", value=shown_bytes(COMPILED_BYTES_MAX), key=""
        )
    return bytes(result.stdout)


async def _kill(process: trio.Process) -> None:
    # Not SIGTERM first, as trio does: there is nothing in that program that wants to say goodbye.
    process.send_signal(signal.SIGKILL)


def _invalid(plugin: str, reason: str) -> PluginStartError:
    words = " ".join(reason.split())
    return PluginStartError(
        plugin,
        f"has a module that wasmtime refuses: {escape_text(words)}",
        remedy="Build it again for wasm32, without proposals such as threads or memory64",
    )
