"""The messages of `plugin.v1.Channel`: protobuf to core values and back.

Counts are checked before they are read, since a message may hold a million entries that the
runtime would refuse only afterwards; what else a message's texts may be is for the runtime.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from sigil_actors._proto.common.v1 import common_pb2
from sigil_actors._proto.plugin.v1 import channel_pb2
from sigil_actors.core.call_bounds import METADATA_ENTRIES_MAX
from sigil_actors.core.channel_calls import (
    MEDIA_MAX,
    InboundMessage,
    MediaAttachment,
    PresenceStatus,
    SendRequest,
    UserIdentity,
)
from sigil_actors.tiers.remote.messages import MalformedMessageError, read_moment, writing

_PRESENCE: Final[Mapping[PresenceStatus, channel_pb2.PresenceStatus]] = {
    PresenceStatus.ONLINE: channel_pb2.PRESENCE_STATUS_ONLINE,
    PresenceStatus.TYPING: channel_pb2.PRESENCE_STATUS_TYPING,
    PresenceStatus.OFFLINE: channel_pb2.PRESENCE_STATUS_OFFLINE,
}


def read_inbound(message: channel_pb2.InboundMessage) -> InboundMessage:
    """Read an InboundMessage."""
    if len(message.metadata) > METADATA_ENTRIES_MAX:
        raise MalformedMessageError(f"a message has over {METADATA_ENTRIES_MAX} metadata")
    if len(message.media) > MEDIA_MAX:
        raise MalformedMessageError(f"a message has over {MEDIA_MAX} attachments")
    return InboundMessage(
        message_id=message.message_id,
        channel_id=message.channel_id,
        sender=read_identity(message.sender),
        content=message.content,
        thread_id=message.thread_id,
        media=map(_read_attachment, message.media),
        timestamp=read_moment(message, "timestamp"),
        metadata=dict(message.metadata),
    )


def write_send(request: SendRequest) -> channel_pb2.SendRequest:
    """Return a SendRequest."""
    with writing():
        return channel_pb2.SendRequest(
            channel_id=request.channel_id,
            content=request.content,
            thread_id=request.thread_id,
            media=_attachments(request.media),
            typing_indicator=request.typing_indicator,
            reply_to_message_id=request.reply_to_message_id,
        )


def write_presence(channel_id: str, status: PresenceStatus) -> channel_pb2.PresenceRequest:
    """Return a PresenceRequest."""
    with writing():
        return channel_pb2.PresenceRequest(channel_id=channel_id, status=_PRESENCE[status])


def write_identity_request(platform_user_id: str) -> channel_pb2.GetIdentityRequest:
    """Return a GetIdentityRequest."""
    with writing():
        return channel_pb2.GetIdentityRequest(platform_user_id=platform_user_id)


def read_identity(message: common_pb2.UserIdentity) -> UserIdentity:
    """Read a UserIdentity."""
    return UserIdentity(
        user_id=message.user_id,
        platform=message.platform,
        platform_user_id=message.platform_user_id,
        display_name=message.display_name,
    )


def _read_attachment(message: channel_pb2.MediaAttachment) -> MediaAttachment:
    return MediaAttachment(
        url=message.url,
        mime_type=message.mime_type,
        filename=message.filename,
        size_bytes=message.size_bytes,
    )


def _attachments(media: Iterable[MediaAttachment]) -> list[channel_pb2.MediaAttachment]:
    return [
        channel_pb2.MediaAttachment(
            url=one.url, mime_type=one.mime_type, filename=one.filename, size_bytes=one.size_bytes
        )
        for one in media
    ]
