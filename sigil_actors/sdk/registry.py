"""Takes the servicers of a plugin for its server: of this project, and of any other protocol."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import trio
from google.protobuf.descriptor import ServiceDescriptor

from sigil_actors.rpc import server_call
from sigil_actors.rpc.server import GenericHandler, Server
from sigil_actors.sdk.caller import for_caller
from sigil_actors.sdk.plain_servicers import THREADS_MAX, in_threads, is_plain
from sigil_actors.sdk.service_methods import MethodHandler, method_handlers


class Registry:
    """In front of a server: its methods may be asynchronous or plain, and know for whom they run.

    Pass it, instead of a server, to the `add_…Servicer_to_server` functions that grpcio-tools
    generates.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._threads = trio.CapacityLimiter(THREADS_MAX)

    def add(self, service: ServiceDescriptor, servicer: object) -> None:
        """Serve a service of this project's own."""
        self.add_registered_method_handlers(service.full_name, method_handlers(service, servicer))

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, server_call.MethodHandler]
    ) -> None:
        """Serve the methods of a service by their names."""
        self._server.add_registered_method_handlers(
            service, {name: self.prepare(handler) for name, handler in handlers.items()}
        )

    def add_generic_rpc_handlers(self, handlers: Iterable[GenericHandler]) -> None:
        """Serve what these choose."""
        self._server.add_generic_rpc_handlers(_Prepared(one, self.prepare) for one in handlers)

    def prepare(self, handler: server_call.MethodHandler) -> MethodHandler:
        """Return a handler whose method is asynchronous, and knows for whom it runs."""
        kind = "_".join(
            "stream" if streams else "unary"
            for streams in (handler.request_streaming, handler.response_streaming)
        )
        method: Callable[..., Any] = getattr(handler, kind)
        if is_plain(method):
            method = in_threads(
                method,
                request_streaming=handler.request_streaming,
                response_streaming=handler.response_streaming,
                limiter=self._threads,
            )
        return MethodHandler(
            request_streaming=handler.request_streaming,
            response_streaming=handler.response_streaming,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
            **{kind: for_caller(method)},
        )


@attrs.frozen
class _Prepared:
    """A generic handler, whose choice is prepared."""

    _handler: GenericHandler
    _prepare: Callable[[server_call.MethodHandler], MethodHandler]

    def service(self, handler_call_details: Any, /) -> MethodHandler | None:
        """Return the handler of the method, or None."""
        chosen = self._handler.service(handler_call_details)
        return None if chosen is None else self._prepare(chosen)
