"""A server that leaves values out for clients that read slowly."""

import itertools

import trio

from trio_websocket import WebSocketRequest, serve_websocket


async def tick(request: WebSocketRequest) -> None:
    ws = await request.accept()
    for value in itertools.count():
        if ws.closed:
            break
        try:
            ws.send_message_nowait(str(value))
        except trio.WouldBlock:
            pass  # It still has older ones to read.
        await trio.sleep(0.1)


async def main() -> None:
    await serve_websocket(tick, "127.0.0.1", 8000, None, write_backlog=0)


if __name__ == "__main__":
    trio.run(main)
