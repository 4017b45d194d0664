"""A test of a program that connects again when its connection is lost."""

import errno

import trio
import trio.testing

from trio_websocket import (
    WebSocketConnection,
    WebSocketRequest,
    run_websocket_url,
)
from trio_websocket.testing import Cut, FaultyStream, serve_in_memory

received: list[str | bytes] = []


async def receive_three(ws: WebSocketConnection) -> None:
    """The code under test, with the line in `main` that runs it."""
    while len(received) < 3:
        received.append(await ws.get_message())


async def serve_one(request: WebSocketRequest) -> None:
    ws = await request.accept()
    await ws.send_message("news")
    await trio.sleep_forever()


async def main() -> None:
    attempts = 0

    async def play_the_network(stream: FaultyStream) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            raise OSError(errno.ECONNREFUSED, "Connection refused")
        if attempts == 3:
            # In the middle of the server's answer.
            await stream.inject(receive=[Cut(after=40)])

    async def cut_when_idle() -> None:
        while True:
            await trio.sleep(60)
            await server.streams[-1].inject(receive=[Cut()])

    async with (
        serve_in_memory(serve_one, on_connect=play_the_network) as server,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(cut_when_idle)
        await run_websocket_url(receive_three, "wss://news.example.org/")
        nursery.cancel_scope.cancel()
    print(f"{len(received)} messages after {attempts} attempts")


if __name__ == "__main__":
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
