"""The predecessor's import path for exceptions and constants, which programs use; nothing of ours lives here."""

from __future__ import annotations

from trio_websocket._connection import WebSocketConnection
from trio_websocket._endpoint import Endpoint
from trio_websocket._exceptions import (
    CloseReason,
    ConnectionClosed,
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
)
from trio_websocket._options import CONN_TIMEOUT, MAX_MESSAGE_SIZE, MESSAGE_QUEUE_SIZE, RECEIVE_BYTES
from trio_websocket._request import WebSocketRequest
from trio_websocket._server import WebSocketServer

__all__ = [
    "CONN_TIMEOUT",
    "MAX_MESSAGE_SIZE",
    "MESSAGE_QUEUE_SIZE",
    "RECEIVE_BYTES",
    "CloseReason",
    "ConnectionClosed",
    "ConnectionRejected",
    "ConnectionTimeout",
    "DisconnectionTimeout",
    "Endpoint",
    "HandshakeError",
    "WebSocketConnection",
    "WebSocketRequest",
    "WebSocketServer",
]
