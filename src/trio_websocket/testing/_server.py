"""A server without a network, for code that opens its connections itself."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
import trio.testing

from trio_websocket._dial import stand_in
from trio_websocket._exceptions import ConnectionFailed
from trio_websocket._handler import Handler
from trio_websocket._options import (
    CONN_TIMEOUT,
    DEFAULT_MAX_FRAGMENTS,
    DEFAULT_MESSAGE_QUEUE_BYTES,
    DEFAULT_WRITE_BACKLOG,
    MAX_MESSAGE_SIZE,
    MESSAGE_QUEUE_SIZE,
    Compression,
)
from trio_websocket._server import WebSocketServer
from trio_websocket.protocol import Heartbeat
from trio_websocket.testing._faults import FaultyStream

__all__ = ["MemoryServer", "serve_in_memory"]


class _MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    def __init__(self) -> None:
        self._clients, self._accepted = trio.open_memory_channel[trio.abc.Stream](math.inf)

    def connect(self, stream: trio.abc.Stream) -> None:
        self._clients.send_nowait(stream)

    async def accept(self) -> trio.abc.Stream:
        return await self._accepted.receive()

    async def aclose(self) -> None:
        self._accepted.close()
        await trio.lowlevel.checkpoint()


class MemoryServer:
    """What stands in for the network in a block of `serve_in_memory`."""

    def __init__(self, on_connect: Callable[[FaultyStream], Awaitable[object]] | None) -> None:
        self._on_connect = on_connect
        self._listener = _MemoryListener()
        self._streams: list[FaultyStream] = []

    @property
    def streams(self) -> list[FaultyStream]:
        """The client's end of each connection so far, in their order: inject faults there."""
        return list(self._streams)

    async def _connect(self, host: str, port: int) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        stream = FaultyStream(ours)
        self._streams.append(stream)
        await trio.lowlevel.checkpoint()
        try:
            if self._on_connect is not None:
                await self._on_connect(stream)
        except OSError as error:
            raise ConnectionFailed(f"cannot connect to {host} port {port}: {error}") from error
        self._listener.connect(theirs)
        return stream


@asynccontextmanager
async def serve_in_memory(
    handler: Handler,
    *,
    on_connect: Callable[[FaultyStream], Awaitable[object]] | None = None,
    message_queue_size: float = MESSAGE_QUEUE_SIZE,
    max_message_size: float = MAX_MESSAGE_SIZE,
    connect_timeout: float = CONN_TIMEOUT,
    disconnect_timeout: float = CONN_TIMEOUT,
    message_queue_bytes: float = DEFAULT_MESSAGE_QUEUE_BYTES,
    write_backlog: int = DEFAULT_WRITE_BACKLOG,
    max_fragments: float = DEFAULT_MAX_FRAGMENTS,
    max_streamed_size: float | None = None,
    compression: Compression = None,
    heartbeat: Heartbeat | None = None,
) -> AsyncIterator[MemoryServer]:
    """Serve all connections that are opened in this Trio run, for the length of an `async with` block.

    In the block, whatever opens a connection by a URL or a host, `open_websocket_url` and the like, is connected to `handler`
    in memory: there is no socket, no name is looked up, and no proxy is asked. `wss:` is served without TLS.

    Args:
        handler: As for `trio_websocket.serve_websocket`.
        on_connect: Called with the client's end of each new connection, before anything passes. It may inject faults,
            take its time, or raise an `OSError`, which the client finds as it would find that of the network.

    Everything else is as for `trio_websocket.serve_websocket`, and holds for the server.

    Returns:
        An async context manager that gives a `MemoryServer`. Leaving the block ends the server as cancelling does.

    Raises:
        ValueError: An argument can't be right.

    What the block raises comes out as it is, never in a group. Of two blocks, one in the other, the inner one counts.
    """
    network = MemoryServer(on_connect)
    server = WebSocketServer(
        handler,
        [network._listener],
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        connect_timeout=connect_timeout,
        disconnect_timeout=disconnect_timeout,
        message_queue_bytes=message_queue_bytes,
        write_backlog=write_backlog,
        max_fragments=max_fragments,
        max_streamed_size=max_streamed_size,
        compression=compression,
        heartbeat=heartbeat,
    )
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        with stand_in(network._connect):
            try:
                yield network
            except BaseException as error:
                failure = error
        for stream in network.streams:
            stream.clear()
        nursery.cancel_scope.cancel()
    # Behind the nursery, which would put it into a group.
    if failure is not None:
        raise failure
