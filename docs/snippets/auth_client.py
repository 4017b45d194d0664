"""A client that shows a token, and proposes two versions of a protocol."""

import trio

from trio_websocket import open_websocket_url


async def main() -> None:
    async with open_websocket_url(
        "ws://127.0.0.1:8000/",
        subprotocols=["chat.v3", "chat.v2"],
        extra_headers=[
            (b"Authorization", b"Bearer correct-horse-battery-staple")
        ],
    ) as ws:
        print(ws.subprotocol, "-", await ws.get_message())


if __name__ == "__main__":
    trio.run(main)
