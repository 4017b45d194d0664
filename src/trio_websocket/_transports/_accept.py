"""Accepting connections on a plain socket: all that wait, in one go, without a task or a stream for each."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable
from typing import NoReturn

import trio

from trio_websocket._transports._hub import listening
from trio_websocket._transports._poller import is_pollable
from trio_websocket._transports._socket import SocketTransport

__all__ = ["accept_sockets", "is_plain_listener"]

logger = logging.getLogger("trio-websocket")

# Connections that one turn accepts.
_AT_ONCE = 64

# When the process or the machine can't have more open, waiting is what helps.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_REST = 0.1

# The listener itself is no more.
_OVER = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})


class _Listener(socket.socket):
    """A second object for the descriptor of `listener`, which must not be closed by it.

    A socket makes its family and its type anew whenever it is asked, and `accept` asks each time.
    """

    __slots__ = ("family", "type")

    def __init__(self, listener: trio.socket.SocketType) -> None:
        super().__init__(listener.family, listener.type, listener.proto, fileno=listener.fileno())
        self.family = listener.family  # type: ignore[misc]  # A property no more, but a slot.
        self.type = listener.type  # type: ignore[misc]


def is_plain_listener(listener: object) -> bool:
    """Whether `listener` is one of Trio's own, over a socket of the system, on a platform that has a poller."""
    return type(listener) is trio.SocketListener and is_pollable(listener.socket)


async def accept_sockets(
    listener: trio.SocketListener, serve: Callable[[SocketTransport], None], *, receive_size: int | None
) -> NoReturn:
    """Call `serve` with a transport for each connection that comes, until cancelled, or the listener is closed.

    Raises:
        trio.ClosedResourceError: Somebody has closed the listener.
        OSError: It is no more. What can't be accepted is no reason to stop: it is logged.
    """
    fd = listener.socket.fileno()
    _check_open(listener, fd)
    # Trio's own accepts one connection a turn.
    sock = _Listener(listener.socket)
    # It does not block anyway; but with `socket.setdefaulttimeout`, Python would wait in its place.
    sock.setblocking(False)
    is_ip = sock.family in {socket.AF_INET, socket.AF_INET6}
    try:
        with listening():
            while True:
                _check_open(listener, fd)
                await trio.lowlevel.wait_readable(fd)
                _check_open(listener, fd)
                try:
                    for _ in range(_AT_ONCE):
                        serve(_accept(sock, is_ip, receive_size))
                except BlockingIOError:
                    pass
                except OSError as error:
                    if error.errno in _OVER:
                        raise
                    if error.errno in _EXHAUSTED:
                        logger.exception("cannot accept connections: trying again in %s seconds", _REST)
                        await trio.sleep(_REST)
                    # Else the connection has gone before it was accepted.
    finally:
        sock.detach()


def _check_open(listener: trio.SocketListener, fd: int) -> None:
    # A descriptor that was closed may be somebody else's by now.
    if fd < 0 or listener.socket.fileno() != fd:
        raise trio.ClosedResourceError("the listener was closed")


def _accept(listener: socket.socket, is_ip: bool, receive_size: int | None) -> SocketTransport:
    sock, remote = listener.accept()
    sock.setblocking(False)
    names = None
    try:
        if is_ip:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            # macOS gives no address of a peer that has gone already.
            names = (sock.getsockname()[:2], remote[:2]) if remote else None
    except OSError:
        # This peer has.
        pass
    return SocketTransport(sock, receive_size=receive_size, names=names)
