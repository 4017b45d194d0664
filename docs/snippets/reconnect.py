"""A client that comes back after a loss, and waits longer each time."""

import random

import trio

from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    open_websocket_url,
)


async def show_messages(ws: WebSocketConnection) -> None:
    while True:
        print(await ws.get_message())


async def main() -> None:
    delay = 1.0
    while True:
        try:
            async with open_websocket_url("ws://127.0.0.1:8000/") as ws:
                delay = 1.0
                await show_messages(ws)
        except ConnectionClosed as error:
            if error.reason is not None and error.reason.code == 1000:
                return  # The server has said all that it had to say.
            print(error)
        except HandshakeError as error:
            print(error)
        # Chance keeps a thousand clients from coming back in the same second.
        await trio.sleep(delay * random.uniform(0.5, 1.0))
        delay = min(2 * delay, 60.0)


if __name__ == "__main__":
    trio.run(main)
