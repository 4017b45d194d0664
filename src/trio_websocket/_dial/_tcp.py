"""A TCP connection, and what is said when there is none."""

from __future__ import annotations

import sys

import trio

from trio_websocket._exceptions import ConnectionFailed

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = ["open_tcp"]


async def open_tcp(host: str, port: int) -> trio.abc.Stream:
    """Connect to `host`, racing its addresses (RFC 8305).

    Raises:
        ConnectionFailed: There was no connecting.

    If cancelled, nothing is left open.
    """
    try:
        return await _race(host, port)
    except OSError as error:
        raise ConnectionFailed(f"cannot connect to {host} port {port}: {_explain(error)}") from error
    except UnicodeError as error:
        raise ConnectionFailed(f"cannot look up {host!a}: {error}") from error


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
