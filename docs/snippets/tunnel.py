"""Carries a TCP connection's bytes over a WebSocket connection: for a client that gets through to no other port."""

import trio

from trio_websocket import WebSocketRequest, WebSocketStream, serve_websocket


async def copy(
    source: trio.abc.Stream, target: trio.abc.Stream, scope: trio.CancelScope
) -> None:
    """Hand on what comes, until either end is closed; then cancel `scope`."""
    try:
        async for data in source:
            await target.send_all(data)
    except trio.BrokenResourceError:
        pass
    scope.cancel()


async def handle(request: WebSocketRequest) -> None:
    tcp = await trio.open_tcp_stream("127.0.0.1", 9000)
    websocket = WebSocketStream(await request.accept())
    async with tcp, websocket, trio.open_nursery() as nursery:
        nursery.start_soon(copy, tcp, websocket, nursery.cancel_scope)
        nursery.start_soon(copy, websocket, tcp, nursery.cancel_scope)


async def main() -> None:
    await serve_websocket(handle, "127.0.0.1", 8000, None)


trio.run(main)
