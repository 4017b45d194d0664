"""A session that begins anew whenever its connection is lost."""

import logging

import trio

from trio_websocket import (
    ConnectionClosed,
    Heartbeat,
    WebSocketConnection,
    run_websocket_url,
)


async def show_messages(ws: WebSocketConnection) -> None:
    while True:
        print(await ws.get_message())


async def main() -> None:
    logging.basicConfig(level=logging.INFO)
    try:
        await run_websocket_url(
            show_messages, "ws://127.0.0.1:8000/", heartbeat=Heartbeat()
        )
    except ConnectionClosed as error:
        # The server has said all that it had to say.
        print(error.reason)


if __name__ == "__main__":
    trio.run(main)
