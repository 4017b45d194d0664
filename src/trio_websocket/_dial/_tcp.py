"""A TCP connection, with TLS over it if asked for."""

from __future__ import annotations

import ssl
import sys

import trio

from trio_websocket._exceptions import ConnectionFailed, HandshakeError

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = ["open_tcp"]


async def open_tcp(host: str, port: int, ssl_context: ssl.SSLContext | None) -> trio.abc.Stream:
    """Connect to `host`, racing its addresses (RFC 8305), and shake hands with TLS if there is a context for it.

    Raises:
        ConnectionFailed: There was no connecting.
        HandshakeError: TLS failed.

    If cancelled, nothing is left open.
    """
    try:
        stream = await _race(host, port)
    except OSError as error:
        raise ConnectionFailed(f"cannot connect to {host} port {port}: {_explain(error)}") from error
    except UnicodeError as error:
        raise ConnectionFailed(f"cannot look up {host!a}: {error}") from error
    if ssl_context is None:
        return stream
    try:
        # Most peers end TLS without a close_notify; WebSocket's close frame says what it would have said.
        tls = trio.SSLStream(stream, ssl_context, server_hostname=host.rstrip("."), https_compatible=True)
        await tls.do_handshake()
    except (trio.BrokenResourceError, ssl.SSLError, ValueError) as error:
        # The latter two: a context that is no client's, a name that TLS can't send.
        await trio.aclose_forcefully(stream)
        raise HandshakeError(f"TLS handshake with {host} port {port} failed: {_explain(error)}") from error
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return tls


async def _race(host: str, port: int) -> trio.SocketStream:
    try:
        return await trio.open_tcp_stream(host, port)
    except BaseExceptionGroup as group:
        error: BaseException = group.split(trio.Cancelled)[1] or group
    # Trio races in a nursery. Our caller sees no group: the one error in it, or else the one cancellation.
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    raise error


def _explain(error: BaseException) -> str:
    """The reasons at the bottom of what Trio raises, each once."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(_explain(each) for each in cause.exceptions))
    return str(error) if cause is None else str(cause) or type(cause).__name__
