"""A server and a client on a Unix socket."""

import os

import trio

from trio_websocket import (
    WebSocketRequest,
    open_websocket_url,
    serve_websocket_unix,
)

PATH = os.path.abspath("echo.sock")


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    async for message in ws:
        await ws.send_message(message)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_websocket_unix, echo, PATH)
        async with open_websocket_url(f"ws+unix://{PATH}:/chat") as ws:
            await ws.send_message("hello")
            print(await ws.get_message())
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
