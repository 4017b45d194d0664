"""The WebSocket protocol without I/O: bytes in, events out; messages in, bytes out (RFC 6455).

It needs no Trio run. A handshake comes first, then a session takes what came behind it::

    handshake = ClientHandshake(host="example.org", resource="/")
    sock.sendall(handshake.data_to_send())
    while handshake.next_event() is NEED_DATA:
        handshake.receive_data(sock.recv(65536))
    session = Session(Role.CLIENT)
    session.receive_data(handshake.trailing_data)

Both are pulled: give bytes with `receive_data` and `receive_eof`, take events with `next_event` until it gives
`NEED_DATA`, and send what `data_to_send` gives after each call.
"""

from __future__ import annotations

from trio_websocket._exceptions import CloseReason, LocalProtocolError, ProtocolError, RemoteProtocolError
from trio_websocket.protocol._deflate import PerMessageDeflate
from trio_websocket.protocol._events import (
    NEED_DATA,
    BinaryReceived,
    CloseReceived,
    HandshakeCompleted,
    Headers,
    NeedData,
    PartReceived,
    PingReceived,
    PongReceived,
    RequestReceived,
    ResponseRejected,
    TextReceived,
)
from trio_websocket.protocol._heartbeat import Heartbeat
from trio_websocket.protocol._http1 import ClientHandshake, ServerHandshake
from trio_websocket.protocol._messages import DEFAULT_MAX_FRAGMENTS, DEFAULT_MAX_MESSAGE_SIZE
from trio_websocket.protocol._session import Event, Session
from trio_websocket.protocol._states import Role, SessionState
from trio_websocket.protocol._writer import Message

__all__ = [
    "DEFAULT_MAX_FRAGMENTS",
    "DEFAULT_MAX_MESSAGE_SIZE",
    "NEED_DATA",
    "BinaryReceived",
    "ClientHandshake",
    "CloseReason",
    "CloseReceived",
    "Event",
    "HandshakeCompleted",
    "Headers",
    "Heartbeat",
    "LocalProtocolError",
    "Message",
    "NeedData",
    "PartReceived",
    "PerMessageDeflate",
    "PingReceived",
    "PongReceived",
    "ProtocolError",
    "RemoteProtocolError",
    "RequestReceived",
    "ResponseRejected",
    "Role",
    "ServerHandshake",
    "Session",
    "SessionState",
    "TextReceived",
]
