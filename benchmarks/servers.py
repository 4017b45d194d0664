"""The server of each kind, on 127.0.0.1: `python servers.py KIND TASK PORT [CERTIFICATE KEY]`; serves wss: if given these.

TASK is "echo", or "deflate", which is that with compression, or "broadcast": each message then goes to all connections, the
way the library offers for that. trio-websocket reads 64 KiB at a time, as its own 4 KiB would slow it down.
"""

# ruff: noqa: PLC0415  No environment has all the libraries: each is imported where it is used.
from __future__ import annotations

import asyncio
import functools
import ssl
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import trio

HOST = "127.0.0.1"
RECEIVE_SIZE = 65536

# No connection is ever taken out: the server ends when the load does.
everyone: list[Any] = []


class AnyStreams(trio.abc.Listener[trio.abc.Stream]):
    """Accepts streams that are more than plain sockets, as far as our library can see: it has to use its stream transport."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener

    async def accept(self) -> trio.abc.Stream:
        stream = await self._listener.accept()
        return trio.StapledStream(stream, stream)

    async def aclose(self) -> None:
        await self._listener.aclose()


def trio_websocket_options(kind: str, task: str) -> dict[str, Any]:
    if kind == "ours-stdlib":
        from trio_websocket.protocol import _deflate_streams

        # As if the extra were not installed.
        _deflate_streams._fast = None
    if kind == "trio-websocket":
        return {"receive_buffer_size": RECEIVE_SIZE}
    if task != "deflate":
        return {}
    from trio_websocket import PerMessageDeflate

    return {"compression": PerMessageDeflate(level=1) if kind == "ours-fast" else True}


async def serve_trio_websocket(kind: str, task: str, port: int, context: ssl.SSLContext | None) -> None:
    from trio_websocket import (
        ConnectionClosed,
        WebSocketConnection,
        WebSocketRequest,
        WebSocketServer,
        serve_websocket,
    )

    async def answer(ws: WebSocketConnection) -> None:
        if task != "broadcast":
            while True:
                await ws.send_message(await ws.get_message())
        everyone.append(ws)
        while True:
            message = await ws.get_message()
            for peer in everyone:
                await peer.send_message(message)

    async def handle(request: WebSocketRequest) -> None:
        try:
            await answer(await request.accept())
        except ConnectionClosed:
            pass

    if kind == "ours-streams":
        listeners: list[Any] = [AnyStreams(one) for one in await trio.open_tcp_listeners(port, host=HOST)]
        if context:
            listeners = [trio.SSLListener(one, context, https_compatible=True) for one in listeners]
        await WebSocketServer(handle, listeners).run()
    options = trio_websocket_options(kind, task)
    await serve_websocket(handle, HOST, port, context, **options)


async def serve_trio(task: str, port: int, context: ssl.SSLContext | None) -> None:
    async def handle(stream: trio.abc.Stream) -> None:
        try:
            # The load opens a connection with a byte, and waits for its echo.
            if hello := await stream.receive_some(1):
                await stream.send_all(hello)
                everyone.append(stream)
            while data := await stream.receive_some(RECEIVE_SIZE):
                for peer in everyone if task == "broadcast" else [stream]:
                    await peer.send_all(data)
        except trio.BrokenResourceError:
            pass

    if context:
        await trio.serve_ssl_over_tcp(handle, port, context, host=HOST)
    await trio.serve_tcp(handle, port, host=HOST)


async def serve_websockets_trio(task: str, port: int, context: ssl.SSLContext | None) -> None:
    from websockets.trio.server import ServerConnection, broadcast, serve

    async def handle(ws: ServerConnection) -> None:
        everyone.append(ws)
        async for message in ws:
            if task == "broadcast":
                await broadcast(everyone, message)
            else:
                await ws.send(message)

    await serve(handle, port, host=HOST, ssl=context, compression=None)


async def serve_websockets(task: str, port: int, context: ssl.SSLContext | None) -> None:
    from websockets.asyncio.server import ServerConnection, broadcast, serve

    async def handle(ws: ServerConnection) -> None:
        everyone.append(ws)
        async for message in ws:
            if task == "broadcast":
                broadcast(everyone, message)
            else:
                await ws.send(message)

    compression = "deflate" if task == "deflate" else None
    async with serve(handle, HOST, port, ssl=context, compression=compression) as server:
        await server.serve_forever()


async def serve_aiohttp(task: str, port: int, context: ssl.SSLContext | None) -> None:
    from aiohttp import web

    if task == "deflate":
        import aiohttp
        from isal import isal_zlib

        # The fastest one that it knows.
        aiohttp.set_zlib_backend(isal_zlib)

    async def handle(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(compress=task == "deflate")
        await ws.prepare(request)
        everyone.append(ws)
        async for message in ws:
            for peer in everyone if task == "broadcast" else [ws]:
                await peer.send_bytes(message.data)
        return ws

    application = web.Application()
    application.router.add_get("/", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, HOST, port, ssl_context=context).start()
    await asyncio.Event().wait()


async def serve_picows(task: str, port: int, context: ssl.SSLContext | None) -> None:
    from picows import WSListener, WSMsgType, ws_create_server  # type: ignore[import-not-found]

    class Listener(WSListener):  # type: ignore[misc]
        def on_ws_connected(self, transport: Any) -> None:
            everyone.append(transport)

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()
            elif task == "broadcast":
                payload = frame.get_payload_as_bytes()
                for peer in everyone:
                    peer.send(frame.msg_type, payload)
            else:
                transport.send(frame.msg_type, frame.get_payload_as_memoryview())

    server = await ws_create_server(lambda _request: Listener(), HOST, port, ssl=context)
    await server.serve_forever()


ON_TRIO: dict[str, Callable[..., Awaitable[object]]] = {
    "ours": functools.partial(serve_trio_websocket, "ours"),
    "ours-plain": functools.partial(serve_trio_websocket, "ours-plain"),
    "ours-fast": functools.partial(serve_trio_websocket, "ours-fast"),
    "ours-stdlib": functools.partial(serve_trio_websocket, "ours-stdlib"),
    "ours-streams": functools.partial(serve_trio_websocket, "ours-streams"),
    "trio-websocket": functools.partial(serve_trio_websocket, "trio-websocket"),
    "trio": serve_trio,
    "websockets.trio": serve_websockets_trio,
}
ON_ASYNCIO = {"picows": serve_picows, "aiohttp": serve_aiohttp, "websockets": serve_websockets}


def run_asyncio(main: Callable[[], Any], *, with_uvloop: bool) -> None:
    if with_uvloop:
        import uvloop  # type: ignore[import-not-found]

        uvloop.run(main())
    else:
        asyncio.run(main())


def main() -> None:
    kind, task, port, *files = sys.argv[1:]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if files else None
    if context:
        context.load_cert_chain(*files)
    arguments = (task, int(port), context)
    if kind in ON_TRIO:
        trio.run(ON_TRIO[kind], *arguments)
    name, _, loop = kind.partition("+")
    run_asyncio(functools.partial(ON_ASYNCIO[name], *arguments), with_uvloop=loop == "uvloop")


if __name__ == "__main__":
    main()
