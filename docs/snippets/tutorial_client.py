"""A client that says hello."""

import trio

from trio_websocket import open_websocket_url


async def main() -> None:
    async with open_websocket_url("ws://127.0.0.1:8000/") as ws:
        await ws.send_message("hello")
        answer = await ws.get_message()
        print("the server said", answer)


if __name__ == "__main__":
    trio.run(main)
