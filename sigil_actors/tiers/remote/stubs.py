"""Generated stubs on our channel. Generated code has no types, so this is where they end."""

from typing import Any

from sigil_actors.rpc.channel import Channel


def stub(kind: Any, channel: Channel) -> Any:
    """Return a stub of the generated class `kind`; its methods are asynchronous."""
    return kind(channel)
