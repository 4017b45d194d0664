"""Two ends of one connection, without a network."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
import trio.testing

from trio_websocket._connection import CANCEL_GRACE, WebSocketConnection
from trio_websocket._opening import ClientOpening, ServerOpening
from trio_websocket._options import (
    CONN_TIMEOUT,
    DEFAULT_MAX_FRAGMENTS,
    DEFAULT_MESSAGE_QUEUE_BYTES,
    DEFAULT_WRITE_BACKLOG,
    MAX_MESSAGE_SIZE,
    MESSAGE_QUEUE_SIZE,
    RECEIVE_BYTES,
    Compression,
    ConnectionOptions,
    HeaderList,
)
from trio_websocket._transports import open_transport
from trio_websocket.protocol import ClientHandshake, Heartbeat, ServerHandshake
from trio_websocket.testing._faults import FaultyStream

__all__ = ["WebSocketPair", "open_websocket_pair"]


@dataclass(frozen=True, slots=True)
class WebSocketPair:
    """Two connections that lead to each other; `client, server = pair` takes them out.

    Args:
        client: The client's end.
        server: The server's.
        client_stream: What the client sends to and receives from: faults that are injected there happen on the client's side.
        server_stream: The same on the server's.
    """

    client: WebSocketConnection
    server: WebSocketConnection
    client_stream: FaultyStream
    server_stream: FaultyStream

    def __iter__(self) -> Iterator[WebSocketConnection]:
        """The client, and the server."""
        return iter((self.client, self.server))


@asynccontextmanager
async def open_websocket_pair(
    resource: str = "/",
    *,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderList | None = None,
    message_queue_size: float = MESSAGE_QUEUE_SIZE,
    max_message_size: float = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
    disconnect_timeout: float = CONN_TIMEOUT,
    message_queue_bytes: float = DEFAULT_MESSAGE_QUEUE_BYTES,
    write_backlog: int = DEFAULT_WRITE_BACKLOG,
    max_fragments: float = DEFAULT_MAX_FRAGMENTS,
    max_streamed_size: float | None = None,
    compression: Compression = None,
    heartbeat: Heartbeat | None = None,
) -> AsyncIterator[WebSocketPair]:
    """Open a connection in memory, with both its ends, for the length of an `async with` block.

    There is no socket, and nothing waits for real time: under a `trio.testing.MockClock` with autojump, the clock jumps
    as soon as your own tasks wait.

    Args:
        resource: The path that the client asks for, with its query.
        subprotocols: What the client proposes; the server takes the first.
        extra_headers: What the client sends with its request.

    Everything else is as for `trio_websocket.open_websocket_url`, and holds for both ends.

    Returns:
        An async context manager that gives a `WebSocketPair`. Leaving the block lets go what stalls, and closes both ends,
        with code 1000.

    Raises:
        ValueError: An argument can't be right.

    What the block raises comes out as it is, never in a group.
    """
    options = ConnectionOptions(
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        message_queue_bytes=message_queue_bytes,
        write_backlog=write_backlog,
        max_fragments=max_fragments,
        max_streamed_size=max_streamed_size,
        compression=compression,
        heartbeat=heartbeat,
        disconnect_timeout=disconnect_timeout,
    )
    handshake = ClientHandshake(
        host="test",
        resource=resource,
        subprotocols=subprotocols or (),
        extra_headers=extra_headers or (),
        compression=compression,
    )
    pair = await _shake_hands(handshake, resource, options)
    try:
        yield pair
    finally:
        await _close(pair)


async def _shake_hands(
    handshake: ClientHandshake, resource: str, options: ConnectionOptions
) -> WebSocketPair:
    client_stream, server_stream = map(FaultyStream, trio.testing.memory_stream_pair())
    ends: dict[str, WebSocketConnection] = {}

    async def connect() -> None:
        transport = open_transport(client_stream, options.receive_size)
        ends["client"] = await ClientOpening(transport, handshake, options).connect(resource)

    async def accept() -> None:
        transport = open_transport(server_stream, options.receive_size)
        opening = ServerOpening(transport, ServerHandshake(compression=options.compression), options)
        request = await opening.receive_request()
        ends["server"] = opening.accept(request, next(iter(request.subprotocols), None), ())

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            nursery.start_soon(accept)
    except BaseException:
        # Cancelled: one end may have been there before the other.
        for end in ends.values():
            await trio.aclose_forcefully(end)
        raise
    return WebSocketPair(ends["client"], ends["server"], client_stream, server_stream)


async def _close(pair: WebSocketPair) -> None:
    pair.client_stream.clear()
    pair.server_stream.clear()
    # Both at once: neither may be reading. In memory that takes no time, so a cancellation can wait for it.
    with trio.CancelScope(shield=True, deadline=trio.current_time() + CANCEL_GRACE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.client.aclose)
            nursery.start_soon(pair.server.aclose)
