"""Bytes in and out of one connection, behind one seam."""

from __future__ import annotations

import socket

import trio

from trio_websocket._transports._accept import accept_sockets, is_plain_listener
from trio_websocket._transports._base import Transport, TransportOwner
from trio_websocket._transports._poller import is_poller_supported
from trio_websocket._transports._socket import SocketTransport, is_plain_socket
from trio_websocket._transports._stream import StreamTransport
from trio_websocket._transports._tls import TlsTransport

__all__ = [
    "SocketTransport",
    "StreamTransport",
    "TlsTransport",
    "Transport",
    "TransportOwner",
    "accept_sockets",
    "is_plain_listener",
    "open_transport",
]


def open_transport(stream: trio.abc.Stream, receive_size: int | None) -> Transport:
    """Make the best transport for `stream`, which is the transport's from now on.

    Args:
        stream: Any stream; a plain socket is taken out of a `trio.SocketStream`.
        receive_size: Bytes to ask for at once; None for the library's choice.
    """
    # Exactly that type: what is derived from it may do something else with the bytes.
    if (
        type(stream) is trio.SocketStream
        and is_plain_socket(stream.socket)
        and stream.socket.fileno() != -1
        and is_poller_supported()
    ):
        sock = stream.socket
        raw = socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        # It does not block anyway; but with `socket.setdefaulttimeout`, Python would wait in its place.
        raw.setblocking(False)
        return SocketTransport(raw, receive_size=receive_size)
    return StreamTransport(stream, receive_size=receive_size)
