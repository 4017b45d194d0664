"""An echo server for the conformance tests: python echo_server.py PORT."""

from __future__ import annotations

import sys

import trio

from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

# Larger than any message of the suite (16 MiB), and more fragments than it cuts one into (65,536).
MAX_MESSAGE_SIZE = 2**25
MAX_FRAGMENTS = 2**17


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    try:
        while True:
            await ws.send_message(await ws.get_message())
    except ConnectionClosed:
        pass


async def main(port: int) -> None:
    await serve_websocket(
        echo, "127.0.0.1", port, None, max_message_size=MAX_MESSAGE_SIZE, max_fragments=MAX_FRAGMENTS
    )


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
