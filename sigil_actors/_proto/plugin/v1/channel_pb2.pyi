import datetime

from sigil_actors._proto.common.v1 import common_pb2 as _common_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PresenceStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRESENCE_STATUS_UNSPECIFIED: _ClassVar[PresenceStatus]
    PRESENCE_STATUS_ONLINE: _ClassVar[PresenceStatus]
    PRESENCE_STATUS_TYPING: _ClassVar[PresenceStatus]
    PRESENCE_STATUS_OFFLINE: _ClassVar[PresenceStatus]
PRESENCE_STATUS_UNSPECIFIED: PresenceStatus
PRESENCE_STATUS_ONLINE: PresenceStatus
PRESENCE_STATUS_TYPING: PresenceStatus
PRESENCE_STATUS_OFFLINE: PresenceStatus

class StartRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class InboundMessage(_message.Message):
    __slots__ = ("message_id", "channel_id", "sender", "content", "thread_id", "media", "timestamp", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    channel_id: str
    sender: _common_pb2.UserIdentity
    content: str
    thread_id: str
    media: _containers.RepeatedCompositeFieldContainer[MediaAttachment]
    timestamp: _timestamp_pb2.Timestamp
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, message_id: _Optional[str] = ..., channel_id: _Optional[str] = ..., sender: _Optional[_Union[_common_pb2.UserIdentity, _Mapping]] = ..., content: _Optional[str] = ..., thread_id: _Optional[str] = ..., media: _Optional[_Iterable[_Union[MediaAttachment, _Mapping]]] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class MediaAttachment(_message.Message):
    __slots__ = ("url", "mime_type", "filename", "size_bytes")
    URL_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    url: str
    mime_type: str
    filename: str
    size_bytes: int
    def __init__(self, url: _Optional[str] = ..., mime_type: _Optional[str] = ..., filename: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class SendRequest(_message.Message):
    __slots__ = ("channel_id", "content", "thread_id", "media", "typing_indicator", "reply_to_message_id")
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    THREAD_ID_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    TYPING_INDICATOR_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    channel_id: str
    content: str
    thread_id: str
    media: _containers.RepeatedCompositeFieldContainer[MediaAttachment]
    typing_indicator: bool
    reply_to_message_id: str
    def __init__(self, channel_id: _Optional[str] = ..., content: _Optional[str] = ..., thread_id: _Optional[str] = ..., media: _Optional[_Iterable[_Union[MediaAttachment, _Mapping]]] = ..., typing_indicator: _Optional[bool] = ..., reply_to_message_id: _Optional[str] = ...) -> None: ...

class SendResponse(_message.Message):
    __slots__ = ("ok", "platform_message_id", "error")
    OK_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ok: bool
    platform_message_id: str
    error: str
    def __init__(self, ok: _Optional[bool] = ..., platform_message_id: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class PresenceRequest(_message.Message):
    __slots__ = ("channel_id", "status")
    CHANNEL_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    channel_id: str
    status: PresenceStatus
    def __init__(self, channel_id: _Optional[str] = ..., status: _Optional[_Union[PresenceStatus, str]] = ...) -> None: ...

class PresenceResponse(_message.Message):
    __slots__ = ("ok",)
    OK_FIELD_NUMBER: _ClassVar[int]
    ok: bool
    def __init__(self, ok: _Optional[bool] = ...) -> None: ...

class GetIdentityRequest(_message.Message):
    __slots__ = ("platform_user_id",)
    PLATFORM_USER_ID_FIELD_NUMBER: _ClassVar[int]
    platform_user_id: str
    def __init__(self, platform_user_id: _Optional[str] = ...) -> None: ...
