"""Serving connections to clients."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, TypeVar

import trio

from trio_websocket._connection import CANCEL_GRACE
from trio_websocket._endpoint import Endpoint, endpoint_of_listener, endpoints_of_stream
from trio_websocket._exceptions import HandshakeError
from trio_websocket._handler import Handler, run_handler
from trio_websocket._opening import ServerOpening
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
)
from trio_websocket._request import WebSocketRequest, finish_request
from trio_websocket._transports import (
    SocketTransport,
    TlsTransport,
    Transport,
    UnixPath,
    accept_sockets,
    explain_tls,
    is_plain_listener,
    listening_on_unix,
    open_transport,
)
from trio_websocket.protocol import Heartbeat, ServerHandshake

__all__ = ["WebSocketServer", "serve_websocket", "serve_websocket_unix", "wrap_server_stream"]

logger = logging.getLogger("trio-websocket")

_SERVE = f"{__name__}.WebSocketServer._serve"

_Stream = TypeVar("_Stream", bound=trio.abc.Stream)


@trio.lowlevel.enable_ki_protection
async def wrap_server_stream(
    nursery: trio.Nursery,
    stream: trio.abc.Stream,
    message_queue_size: float = MESSAGE_QUEUE_SIZE,
    max_message_size: float = MAX_MESSAGE_SIZE,
    receive_buffer_size: int | None = RECEIVE_BYTES,
    *,
    message_queue_bytes: float = DEFAULT_MESSAGE_QUEUE_BYTES,
    write_backlog: int = DEFAULT_WRITE_BACKLOG,
    max_fragments: float = DEFAULT_MAX_FRAGMENTS,
    max_streamed_size: float | None = None,
    compression: Compression = None,
    heartbeat: Heartbeat | None = None,
) -> WebSocketRequest:
    """Wait for a client's request on a stream of yours: any `trio.abc.Stream` (RFC 6455 §4.2.1).

    Args:
        nursery: It stays open as long as the stream; if it is cancelled, the connection is closed with code 1001.
        stream: It is the connection's from now on, also on an error.

    Everything else is as for `serve_websocket`, but for timeouts: put your own around the call.

    Raises:
        ValueError: An argument can't be right; the stream is still yours.
        HandshakeError: It was no right request, which was answered with the fitting status, or none came.

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
    transport = open_transport(stream, options.receive_size)
    opening = ServerOpening(transport, ServerHandshake(compression=compression), options)
    request = WebSocketRequest(opening, await opening.receive_request(), nursery)
    try:
        nursery.start_soon(_guard_request, request, opening)
    except BaseException:
        # A nursery that is closed. The request would be nobody's.
        await opening.abort()
        raise
    return request


async def _guard_request(request: WebSocketRequest, opening: ServerOpening) -> None:
    try:
        await opening.wait_over()
    except trio.Cancelled:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CANCEL_GRACE):
            await finish_request(request, 1001, "cancelled", 503)
        raise


class WebSocketServer:
    """A server over listeners of yours; `serve_websocket` makes one for a host and a port.

    Args:
        handler: Called with a `WebSocketRequest` for each right request, in a task of its own.
        listeners: Any `trio.abc.Listener` of streams, such as `trio.SocketListener` or `trio.SSLListener`.
        ssl_context: For TLS on all of them, cheaper than by `trio.SSLListener`; None for none.
        handler_nursery: Where the handlers run; None for a nursery of the server's own.

    Everything else is as for `serve_websocket`.

    Raises:
        ValueError: There is no listener, a limit is negative, or `ssl_context` is a client's.
    """

    def __init__(
        self,
        handler: Handler,
        listeners: Sequence[trio.abc.Listener[_Stream]],
        *,
        ssl_context: ssl.SSLContext | None = None,
        handler_nursery: trio.Nursery | None = None,
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
    ) -> None:
        if not listeners:
            raise ValueError("a server needs at least one listener")
        if ssl_context is not None and ssl_context.protocol == ssl.PROTOCOL_TLS_CLIENT:
            raise ValueError("the ssl_context is a client's: a server's is made for Purpose.CLIENT_AUTH")
        self._handler = handler
        self._listeners = list(listeners)
        self._handler_nursery = handler_nursery
        self._options = ConnectionOptions(
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
        self._ssl_context = ssl_context

    @property
    def port(self) -> int:
        """The TCP port that the server listens on.

        Raises:
            RuntimeError: It has several listeners, or one without a port.
        """
        if len(self._listeners) > 1:
            raise RuntimeError("the server has several listeners: see .listeners for their ports")
        endpoint = self.listeners[0]
        if isinstance(endpoint, Endpoint):
            return endpoint.port
        raise RuntimeError(f"the listener has no port: {endpoint}")

    @property
    def listeners(self) -> list[Endpoint | str]:
        """Where the server listens: an `Endpoint` for each listener, or a text where it has no IP address."""
        is_ssl = self._ssl_context is not None
        return [endpoint_of_listener(listener, is_ssl=is_ssl) for listener in self._listeners]

    async def run(
        self, *, task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED
    ) -> NoReturn:
        """Serve until cancelled; `await nursery.start(server.run)` gives the server once it listens.

        When cancelled, every client is sent 1001, within two seconds, and the listeners are closed.
        """
        logger.info("serving on %s", ", ".join(map(str, self.listeners)))
        async with trio.open_nursery() as nursery:
            handlers = self._handler_nursery or nursery
            for listener in self._listeners:
                nursery.start_soon(self._accept, listener, handlers)
            task_status.started(self)
        raise AssertionError("a listener ended without an error")

    async def _accept(self, listener: trio.abc.Listener[trio.abc.Stream], handlers: trio.Nursery) -> None:
        if not isinstance(listener, trio.SocketListener) or not is_plain_listener(listener):
            serve_stream: Callable[[trio.abc.Stream], Awaitable[None]] = self._serve
            await trio.serve_listeners(serve_stream, [listener], handler_nursery=handlers)

        def serve(transport: SocketTransport) -> None:
            try:
                opening, request = self._look_for_request(transport)
                # The name is as Trio would make it, anew for each.
                if request is None:
                    handlers.start_soon(self._serve, transport, opening, name=_SERVE)
                else:
                    handlers.start_soon(run_handler, self._handler, request, name=_SERVE)
            except BaseException:
                # Such as a nursery that is closed. The connection would be nobody's.
                transport.abort()
                raise

        async with listener:
            await accept_sockets(listener, serve, receive_size=self._options.receive_size)

    def _look_for_request(
        self, transport: SocketTransport
    ) -> tuple[ServerOpening | None, WebSocketRequest | None]:
        """Begin with a plain socket's handshake; as a rule, the request was on its way before the connection was accepted."""
        if self._ssl_context is not None:
            return None, None
        transport.expect_data()
        opening = self._make_opening(transport)
        request = opening.receive_request_nowait()
        return opening, None if request is None else WebSocketRequest(opening, request)

    async def _serve(self, source: trio.abc.Stream | Transport, opening: ServerOpening | None = None) -> None:
        """Serve one connection; `source` is where it comes from, a plain socket's transport or any stream."""
        try:
            request = await self._receive_request(source, opening)
        except HandshakeError as error:
            logger.info("no WebSocket handshake with %s: %s", _remote(source), error)
        except Exception:
            # Whatever a stream that is not ours raises ends this connection and no more.
            logger.exception("no WebSocket handshake with %s", _remote(source))
            await _drop(source)
        else:
            if request is not None:
                await run_handler(self._handler, request)

    async def _receive_request(
        self, source: trio.abc.Stream | Transport, opening: ServerOpening | None
    ) -> WebSocketRequest | None:
        """Wait for the request, or give None if it does not come in time."""
        timeout = self._options.connect_timeout
        # As `trio.move_on_after`, which costs more.
        with trio.CancelScope(deadline=trio.current_time() + timeout):
            opening = opening or await self._open(source)
            return WebSocketRequest(opening, await opening.receive_request())
        logger.info("no WebSocket handshake with %s within %s seconds", _remote(source), timeout)
        return None

    async def _open(self, source: trio.abc.Stream | Transport) -> ServerOpening:
        if isinstance(source, Transport):
            transport = source
        else:
            if isinstance(source, trio.SSLStream):
                await _shake_hands(source)
            transport = open_transport(source, self._options.receive_size)
        if self._ssl_context is not None:
            transport = await _start_tls(transport, self._ssl_context)
        return self._make_opening(transport)

    def _make_opening(self, transport: Transport) -> ServerOpening:
        return ServerOpening(transport, ServerHandshake(compression=self._options.compression), self._options)


async def _shake_hands(stream: trio.SSLStream[trio.abc.Stream]) -> None:
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        # What Trio wraps is the error, here as below.
        cause = error.__cause__ or error
        raise HandshakeError(f"TLS handshake failed: {explain_tls(cause, 'client')}") from cause
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _start_tls(transport: Transport, context: ssl.SSLContext) -> Transport:
    tls = TlsTransport(transport, context, server_side=True)
    try:
        await tls.do_handshake()
    except OSError as error:
        raise HandshakeError(f"TLS handshake failed: {explain_tls(error, 'client')}") from error
    return tls


def _remote(source: trio.abc.Stream | Transport) -> Endpoint | str:
    return source.remote if isinstance(source, Transport) else endpoints_of_stream(source)[1]


async def _drop(source: trio.abc.Stream | Transport) -> None:
    if isinstance(source, Transport):
        source.abort()
    else:
        await trio.aclose_forcefully(source)


async def serve_websocket(
    handler: Handler,
    host: str | bytes | None,
    port: int,
    ssl_context: ssl.SSLContext | None,
    *,
    handler_nursery: trio.Nursery | None = None,
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
    task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Serve connections on a TCP port until cancelled; `await nursery.start(serve_websocket, ...)` gives the server.

    Each request is answered by `handler`, in a task of its own. When it returns, its connection is closed with 1000; if it
    raises, with 1011, and the error is logged; the server lives on in any case.

    Args:
        handler: An async function that takes a `WebSocketRequest`, and answers it with `accept` or `reject`.
        host: The interface to listen on; None for all of them.
        port: The TCP port; 0 for a free one, which `WebSocketServer.port` tells.
        ssl_context: For TLS; None for none.
        handler_nursery: Where the handlers run; None for a nursery of the server's own.
        message_queue_size: Received messages that may wait for `get_message`.
        max_message_size: Bytes that a received message may have; the peer gets 1009 for more. `math.inf`: no limit.
        receive_buffer_size: Bytes to ask a stream for at once; 4096 or None: the library's choice.
        connect_timeout: Seconds that a client has for TLS and for its request; `math.inf`: no limit.
        disconnect_timeout: Seconds for closing; `math.inf`: no limit.
        message_queue_bytes: Bytes of received messages that may wait for `get_message`.
        write_backlog: Bytes that may wait for the peer before `send_message` does.
        max_fragments: Frames that a received message may have; the peer gets 1009 for more.
        max_streamed_size: Bytes that a message may have which `receive_fragments` receives; None: `max_message_size`.
        compression: True or a `PerMessageDeflate` to agree to compression (RFC 7692); None or False for none.
        heartbeat: Pings that find out whether the peer is still there; None for none.

    Raises:
        ValueError: An argument can't be right.
        OSError: The port can't be had.

    When cancelled, every client is sent 1001, within two seconds, and the port is closed.
    """
    listeners = await trio.open_tcp_listeners(port, host=host)
    try:
        server = WebSocketServer(
            handler,
            listeners,
            ssl_context=ssl_context,
            handler_nursery=handler_nursery,
            message_queue_size=message_queue_size,
            max_message_size=max_message_size,
            receive_buffer_size=receive_buffer_size,
            connect_timeout=connect_timeout,
            disconnect_timeout=disconnect_timeout,
            message_queue_bytes=message_queue_bytes,
            write_backlog=write_backlog,
            max_fragments=max_fragments,
            max_streamed_size=max_streamed_size,
            compression=compression,
            heartbeat=heartbeat,
        )
    except BaseException:
        for listener in listeners:
            await trio.aclose_forcefully(listener)
        raise
    await server.run(task_status=task_status)


async def serve_websocket_unix(
    handler: Handler,
    path: UnixPath,
    *,
    mode: int = 0o600,
    handler_nursery: trio.Nursery | None = None,
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
    task_status: trio.TaskStatus[WebSocketServer] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Serve connections on a Unix socket until cancelled, as `serve_websocket` does on a TCP port.

    Args:
        handler: An async function that takes a `WebSocketRequest`, and answers it with `accept` or `reject`.
        path: Where the socket's file will be. A file that nobody listens on any more is replaced.
        mode: The file's permissions, whatever the umask: who may write to it may connect. The default: only your own user.

    Everything else is as for `serve_websocket`.

    Raises:
        ValueError: An argument can't be right.
        OSError: The path can't be had: `errno.EADDRINUSE` if a server listens there, `errno.EEXIST` if it is another file.
        RuntimeError: The platform has no Unix sockets.

    When cancelled, every client is sent 1001, within two seconds, and the file is removed if it is still the server's.
    """
    async with listening_on_unix(path, mode) as listener:
        server = WebSocketServer(
            handler,
            [listener],
            handler_nursery=handler_nursery,
            message_queue_size=message_queue_size,
            max_message_size=max_message_size,
            receive_buffer_size=receive_buffer_size,
            connect_timeout=connect_timeout,
            disconnect_timeout=disconnect_timeout,
            message_queue_bytes=message_queue_bytes,
            write_backlog=write_backlog,
            max_fragments=max_fragments,
            max_streamed_size=max_streamed_size,
            compression=compression,
            heartbeat=heartbeat,
        )
        await server.run(task_status=task_status)
