"""Opening a connection to a server."""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from trio_websocket._connection import WebSocketConnection, close_decently, close_soon, guard
from trio_websocket._dial import open_tcp, start_tls
from trio_websocket._exceptions import ConnectionTimeout, DisconnectionTimeout
from trio_websocket._opening import ClientOpening
from trio_websocket._options import (
    CONN_TIMEOUT,
    DEFAULT_MAX_FRAGMENTS,
    DEFAULT_MESSAGE_QUEUE_BYTES,
    DEFAULT_WRITE_BACKLOG,
    MAX_MESSAGE_SIZE,
    MESSAGE_QUEUE_SIZE,
    RECEIVE_BYTES,
    ConnectionOptions,
    HeaderList,
)
from trio_websocket._transports import open_transport
from trio_websocket.protocol import ClientHandshake
from trio_websocket.protocol._headers import basic_auth
from trio_websocket.protocol._url import encode_host, encode_resource, make_host_header, parse_url

__all__ = [
    "connect_websocket",
    "connect_websocket_url",
    "open_websocket",
    "open_websocket_url",
    "wrap_client_stream",
]


@dataclasses.dataclass(frozen=True, slots=True)
class _Request:
    """What to connect to, and what to say there."""

    host: str
    port: int
    ssl_context: ssl.SSLContext | None
    resource: str
    handshake: ClientHandshake


def _request(
    host: str,
    port: int,
    resource: str,
    use_ssl: bool | ssl.SSLContext,
    subprotocols: Iterable[str] | None,
    extra_headers: HeaderList | None,
) -> _Request:
    if not isinstance(use_ssl, bool | ssl.SSLContext):
        raise TypeError(f"use_ssl must be a bool or an SSLContext, not {type(use_ssl).__name__}")
    if not 0 < port < 65536:
        raise ValueError(f"port {port} is not between 1 and 65535")
    context = use_ssl if isinstance(use_ssl, ssl.SSLContext) else None
    if use_ssl is True:
        context = ssl.create_default_context()
    handshake = ClientHandshake(
        host=make_host_header(host, port, context is not None),
        resource=resource,
        subprotocols=subprotocols or (),
        extra_headers=extra_headers or (),
    )
    return _Request(encode_host(host), port, context, encode_resource(resource), handshake)


def _request_from_url(
    url: object,
    ssl_context: ssl.SSLContext | None,
    subprotocols: Iterable[str] | None,
    extra_headers: HeaderList | None,
) -> _Request:
    parts = parse_url(url)
    if ssl_context is not None and not parts.is_secure:
        raise ValueError("an ssl_context makes no sense for a ws: URL; use wss:")
    headers = tuple(extra_headers or ())
    if parts.user_info is not None and not any(name.lower() == b"authorization" for name, _ in headers):
        headers = (*headers, (b"Authorization", basic_auth(*parts.user_info)))
    use_ssl = ssl_context or parts.is_secure
    return _request(parts.host, parts.port, parts.resource, use_ssl, subprotocols, headers)


def open_websocket(
    host: str,
    port: int,
    resource: str,
    *,
    use_ssl: bool | ssl.SSLContext,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderList | None = None,
    message_queue_size: float = MESSAGE_QUEUE_SIZE,
    max_message_size: float = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
    connect_timeout: float = CONN_TIMEOUT,
    disconnect_timeout: float = CONN_TIMEOUT,
    message_queue_bytes: float = DEFAULT_MESSAGE_QUEUE_BYTES,
    write_backlog: int = DEFAULT_WRITE_BACKLOG,
    max_fragments: float = DEFAULT_MAX_FRAGMENTS,
) -> AbstractAsyncContextManager[WebSocketConnection]:
    """Connect to a server for the length of an `async with` block (RFC 6455 §4.1).

    Args:
        host: A name or an IP address; several addresses are tried as RFC 8305 has it.
        port: The TCP port.
        resource: The path, with its query.
        use_ssl: True for TLS with Python's default context, an `SSLContext` for your own, False for none.
        subprotocols: The subprotocols to propose, in the order of preference.
        extra_headers: Pairs of bytes to send with the request.
        message_queue_size: Received messages that may wait for `get_message`.
        max_message_size: Bytes that a received message may have; the peer gets 1009 for more. `math.inf`: no limit.
        receive_buffer_size: Bytes to ask the stream for at once; 4096 or None: the library's choice.
        connect_timeout: Seconds for TCP, TLS and the handshake together; `math.inf`: no limit.
        disconnect_timeout: Seconds for closing; `math.inf`: no limit.
        message_queue_bytes: Bytes of received messages that may wait for `get_message`.
        write_backlog: Bytes that may wait for the peer before `send_message` does.
        max_fragments: Frames that a received message may have; the peer gets 1009 for more.

    Returns:
        An async context manager that gives the connection. Leaving the block closes it with code 1000.

    Raises:
        ValueError: At the call: an argument can't be right.
        ConnectionTimeout: On entering: not open within `connect_timeout`.
        ConnectionRejected: On entering: the server answered with another status than 101.
        HandshakeError: On entering: anything else that kept it from opening.
        DisconnectionTimeout: On leaving, if the block itself raised nothing: not closed within `disconnect_timeout`.

    What the block raises comes out as it is, never in a group. If it raises, or is cancelled, closing takes at most two
    seconds.
    """
    options = ConnectionOptions(
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        message_queue_bytes=message_queue_bytes,
        write_backlog=write_backlog,
        max_fragments=max_fragments,
        connect_timeout=connect_timeout,
        disconnect_timeout=disconnect_timeout,
    )
    return _open(_request(host, port, resource, use_ssl, subprotocols, extra_headers), options)


def open_websocket_url(
    url: object,
    ssl_context: ssl.SSLContext | None = None,
    *,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderList | None = None,
    message_queue_size: float = MESSAGE_QUEUE_SIZE,
    max_message_size: float = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
    connect_timeout: float = CONN_TIMEOUT,
    disconnect_timeout: float = CONN_TIMEOUT,
    message_queue_bytes: float = DEFAULT_MESSAGE_QUEUE_BYTES,
    write_backlog: int = DEFAULT_WRITE_BACKLOG,
    max_fragments: float = DEFAULT_MAX_FRAGMENTS,
) -> AbstractAsyncContextManager[WebSocketConnection]:
    """Connect to a URL for the length of an `async with` block (RFC 6455 §3, §4.1).

    Args:
        url: Anything whose `str()` is a `ws:` or `wss:` URL. User info is sent as Basic authentication, a fragment is
            dropped, and what is not ASCII is encoded.
        ssl_context: For `wss:`, in place of Python's default context.

    Everything else is as for `open_websocket`.

    Raises:
        ValueError: At the call: an argument can't be right, such as a URL that is none, or `ws:` with an `ssl_context`.
    """
    options = ConnectionOptions(
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        message_queue_bytes=message_queue_bytes,
        write_backlog=write_backlog,
        max_fragments=max_fragments,
        connect_timeout=connect_timeout,
        disconnect_timeout=disconnect_timeout,
    )
    return _open(_request_from_url(url, ssl_context, subprotocols, extra_headers), options)


async def connect_websocket(
    nursery: trio.Nursery,
    host: str,
    port: int,
    resource: str,
    *,
    use_ssl: bool | ssl.SSLContext,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderList | None = None,
    message_queue_size: float = MESSAGE_QUEUE_SIZE,
    max_message_size: float = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
    message_queue_bytes: float = DEFAULT_MESSAGE_QUEUE_BYTES,
    write_backlog: int = DEFAULT_WRITE_BACKLOG,
    max_fragments: float = DEFAULT_MAX_FRAGMENTS,
) -> WebSocketConnection:
    """Connect to a server for as long as you like; `open_websocket` is simpler.

    Args:
        nursery: It stays open as long as the connection; if it is cancelled, the connection is closed with code 1001.

    Everything else is as for `open_websocket`, but for timeouts: put your own around the call.

    Returns:
        The connection, for you to close.

    Raises:
        ValueError: An argument can't be right.
        HandshakeError: It could not be opened.

    Cancelling is safe: nothing is left open.
    """
    options = ConnectionOptions(
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        message_queue_bytes=message_queue_bytes,
        write_backlog=write_backlog,
        max_fragments=max_fragments,
    )
    request = _request(host, port, resource, use_ssl, subprotocols, extra_headers)
    return await _guarded(nursery, await _connect(request, options))


async def connect_websocket_url(
    nursery: trio.Nursery,
    url: object,
    ssl_context: ssl.SSLContext | None = None,
    *,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderList | None = None,
    message_queue_size: float = MESSAGE_QUEUE_SIZE,
    max_message_size: float = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
    message_queue_bytes: float = DEFAULT_MESSAGE_QUEUE_BYTES,
    write_backlog: int = DEFAULT_WRITE_BACKLOG,
    max_fragments: float = DEFAULT_MAX_FRAGMENTS,
) -> WebSocketConnection:
    """Connect to a URL for as long as you like: `connect_websocket` with the URL of `open_websocket_url`."""
    options = ConnectionOptions(
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        message_queue_bytes=message_queue_bytes,
        write_backlog=write_backlog,
        max_fragments=max_fragments,
    )
    request = _request_from_url(url, ssl_context, subprotocols, extra_headers)
    return await _guarded(nursery, await _connect(request, options))


@trio.lowlevel.enable_ki_protection
async def wrap_client_stream(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    host: str,
    resource: str,
    *,
    subprotocols: Iterable[str] | None = None,
    extra_headers: HeaderList | None = None,
    message_queue_size: float = MESSAGE_QUEUE_SIZE,
    max_message_size: float = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
    message_queue_bytes: float = DEFAULT_MESSAGE_QUEUE_BYTES,
    write_backlog: int = DEFAULT_WRITE_BACKLOG,
    max_fragments: float = DEFAULT_MAX_FRAGMENTS,
) -> WebSocketConnection:
    """Open a connection over a stream of yours: any `trio.abc.Stream`.

    Args:
        nursery: It stays open as long as the connection; if it is cancelled, the connection is closed with code 1001.
        stream: It is the connection's from now on, also on an error.
        host: The Host header, as it stands.
        resource: The path, with its query.

    Everything else is as for `connect_websocket`.

    Raises:
        ValueError: An argument can't be right; the stream is still yours.
        HandshakeError: It could not be opened.

    If cancelled, the stream is closed.
    """
    options = ConnectionOptions(
        message_queue_size=message_queue_size,
        max_message_size=max_message_size,
        receive_buffer_size=receive_buffer_size,
        message_queue_bytes=message_queue_bytes,
        write_backlog=write_backlog,
        max_fragments=max_fragments,
    )
    handshake = ClientHandshake(
        host=host, resource=resource, subprotocols=subprotocols or (), extra_headers=extra_headers or ()
    )
    opening = ClientOpening(open_transport(stream, options.receive_size), handshake, options)
    return await _guarded(nursery, await opening.connect(resource))


@trio.lowlevel.enable_ki_protection
async def _connect(request: _Request, options: ConnectionOptions) -> WebSocketConnection:
    # From hand to hand without a checkpoint: whoever waits closes what it has, if cancelled.
    stream = await open_tcp(request.host, request.port)
    transport = open_transport(stream, options.receive_size)
    if request.ssl_context is not None:
        transport = await start_tls(transport, request.host, request.port, request.ssl_context)
    return await ClientOpening(transport, request.handshake, options).connect(request.resource)


async def _guarded(nursery: trio.Nursery, connection: WebSocketConnection) -> WebSocketConnection:
    try:
        nursery.start_soon(guard, connection)
    except BaseException:
        # A nursery that is closed. The connection would be nobody's.
        await trio.aclose_forcefully(connection)
        raise
    return connection


@asynccontextmanager
async def _open(request: _Request, options: ConnectionOptions) -> AsyncIterator[WebSocketConnection]:
    try:
        with trio.fail_after(options.connect_timeout):
            connection = await _connect(request, options)
    except trio.TooSlowError as error:
        raise ConnectionTimeout(
            f"no WebSocket connection to {request.host} port {request.port}"
            f" within connect_timeout={options.connect_timeout} seconds"
        ) from error
    try:
        yield connection
    except BaseException:
        # The block's own error is what counts, and soon: the peer may be what it is about.
        await close_soon(connection, 1000, None)
        raise
    await close_decently(connection, 1000, None)
    if connection._close_timed_out:
        raise DisconnectionTimeout(
            f"{connection.remote} did not answer our close within"
            f" disconnect_timeout={options.disconnect_timeout} seconds"
        )
