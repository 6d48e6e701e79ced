"""One entry into a guest, as the job of its thread."""

from collections.abc import Callable
from typing import Final

import attrs

from sigil_actors.core.guest_ops import GuestOp, HostRefusal
from sigil_actors.core.text import escape_text
from sigil_actors.errors import LimitExceededError, PluginStartError
from sigil_actors.tiers.wasm import native_dialect as dialect
from sigil_actors.tiers.wasm.ending import Run
from sigil_actors.tiers.wasm.host_imports import Answer, Question
from sigil_actors.tiers.wasm.instance import GuestInstance
from sigil_actors.tiers.wasm.limits import GuestLimits, shown_seconds

_NO_STREAM: Final = Answer(HostRefusal.MALFORMED)


@attrs.frozen
class Entry:
    """What the guest is asked."""

    op: GuestOp
    request: bytes


def enter(instance: GuestInstance, entry: Entry, run: Run) -> bytes:
    """Have `instance` work on `entry`; what it asks goes through `run`."""

    def ask_without_stream(question: Question) -> Answer | None:
        return _NO_STREAM if isinstance(question, dialect.Chunk) else run.ask(question)

    return instance.enter(
        entry.op,
        entry.request,
        ask=run.ask if entry.op is GuestOp.EXECUTE else ask_without_stream,
        is_stopping=lambda: run.is_stopping,
    )


def enter_for_init(plugin: str, instance: GuestInstance, request: bytes, run: Run) -> None:
    """Hand the configuration to `instance`.

    Raises:
        PluginStartError: it refused it, in its own words.
    """
    check_init(plugin, enter(instance, Entry(GuestOp.INIT, request), run))


def check_init(plugin: str, answer: bytes) -> None:
    """Raise `PluginStartError` unless the guest took its configuration."""
    try:
        read = dialect.read_init_answer(answer)
    except dialect.MalformedMessageError as error:
        raise PluginStartError(
            plugin,
            f"answered init with what is no InitResponse: {error}",
            remedy='Answer with {"ok": true}',
        ) from None
    if not read.ok:
        raise PluginStartError(
            plugin,
            f"refused its configuration: {escape_text(read.error) or 'it gave no reason'}",
            remedy="Correct its configuration, or its answer to init",
        )


def new_run(
    plugin: str, limits: GuestLimits, job: Callable[[Run], bytes], interrupt: Callable[[], None]
) -> Run:
    """Return a run of `job`, bounded by the clock."""
    return Run(
        job,
        interrupt=interrupt,
        time_s=limits.timeout_s,
        time_error=LimitExceededError(
            plugin,
            bound="wall clock",
            value=shown_seconds(limits.timeout_s),
            key="execution.wasm.timeout",
        ),
    )
