"""A channel: what comes in is yielded, what goes out is sent."""

from collections.abc import AsyncGenerator
from itertools import count

import trio

from sigil_actors.sdk import Channel, ChannelError, InboundMessage, SendRequest, UserIdentity, serve

WAITING_MAX = 100  # messages that nobody listens to


class Echo(Channel):
    """Says what it was sent, in the name of its one user."""

    def __init__(self) -> None:
        self._into, self._said = trio.open_memory_channel[InboundMessage](WAITING_MAX)
        self._numbers = count(1)

    async def messages(self) -> AsyncGenerator[InboundMessage]:
        """Yield what is said, for as long as somebody listens."""
        while True:
            yield await self._said.receive()

    async def send(self, message: SendRequest) -> str:
        """Say it back."""
        number = f"m{next(self._numbers)}"
        echo = InboundMessage(
            message_id=number,
            channel_id=message.channel_id,
            thread_id=message.thread_id,
            sender=await self.identity("echo"),
            content=message.content,
        )
        try:
            self._into.send_nowait(echo)
        except trio.WouldBlock:
            raise ChannelError("nobody listens, and there is no room for more") from None
        return number

    async def identity(self, platform_user_id: str) -> UserIdentity:
        """Everybody is the echo."""
        return UserIdentity(
            user_id=platform_user_id,
            platform="echo",
            platform_user_id=platform_user_id,
            display_name="The echo",
        )


if __name__ == "__main__":
    serve(channel=Echo())
