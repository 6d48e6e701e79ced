"""What is said between the runtime and a channel plugin: messages, who wrote them, presence.

The words are those of `plugin.v1.Channel`. What comes from a plugin was mostly written by strangers
on a platform: hostile text, bounded here, to be escaped by whoever shows it. The functions return
what is wrong with a value in a few words, and an empty text where nothing is.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Final

import attrs

from sigil_actors.core.call_bounds import (
    count_problem,
    first_problem,
    metadata_problem,
    number_problem,
    text_problem,
    time_problem,
)
from sigil_actors.core.execution import read_only_texts

CONTENT_CHARACTERS_MAX: Final = 256 * 1024
"""Of one message. Platforms end far below: Telegram at 4,096, Slack at 40,000, Matrix at 64 KiB."""

MEDIA_MAX: Final = 64
"""Attachments of one message; an album of Telegram has 10, a message of Discord too."""

URL_CHARACTERS_MAX: Final = 8 * 1024
"""What web servers take at most; signed links of object stores have about 2,000."""


class PresenceStatus(StrEnum):
    """What others on the platform are shown of the plugin's account."""

    ONLINE = "online"
    TYPING = "typing"
    OFFLINE = "offline"


@attrs.frozen(kw_only=True)
class UserIdentity:
    """Somebody on a platform, as the plugin says. It vouches for nothing inside the gateway."""

    user_id: str = ""
    """The gateway's own id where the plugin knows one; nothing that a decision may rest on."""
    platform: str = ""
    platform_user_id: str = ""
    display_name: str = ""
    """What the user calls themselves: any text, another user's name too."""


@attrs.frozen(kw_only=True)
class MediaAttachment:
    """A file beside a message. Nothing of it was checked, its size and type neither."""

    url: str
    mime_type: str = ""
    filename: str = ""
    """As the sender calls it: no path to write to."""
    size_bytes: int = 0
    """0 where it isn't known."""


def _attachments(media: Iterable[MediaAttachment]) -> tuple[MediaAttachment, ...]:
    return tuple(media)


@attrs.frozen(kw_only=True)
class InboundMessage:
    """A message that somebody wrote on a platform."""

    message_id: str
    channel_id: str
    sender: UserIdentity
    content: str
    thread_id: str = ""
    media: tuple[MediaAttachment, ...] = attrs.field(default=(), converter=_attachments)
    timestamp: datetime | None = None
    """When it was written, as the platform says; with a zone."""
    metadata: Mapping[str, str] = attrs.field(factory=dict, converter=read_only_texts)


@attrs.frozen(kw_only=True)
class SendRequest:
    """A message to be written on a platform."""

    channel_id: str
    content: str
    thread_id: str = ""
    media: tuple[MediaAttachment, ...] = attrs.field(default=(), converter=_attachments)
    typing_indicator: bool = False
    """Whether others are first shown that something is being written."""
    reply_to_message_id: str = ""


@attrs.frozen(kw_only=True)
class SendResult:
    """A message that was written. One that wasn't is a `PluginCallError` in the plugin's words."""

    platform_message_id: str = ""
    """What the platform calls it; empty where the plugin doesn't know."""


def inbound_problem(message: InboundMessage) -> str:
    """Return what is wrong with a message that a plugin received."""
    return first_problem(
        (
            text_problem("its id", message.message_id),
            text_problem("its channel's id", message.channel_id),
            text_problem("its thread's id", message.thread_id),
            text_problem("its content", message.content, limit=CONTENT_CHARACTERS_MAX),
            time_problem("its timestamp", message.timestamp),
            identity_problem(message.sender),
            metadata_problem(message.metadata),
            _media_problem(message.media),
        )
    )


def send_problem(request: SendRequest) -> str:
    """Return what is wrong with a message that is to be sent."""
    return first_problem(
        (
            text_problem("the channel's id", request.channel_id),
            text_problem("the thread's id", request.thread_id),
            text_problem("the id of what it replies to", request.reply_to_message_id),
            text_problem("its content", request.content, limit=CONTENT_CHARACTERS_MAX),
            _media_problem(request.media),
        )
    )


def sent_problem(result: SendResult) -> str:
    """Return what is wrong with a plugin's answer that it has sent a message."""
    return text_problem("the message's id", result.platform_message_id)


def identity_problem(identity: UserIdentity) -> str:
    """Return what is wrong with what a plugin says of a user."""
    return first_problem(
        (
            text_problem("the user's id", identity.user_id),
            text_problem("the user's platform", identity.platform),
            text_problem("the user's id on the platform", identity.platform_user_id),
            text_problem("the user's name", identity.display_name),
        )
    )


def _media_problem(media: tuple[MediaAttachment, ...]) -> str:
    return count_problem("attachments", len(media), limit=MEDIA_MAX) or first_problem(
        problem for one in media for problem in _attachment_problems(one)
    )


def _attachment_problems(media: MediaAttachment) -> Iterable[str]:
    yield text_problem("an attachment's url", media.url, limit=URL_CHARACTERS_MAX)
    yield text_problem("an attachment's type", media.mime_type)
    yield text_problem("an attachment's file name", media.filename)
    yield number_problem("an attachment's size", media.size_bytes, bits=64)
