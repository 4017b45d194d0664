"""An open connection: a session and a transport tied together, and the tasks that send, receive and wait on it."""

from __future__ import annotations

from trio_websocket._connection._heartbeats import begin_heartbeat
from trio_websocket._connection._link import LINGER, PULL_BUDGET, Link
from trio_websocket._connection._stream import WebSocketStream
from trio_websocket._connection._streaming import MessageParts
from trio_websocket._connection._websocket import (
    CANCEL_GRACE,
    WebSocketConnection,
    close_decently,
    close_soon,
    guard,
)

__all__ = [
    "CANCEL_GRACE",
    "LINGER",
    "PULL_BUDGET",
    "Link",
    "MessageParts",
    "WebSocketConnection",
    "WebSocketStream",
    "begin_heartbeat",
    "close_decently",
    "close_soon",
    "guard",
]
