"""An echo client for the conformance tests: python echo_client.py URL goes through all cases of a fuzzing server."""

from __future__ import annotations

import sys

import trio

from trio_websocket import ConnectionClosed, open_websocket_url

# Larger than any message of the suite (16 MiB), and more fragments than it cuts one into (65,536).
MAX_MESSAGE_SIZE = 2**25
MAX_FRAGMENTS = 2**17


async def count_cases(url: str) -> int:
    async with open_websocket_url(f"{url}/getCaseCount") as ws:
        return int(await ws.get_message())


async def echo(url: str) -> None:
    """Echo until the server closes the connection."""
    async with open_websocket_url(url, max_message_size=MAX_MESSAGE_SIZE, max_fragments=MAX_FRAGMENTS) as ws:
        try:
            while True:
                await ws.send_message(await ws.get_message())
        except ConnectionClosed:
            pass


async def main(url: str) -> None:
    for number in range(1, await count_cases(url) + 1):
        await echo(f"{url}/runCase?case={number}&agent=client")


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
