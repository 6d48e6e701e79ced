"""What hosts ask of the plugin, the same in all of them: one small message, and a long stream."""

import json
from typing import Any, Final

from sigil_actors._proto.plugin.v1.channel_pb2 import GetIdentityRequest
from sigil_actors._proto.plugin.v1.channel_pb2_grpc import ChannelStub
from sigil_actors._proto.plugin.v1.tool_pb2 import ExecuteRequest
from sigil_actors._proto.plugin.v1.tool_pb2_grpc import ToolStub

REQUEST: Final = GetIdentityRequest(platform_user_id="someone")
CHUNK_BYTES: Final = 32

# Generated code has no types.
_channel_stub: Any = ChannelStub
_tool_stub: Any = ToolStub


def identity_of(channel: Any) -> Any:
    """Return the generated stub's method for one message, on anybody's channel."""
    return _channel_stub(channel).GetIdentity


def execute_of(channel: Any) -> Any:
    """Return the generated stub's method for a stream, on anybody's channel."""
    return _tool_stub(channel).Execute


def many_chunks(count: int) -> ExecuteRequest:
    """Return what has the plugin answer with so many chunks, and one that says that it's done."""
    return ExecuteRequest(
        tool_name="big", arguments=json.dumps({"chunks": count, "bytes": CHUNK_BYTES})
    )
