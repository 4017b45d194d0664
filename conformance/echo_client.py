"""An echo client for the conformance tests: python echo_client.py [--streams] URL goes through all cases of a fuzzing server.

With --streams, it runs over streams as another library may have them, in place of plain sockets.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import trio

from trio_websocket import (
    ConnectionClosed,
    PerMessageDeflate,
    WebSocketConnection,
    open_websocket_url,
    wrap_client_stream,
)

# Larger than any message of the suite (16 MiB), and more fragments than it cuts one into (65,536).
MAX_MESSAGE_SIZE = 2**25
MAX_FRAGMENTS = 2**17
# Everything is compressed where the suite agrees to it, which is in the cases 12.* and 13.*.
COMPRESSION = PerMessageDeflate(threshold=0)


@asynccontextmanager
async def connect(url: str, over_streams: bool) -> AsyncIterator[WebSocketConnection]:
    limits: Any = {
        "max_message_size": MAX_MESSAGE_SIZE,
        "max_fragments": MAX_FRAGMENTS,
        "compression": COMPRESSION,
    }
    if not over_streams:
        async with open_websocket_url(url, **limits) as ws:
            yield ws
        return
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    tcp = await trio.open_tcp_stream(parts.hostname, parts.port)
    resource = parts._replace(scheme="", netloc="").geturl()
    async with trio.open_nursery() as nursery:
        stream = trio.StapledStream(tcp, tcp)
        async with await wrap_client_stream(nursery, stream, parts.netloc, resource, **limits) as ws:
            yield ws


async def count_cases(url: str, over_streams: bool) -> int:
    async with connect(f"{url}/getCaseCount", over_streams) as ws:
        return int(await ws.get_message())


async def echo(url: str, over_streams: bool) -> None:
    """Echo until the server closes the connection."""
    async with connect(url, over_streams) as ws:
        try:
            while True:
                await ws.send_message(await ws.get_message())
        except ConnectionClosed:
            pass


async def main(url: str, over_streams: bool) -> None:
    for number in range(1, await count_cases(url, over_streams) + 1):
        await echo(f"{url}/runCase?case={number}&agent=client", over_streams)


if __name__ == "__main__":
    trio.run(main, sys.argv[-1], "--streams" in sys.argv)
