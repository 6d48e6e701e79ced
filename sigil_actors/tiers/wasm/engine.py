"""How wasmtime is set up, and how a module becomes machine code; also a program that does that.

Knows wasmtime and the standard library, and nothing else of this package, so that the compiling
program starts quickly: `python engine.py MEMORY CPU` takes a module on its standard input and gives
machine code on its standard output.
"""

import sys

import wasmtime

PROPOSALS_OFF = (
    "gc_support",
    "shared_memory",
    "wasm_component_model",
    "wasm_custom_page_sizes",
    "wasm_exceptions",
    "wasm_function_references",
    "wasm_gc",
    "wasm_memory64",
    "wasm_multi_memory",
    "wasm_stack_switching",
    "wasm_threads",
)
"""What no toolchain of ours needs: each is code that a stranger's module could reach."""


def new_engine(*, stack_bytes: int) -> wasmtime.Engine:
    """Return an engine with every bound switched on. It costs microseconds: one for each plugin.

    All engines that exchange machine code must be made by this function, with the same stack.
    """
    config = wasmtime.Config()
    config.consume_fuel = True
    config.epoch_interruption = True
    # With signals, a `faulthandler.enable()` that comes later (pytest does that) takes wasmtime's
    # place, and a trap of any guest ends the process. Explicit checks cost some percent instead.
    config.signals_based_traps = False
    # Otherwise every memory reserves 4 GiB of address space for guards that signals would need.
    config.memory_reservation = 0
    config.memory_reservation_for_growth = 0
    config.memory_guard_size = 0
    config.max_wasm_stack = stack_bytes
    # A pool of compiling threads would outlive every plugin, and take all processors for one.
    config.parallel_compilation = False
    for name in PROPOSALS_OFF:
        # Setting a name that this version of wasmtime doesn't know would do nothing, silently.
        assert isinstance(getattr(wasmtime.Config, name), property), name  # noqa: S101
        setattr(config, name, False)
    return wasmtime.Engine(config)


def compile_module(data: bytes, *, stack_bytes: int) -> bytes:
    """Return machine code that an engine of `new_engine` takes.

    Raises:
        wasmtime.WasmtimeError: the bytes are no valid module.
    """
    with (
        new_engine(stack_bytes=stack_bytes) as engine,
        wasmtime.Module(engine, data) as module,
    ):
        return bytes(module.serialize())


def _bound_this_process(*, memory_bytes: int, cpu_s: int) -> None:
    """Have the kernel end this process before it eats the machine, or outlives its host."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
    if sys.platform == "linux":  # macOS refuses to lower it
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


REFUSED_STATUS = 3
"""Exit status that says: the module is at fault, standard error has wasmtime's words."""


def main(arguments: list[str]) -> int:
    """Compile standard input to standard output, within bounds given on the command line."""
    stack_bytes, memory_bytes, cpu_s = map(int, arguments)
    _bound_this_process(memory_bytes=memory_bytes, cpu_s=cpu_s)
    try:
        code = compile_module(sys.stdin.buffer.read(), stack_bytes=stack_bytes)
    except wasmtime.WasmtimeError as error:
        sys.stderr.write(str(error))
        return REFUSED_STATUS
    sys.stdout.buffer.write(code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
