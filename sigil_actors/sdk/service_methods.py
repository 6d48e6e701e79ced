"""A servicer's methods as handlers of the server, by what the descriptor says of the service.

The code that grpcio-tools generates does the same, and loads grpcio for it: a plugin that starts
afresh for each host would wait for that.
"""

from collections.abc import Callable
from typing import Any

import attrs
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass


@attrs.define(kw_only=True)
class MethodHandler:
    """One method, in the shape that generated code hands to a server."""

    request_streaming: bool
    response_streaming: bool
    request_deserializer: Callable[[bytes], Any] | None
    response_serializer: Callable[[Any], bytes] | None
    unary_unary: Callable[..., Any] | None = None
    unary_stream: Callable[..., Any] | None = None
    stream_unary: Callable[..., Any] | None = None
    stream_stream: Callable[..., Any] | None = None


def method_handlers(service: ServiceDescriptor, servicer: object) -> dict[str, MethodHandler]:
    """Return a handler for each method that the servicer has; the rest is UNIMPLEMENTED."""
    return {
        method.name: _handler(method, getattr(servicer, method.name))
        for method in service.methods
        if hasattr(servicer, method.name)
    }


def _handler(method: MethodDescriptor, run: Callable[..., Any]) -> MethodHandler:
    kind = "_".join(
        "stream" if streams else "unary"
        for streams in (method.client_streaming, method.server_streaming)
    )
    request = GetMessageClass(method.input_type)
    response = GetMessageClass(method.output_type)
    return MethodHandler(
        request_streaming=method.client_streaming,
        response_streaming=method.server_streaming,
        request_deserializer=request.FromString,
        response_serializer=response.SerializeToString,
        **{kind: run},
    )
