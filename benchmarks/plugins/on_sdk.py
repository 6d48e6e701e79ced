"""A plugin on this project's SDK."""

import json
from collections.abc import AsyncGenerator
from typing import Any

from sigil_actors._proto.common.v1.common_pb2 import UserIdentity
from sigil_actors._proto.plugin.v1.channel_pb2 import GetIdentityRequest
from sigil_actors._proto.plugin.v1.channel_pb2_grpc import ChannelServicer
from sigil_actors._proto.plugin.v1.tool_pb2 import ExecuteChunk, ExecuteRequest
from sigil_actors._proto.plugin.v1.tool_pb2_grpc import ToolServicer
from sigil_actors.sdk import serve


class Channel(ChannelServicer):
    """Answers one message with one."""

    async def GetIdentity(self, request: GetIdentityRequest, _context: Any) -> UserIdentity:  # noqa: N802
        """Answer with what was asked."""
        return UserIdentity(platform_user_id=request.platform_user_id)


class Tool(ToolServicer):
    """Answers one message with many."""

    async def Execute(  # noqa: N802
        self, request: ExecuteRequest, _context: Any
    ) -> AsyncGenerator[ExecuteChunk, None]:
        """Answer with as many chunks as are wanted."""
        wanted = json.loads(request.arguments)
        for _ in range(wanted["chunks"]):
            yield ExecuteChunk(text="x" * wanted["bytes"])
        yield ExecuteChunk(done=True)


if __name__ == "__main__":
    serve(channel=Channel(), tool=Tool())
