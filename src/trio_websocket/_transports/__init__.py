"""Bytes in and out of one connection, behind one seam."""

from __future__ import annotations

import functools
import socket

import trio

from trio_websocket._endpoint import endpoints_of_stream
from trio_websocket._transports._base import Transport, TransportOwner
from trio_websocket._transports._poller import is_poller_supported
from trio_websocket._transports._socket import SocketTransport
from trio_websocket._transports._stream import StreamTransport

__all__ = ["SocketTransport", "StreamTransport", "Transport", "TransportOwner", "open_transport"]


def open_transport(stream: trio.abc.Stream, receive_size: int | None) -> Transport:
    """Make the best transport for `stream`, which is the transport's from now on.

    Args:
        stream: Any stream; a plain socket is taken out of a `trio.SocketStream`.
        receive_size: Bytes to ask for at once; None for the library's choice.
    """
    # Exactly that type: what is derived from it may do something else with the bytes.
    if (
        type(stream) is trio.SocketStream
        and type(stream.socket) is _trio_socket_type()
        and stream.socket.fileno() != -1
        and is_poller_supported()
    ):
        local, remote = endpoints_of_stream(stream)
        sock = stream.socket
        raw = socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        # It does not block anyway; but with `socket.setdefaulttimeout`, Python would wait in its place.
        raw.setblocking(False)
        return SocketTransport(raw, local, remote, receive_size=receive_size)
    return StreamTransport(stream, receive_size=receive_size)


@functools.cache
def _trio_socket_type() -> type:
    # With a custom socket factory, a SocketStream may hold what is no socket at all.
    with trio.socket.from_stdlib_socket(socket.socket()) as sock:
        return type(sock)
