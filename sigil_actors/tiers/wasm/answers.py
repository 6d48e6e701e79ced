"""What the host says to a guest's question, decided in the task that called the guest."""

from sigil_actors.core.guest_ops import HostRefusal
from sigil_actors.core.policy import DenyReason
from sigil_actors.errors import (
    AuditUnavailableError,
    CapabilityDeniedError,
    HostFunctionMissingError,
    InvalidCapabilityError,
    SigilError,
)
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.tiers.wasm import native_dialect as dialect
from sigil_actors.tiers.wasm.host_imports import Answer
from sigil_actors.tiers.wasm.limits import PAYLOAD_BYTES_MAX


async def answer(host: HostFunctions, asked: dialect.CallAsked | dialect.CheckAsked) -> Answer:
    """Ask the host; every error that is no bug of ours becomes a refusal for the guest."""
    try:
        if isinstance(asked, dialect.CallAsked):
            return await _call(host, asked)
        return await _check(host, asked)
    except SigilError as error:
        return Answer(_refusal(error))


async def _call(host: HostFunctions, asked: dialect.CallAsked) -> Answer:
    if len(asked.payload) > PAYLOAD_BYTES_MAX:
        return Answer(HostRefusal.FAILED)
    payload = await host.call(asked.capability, asked.payload, asked.session_id)
    if len(payload) > PAYLOAD_BYTES_MAX:
        return Answer(HostRefusal.FAILED)
    return Answer(reply=dialect.write_call_answer(payload))


async def _check(host: HostFunctions, asked: dialect.CheckAsked) -> Answer:
    reason = await host.check(asked.capability, asked.session_id)
    allowed = reason is DenyReason.OK
    return Answer(reply=dialect.write_check_answer(allowed=allowed, reason=str(reason)))


def _refusal(error: SigilError) -> HostRefusal:
    match error:
        case CapabilityDeniedError() | AuditUnavailableError():
            return HostRefusal.DENIED
        case HostFunctionMissingError():
            return HostRefusal.NO_FUNCTION
        case InvalidCapabilityError():
            return HostRefusal.MALFORMED
        case _:
            return HostRefusal.FAILED
