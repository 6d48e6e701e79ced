"""A chat platform as a plugin: messages come in as they are said, and others go out."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from sigil_actors._proto.common.v1 import common_pb2
from sigil_actors._proto.plugin.v1 import channel_pb2

InboundMessage = channel_pb2.InboundMessage
MediaAttachment = channel_pb2.MediaAttachment
SendRequest = channel_pb2.SendRequest
UserIdentity = common_pb2.UserIdentity


class ChannelError(Exception):
    """Raised by `send`: its text is what the host is told."""


class Channel:
    """The servicer `plugin.v1.Channel`, out of what an author overrides.

    `messages` is run while a host listens, once at a time, and cancelled when it stops.
    """

    def messages(self) -> AsyncIterator[InboundMessage]:
        """Yield what is said on the platform. An asynchronous generator."""
        raise NotImplementedError

    async def send(self, message: SendRequest) -> str:
        """Say something on the platform; return the platform's id of it.

        Raises:
            ChannelError: the platform didn't take it.
        """
        raise NotImplementedError

    async def show_presence(self, channel_id: str, status: int) -> None:
        """Show on the platform that somebody is there, types or is gone. Nothing by default."""

    async def identity(self, platform_user_id: str) -> UserIdentity:
        """Return who a user of the platform is; only the id by default."""
        return UserIdentity(platform_user_id=platform_user_id)

    # The names of the methods are the contract's.
    async def Start(  # noqa: N802
        self,
        request: channel_pb2.StartRequest,  # noqa: ARG002 - it has no fields
        context: object,  # noqa: ARG002
    ) -> AsyncGenerator[InboundMessage]:
        """Stream what comes in."""
        messages = self.messages()
        if isinstance(messages, AsyncGenerator):
            async with aclosing(messages):
                async for message in messages:
                    yield message
        else:
            async for message in messages:
                yield message

    async def Send(  # noqa: N802
        self,
        request: SendRequest,
        context: object,  # noqa: ARG002
    ) -> channel_pb2.SendResponse:
        """Send one message."""
        try:
            sent = await self.send(request)
        except ChannelError as error:
            return channel_pb2.SendResponse(ok=False, error=str(error))
        return channel_pb2.SendResponse(ok=True, platform_message_id=sent)

    async def UpdatePresence(  # noqa: N802
        self,
        request: channel_pb2.PresenceRequest,
        context: object,  # noqa: ARG002
    ) -> channel_pb2.PresenceResponse:
        """Show a presence."""
        await self.show_presence(request.channel_id, request.status)
        return channel_pb2.PresenceResponse(ok=True)

    async def GetIdentity(  # noqa: N802
        self,
        request: channel_pb2.GetIdentityRequest,
        context: object,  # noqa: ARG002
    ) -> UserIdentity:
        """Tell who a user is."""
        return await self.identity(request.platform_user_id)
