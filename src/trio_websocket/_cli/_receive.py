"""Receiving all that is there at once, so that it can be written at once."""

from __future__ import annotations

from typing import Protocol

import trio

from trio_websocket import ConnectionClosed, WebSocketConnection
from trio_websocket._cli._format import Message
from trio_websocket._cli._run import is_normal

__all__ = ["Socket", "receive", "receive_all_there"]


class Socket(Protocol):
    """What a connection has, whether it is one or many, one after another."""

    async def send_message(self, message: Message, /) -> None:
        """Send."""

    async def get_message(self) -> Message:
        """Receive."""

    async def ping(self, payload: bytes | None = None, /) -> float:
        """Ping."""

    async def aclose(self, code: int = 1000, reason: str | None = None) -> None:
        """Close."""


async def receive(ws: Socket) -> Message | None:
    """The next message, or None if the connection was closed because all was said.

    Raises:
        ConnectionClosed: It ended in any other way.
    """
    try:
        return await ws.get_message()
    except ConnectionClosed as error:
        if is_normal(error.reason):
            return None
        raise


async def receive_all_there(ws: Socket, most: float) -> list[Message]:
    """The next message and what waits behind it, `most` at most; nothing if the connection was closed normally.

    Raises:
        ConnectionClosed: It ended in any other way.
    """
    message = await receive(ws)
    if message is None:
        return []
    messages = [message]
    try:
        while len(messages) < most and isinstance(ws, WebSocketConnection):
            messages.append(ws.get_message_nowait())
    except (trio.WouldBlock, ConnectionClosed):
        pass  # the next call tells
    return messages
