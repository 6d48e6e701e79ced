"""A plugin on grpcio's own server, with as much of go-plugin as its host can't do without."""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

from sigil_actors._proto.common.v1.common_pb2 import UserIdentity
from sigil_actors._proto.plugin.controller_pb2_grpc import (
    GRPCControllerServicer,
    add_GRPCControllerServicer_to_server,
)
from sigil_actors._proto.plugin.v1.channel_pb2 import GetIdentityRequest
from sigil_actors._proto.plugin.v1.channel_pb2_grpc import (
    ChannelServicer,
    add_ChannelServicer_to_server,
)
from sigil_actors._proto.plugin.v1.tool_pb2 import ExecuteChunk, ExecuteRequest
from sigil_actors._proto.plugin.v1.tool_pb2_grpc import ToolServicer, add_ToolServicer_to_server

PATH = Path(tempfile.gettempdir(), f"sigil-bench-{os.getpid()}.sock")
THREADS = 10
"""As grpcio's own examples have it. More make it slower, since they share one interpreter."""


class Controller(GRPCControllerServicer):
    """Ends the program, as its host asks for."""

    def Shutdown(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """End at once."""
        PATH.unlink(missing_ok=True)
        os._exit(0)


class Channel(ChannelServicer):
    """Answers one message with one."""

    def GetIdentity(self, request: GetIdentityRequest, _context: Any) -> UserIdentity:  # noqa: N802
        """Answer with what was asked."""
        return UserIdentity(platform_user_id=request.platform_user_id)


class Tool(ToolServicer):
    """Answers one message with many."""

    def Execute(self, request: ExecuteRequest, _context: Any) -> Iterator[ExecuteChunk]:  # noqa: N802
        """Answer with as many chunks as are wanted."""
        wanted = json.loads(request.arguments)
        for _ in range(wanted["chunks"]):
            yield ExecuteChunk(text="x" * wanted["bytes"])
        yield ExecuteChunk(done=True)


def main() -> None:
    """Serve until the host ends it."""
    server = grpc.server(futures.ThreadPoolExecutor(THREADS))
    services: list[tuple[Any, object]] = [
        (add_GRPCControllerServicer_to_server, Controller()),
        (add_ChannelServicer_to_server, Channel()),
        (add_ToolServicer_to_server, Tool()),
    ]
    for add, servicer in services:
        add(servicer, server)
    server.add_insecure_port(f"unix:{PATH}")
    server.start()
    sys.stdout.write(f"1|1|unix|{PATH}|grpc\n")
    sys.stdout.flush()
    try:
        server.wait_for_termination()
    finally:
        PATH.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
