"""A client with a time limit on everything it does."""

import trio

from trio_websocket import open_websocket_url


async def main() -> None:
    async with open_websocket_url(
        "ws://127.0.0.1:8000/", connect_timeout=10, disconnect_timeout=5
    ) as ws:
        with trio.fail_after(5):
            await ws.send_message("hello")
        while True:
            with trio.move_on_after(1):
                print(await ws.get_message())
                break
            print("nothing yet")


if __name__ == "__main__":
    trio.run(main)
