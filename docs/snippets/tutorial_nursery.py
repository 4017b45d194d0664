"""A client that sends and receives at the same time."""

import trio

from trio_websocket import WebSocketConnection, open_websocket_url


async def show_messages(ws: WebSocketConnection) -> None:
    async for message in ws:
        print("received", message)


async def main() -> None:
    async with (
        open_websocket_url("ws://127.0.0.1:8000/") as ws,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(show_messages, ws)
        for number in range(3):
            await ws.send_message(f"message {number}")
            await trio.sleep(1)
        await ws.aclose()


if __name__ == "__main__":
    trio.run(main)
