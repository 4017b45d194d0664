"""Bytes in and out of one connection, behind one seam."""

from __future__ import annotations

import socket

import trio

from trio_websocket._transports._accept import accept_sockets, is_plain_listener
from trio_websocket._transports._base import Transport, TransportOwner
from trio_websocket._transports._pace import CALLS_A_TURN, Pace, pace_of_this_run
from trio_websocket._transports._poller import is_pollable
from trio_websocket._transports._socket import SocketTransport
from trio_websocket._transports._stream import StreamTransport
from trio_websocket._transports._tls import TlsTransport
from trio_websocket._transports._tls_errors import explain_tls
from trio_websocket._transports._unix import UnixPath, check_unix_path, listening_on_unix

__all__ = [
    "CALLS_A_TURN",
    "Pace",
    "SocketTransport",
    "StreamTransport",
    "TlsTransport",
    "Transport",
    "TransportOwner",
    "UnixPath",
    "accept_sockets",
    "check_unix_path",
    "explain_tls",
    "is_plain_listener",
    "listening_on_unix",
    "open_transport",
    "pace_of_this_run",
]


def open_transport(stream: trio.abc.Stream, receive_size: int | None) -> Transport:
    """Make the best transport for `stream`, which is the transport's from now on.

    Args:
        stream: Any stream; a plain socket is taken out of a `trio.SocketStream`.
        receive_size: Bytes to ask for at once; None for the library's choice.
    """
    # Exactly that type: what is derived from it may do something else with the bytes.
    if type(stream) is trio.SocketStream and is_pollable(stream.socket) and stream.socket.fileno() != -1:
        sock = stream.socket
        raw = socket.socket(sock.family, sock.type, sock.proto, fileno=sock.detach())
        # It does not block anyway; but with `socket.setdefaulttimeout`, Python would wait in its place.
        raw.setblocking(False)
        return SocketTransport(raw, receive_size=receive_size)
    return StreamTransport(stream, receive_size=receive_size)
