"""The interop peer with aiohttp; `peer_control.py` tells what it does.

aiohttp has no call that sends a message in fragments, so that one command writes its frames to the socket by hand.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web
from peer_control import SUBPROTOCOLS, Channel, Peer

_AnyWebSocket: TypeAlias = "ClientWebSocketResponse[bool] | web.WebSocketResponse[bool]"
_LIMIT = 2**25


class AiohttpChannel(Channel):
    def __init__(self, ws: _AnyWebSocket, transport: asyncio.WriteTransport) -> None:
        self._ws = ws
        self._transport = transport
        self._outcome: tuple[int | None, str] = (None, "")

    async def _receive(self) -> Any:
        """Return the next message; pings are answered here, as aiohttp hides pongs from who leaves that to it."""
        while (message := await self._ws.receive()).type is WSMsgType.PING:
            await self._ws.pong(message.data)
        if message.type is WSMsgType.CLOSE:
            self._outcome = (message.data, message.extra or "")
        return message

    async def messages(self) -> AsyncIterator[str | bytes]:
        while (message := await self._receive()).type in (WSMsgType.TEXT, WSMsgType.BINARY):
            yield message.data

    def subprotocol(self) -> str | None:
        return self._ws.protocol if isinstance(self._ws, ClientWebSocketResponse) else self._ws.ws_protocol

    async def send(self, message: str | bytes) -> None:
        await (self._ws.send_str(message) if isinstance(message, str) else self._ws.send_bytes(message))

    async def send_fragments(self, parts: list[str] | list[bytes]) -> None:
        opcode = int(WSMsgType.TEXT if isinstance(parts[0], str) else WSMsgType.BINARY)
        for index in range(len(parts)):
            part: str | bytes = parts[index]
            data = part.encode() if isinstance(part, str) else part
            is_final = index == len(parts) - 1
            self._transport.write(self._frame(opcode if index == 0 else 0, data, is_final=is_final))

    def _frame(self, opcode: int, data: bytes, *, is_final: bool) -> bytes:
        assert len(data) < 126
        first = (0x80 if is_final else 0) | opcode
        if isinstance(self._ws, web.WebSocketResponse):
            return bytes([first, len(data)]) + data
        mask = secrets.token_bytes(4)
        return (
            bytes([first, 0x80 | len(data)]) + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        )

    async def ping(self, payload: bytes) -> None:
        await self._ws.ping(payload)
        answer = await self._receive()
        assert (answer.type, bytes(answer.data)) == (WSMsgType.PONG, payload), answer

    async def close(self, code: int, reason: str) -> None:
        await self._ws.close(code=code, message=reason.encode())
        self._outcome = (self._ws.close_code, "")

    def outcome(self) -> tuple[int | None, str]:
        return self._outcome


class AiohttpPeer(Peer):
    async def serve(self, context: ssl.SSLContext | None) -> int:
        app = web.Application()
        app.router.add_get("/{path}", self._handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        port: int = runner.addresses[0][1]
        return port

    async def _handle(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(protocols=SUBPROTOCOLS, max_msg_size=_LIMIT, autoping=False)
        await ws.prepare(request)
        assert isinstance(request.transport, asyncio.WriteTransport)
        await self.play(request.path, AiohttpChannel(ws, request.transport))
        return ws

    async def connect(self, url: str, context: ssl.SSLContext | None, subprotocols: list[str]) -> None:
        async with (
            ClientSession() as session,
            session.ws_connect(
                url,
                ssl=context or True,
                protocols=subprotocols,
                max_msg_size=_LIMIT,
                compress=15,
                autoping=False,
                decode_text=True,
            ) as ws,
        ):
            connection = ws._response.connection
            assert connection is not None and isinstance(connection.transport, asyncio.WriteTransport)
            await self.play("/" + url.rpartition("/")[2], AiohttpChannel(ws, connection.transport))


if __name__ == "__main__":
    asyncio.run(AiohttpPeer().run())
