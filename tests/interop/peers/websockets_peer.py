"""The interop peer with `websockets` (asyncio); `peer_control.py` tells what it does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence

from peer_control import SUBPROTOCOLS, Channel, Peer
from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol


class WebsocketsChannel(Channel):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def messages(self) -> AsyncIterator[str | bytes]:
        try:
            while True:
                yield await self._connection.recv()
        except ConnectionClosed:
            return

    def subprotocol(self) -> str | None:
        return self._connection.subprotocol

    async def send(self, message: str | bytes) -> None:
        await self._connection.send(message)

    async def send_fragments(self, parts: list[str] | list[bytes]) -> None:
        await self._connection.send(parts)

    async def ping(self, payload: bytes) -> None:
        await (await self._connection.ping(payload))

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)

    def outcome(self) -> tuple[int | None, str]:
        return self._connection.close_code, self._connection.close_reason or ""


def _select(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    # Told a list instead, websockets would turn away a client that offers none of it.
    return next((Subprotocol(name) for name in SUBPROTOCOLS if name in offered), None)


class WebsocketsPeer(Peer):
    async def serve(self, context: ssl.SSLContext | None) -> int:
        server = await serve(
            self._handle,
            "127.0.0.1",
            0,
            ssl=context,
            max_size=None,
            select_subprotocol=_select,
            ping_interval=None,
        )
        port: int = next(iter(server.sockets)).getsockname()[1]
        return port

    async def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        await self.play(connection.request.path, WebsocketsChannel(connection))

    async def connect(self, url: str, context: ssl.SSLContext | None, subprotocols: list[str]) -> None:
        names = [Subprotocol(name) for name in subprotocols]
        async with connect(
            url, ssl=context, max_size=None, subprotocols=names, ping_interval=None
        ) as connection:
            await self.play("/" + url.rpartition("/")[2], WebsocketsChannel(connection))


if __name__ == "__main__":
    asyncio.run(WebsocketsPeer().run())
