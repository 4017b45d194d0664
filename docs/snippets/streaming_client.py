"""Sends what is made bit by bit as one message."""

from collections.abc import AsyncIterator

import trio

from trio_websocket import open_websocket_url


async def report() -> AsyncIterator[str]:
    """Make a report, line by line."""
    for number in range(1, 4):
        await trio.sleep(0.1)
        yield f"line {number}\n"


async def main() -> None:
    async with open_websocket_url(
        "ws://127.0.0.1:8000/", max_streamed_size=2**40
    ) as ws:
        await ws.send_fragments(report())
        async with ws.receive_fragments() as parts:
            size = 0
            async for part in parts:
                size += len(part)
        print(f"{size} bytes came back")


trio.run(main)
