"""Opening a connection to a server."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import trio

from trio_websocket._connection import WebSocketConnection, close_decently, close_soon, guard
from trio_websocket._dialling import Dialling, Route, to_host, to_url
from trio_websocket._exceptions import DisconnectionTimeout
from trio_websocket._opening import ClientOpening
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
from trio_websocket.protocol import ClientHandshake, Heartbeat

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

__all__ = [
    "connect_websocket",
    "connect_websocket_url",
    "open_websocket",
    "open_websocket_url",
    "wrap_client_stream",
]


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
    max_streamed_size: float | None = None,
    compression: Compression = None,
    heartbeat: Heartbeat | None = None,
    proxy: bool | str | None = None,
    max_redirects: int = 0,
    cookies: CookieJar | None = None,
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
        max_streamed_size: Bytes that a message may have which `receive_fragments` receives; None: `max_message_size`.
        compression: True or a `PerMessageDeflate`, or several, to offer compression (RFC 7692); None or False for none.
        heartbeat: Pings that find out whether the peer is still there; None for none.
        proxy: The URL of a proxy: `http:`, `https:`, `socks4:`, `socks4a:`, `socks5:` or `socks5h:`, perhaps with user info.
            True for the one that the environment has; None or False for none.
        max_redirects: Redirects to follow, never from `wss:` to `ws:`; credentials do not go along to another origin.
        cookies: A jar whose cookies are sent, and which keeps those that the server sets.

    Returns:
        An async context manager that gives the connection. Leaving the block closes it with code 1000.

    Raises:
        ValueError: At the call: an argument can't be right.
        ModuleNotFoundError: At the call: there is a proxy, but not the extra `trio-websocket[proxy]`.
        ConnectionTimeout: On entering: not open within `connect_timeout`.
        ProxyFailed: On entering: the proxy gives no way to the server.
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
        max_streamed_size=max_streamed_size,
        compression=compression,
        heartbeat=heartbeat,
        connect_timeout=connect_timeout,
        disconnect_timeout=disconnect_timeout,
    )
    route = Route(proxy, max_redirects, cookies)
    return _open(to_host(host, port, resource, use_ssl, subprotocols, extra_headers, route, options))


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
    max_streamed_size: float | None = None,
    compression: Compression = None,
    heartbeat: Heartbeat | None = None,
    proxy: bool | str | None = None,
    max_redirects: int = 0,
    cookies: CookieJar | None = None,
) -> AbstractAsyncContextManager[WebSocketConnection]:
    """Connect to a URL for the length of an `async with` block (RFC 6455 §3, §4.1).

    Args:
        url: Anything whose `str()` is a `ws:` or `wss:` URL, or `ws+unix:///path.sock:/resource` for a Unix socket. User info
            is sent as Basic authentication, a fragment is dropped, and what is not ASCII is encoded.
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
        max_streamed_size=max_streamed_size,
        compression=compression,
        heartbeat=heartbeat,
        connect_timeout=connect_timeout,
        disconnect_timeout=disconnect_timeout,
    )
    route = Route(proxy, max_redirects, cookies)
    return _open(to_url(url, ssl_context, subprotocols, extra_headers, route, options))


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
    max_streamed_size: float | None = None,
    compression: Compression = None,
    heartbeat: Heartbeat | None = None,
    proxy: bool | str | None = None,
    max_redirects: int = 0,
    cookies: CookieJar | None = None,
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
        max_streamed_size=max_streamed_size,
        compression=compression,
        heartbeat=heartbeat,
    )
    route = Route(proxy, max_redirects, cookies)
    dialling = to_host(host, port, resource, use_ssl, subprotocols, extra_headers, route, options)
    return await _guarded(nursery, await dialling.connect())


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
    max_streamed_size: float | None = None,
    compression: Compression = None,
    heartbeat: Heartbeat | None = None,
    proxy: bool | str | None = None,
    max_redirects: int = 0,
    cookies: CookieJar | None = None,
) -> WebSocketConnection:
    """Connect to a URL for as long as you like: `connect_websocket` with the URL of `open_websocket_url`."""
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
    )
    route = Route(proxy, max_redirects, cookies)
    dialling = to_url(url, ssl_context, subprotocols, extra_headers, route, options)
    return await _guarded(nursery, await dialling.connect())


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
    max_streamed_size: float | None = None,
    compression: Compression = None,
    heartbeat: Heartbeat | None = None,
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
        max_streamed_size=max_streamed_size,
        compression=compression,
        heartbeat=heartbeat,
    )
    handshake = ClientHandshake(
        host=host,
        resource=resource,
        subprotocols=subprotocols or (),
        extra_headers=extra_headers or (),
        compression=compression,
    )
    opening = ClientOpening(open_transport(stream, options.receive_size), handshake, options)
    return await _guarded(nursery, await opening.connect(resource))


async def _guarded(nursery: trio.Nursery, connection: WebSocketConnection) -> WebSocketConnection:
    try:
        nursery.start_soon(guard, connection)
    except BaseException:
        # A nursery that is closed. The connection would be nobody's.
        await trio.aclose_forcefully(connection)
        raise
    return connection


@asynccontextmanager
async def _open(dialling: Dialling) -> AsyncIterator[WebSocketConnection]:
    options = dialling.options
    try:
        with trio.fail_after(options.connect_timeout):
            connection = await dialling.connect()
    except trio.TooSlowError as error:
        raise dialling.timed_out() from error
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
