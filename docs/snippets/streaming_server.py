"""Takes a message as it comes, and answers with one that is larger than its memory should be."""

import trio

from trio_websocket import WebSocketRequest, serve_websocket


async def handle(request: WebSocketRequest) -> None:
    ws = await request.accept()
    async with ws.receive_fragments() as parts:
        async for part in parts:
            print(f"came: {part!r}")
    await ws.send_fragments(bytes(65536) for _ in range(100))


async def main() -> None:
    await serve_websocket(handle, "127.0.0.1", 8000, None)


trio.run(main)
