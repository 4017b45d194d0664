"""For the tests of programs that use this library: connections without a network, and networks that fail.

::

    async with open_websocket_pair() as (client, server):
        await client.send_message("hello")
        assert await server.get_message() == "hello"
"""

from __future__ import annotations

from trio_websocket.testing._faults import Cut, Fault, FaultyStream, Reset, Slow, Split, Stall
from trio_websocket.testing._pair import WebSocketPair, open_websocket_pair
from trio_websocket.testing._server import MemoryServer, serve_in_memory

__all__ = [
    "Cut",
    "Fault",
    "FaultyStream",
    "MemoryServer",
    "Reset",
    "Slow",
    "Split",
    "Stall",
    "WebSocketPair",
    "open_websocket_pair",
    "serve_in_memory",
]
