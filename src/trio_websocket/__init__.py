"""WebSocket for Trio: a client and a server of RFC 6455 for structured concurrency.

::

    async with open_websocket_url("wss://example.org/") as ws:
        await ws.send_message("hello")
        print(await ws.get_message())
"""

from __future__ import annotations

from trio_websocket._client import (
    connect_websocket,
    connect_websocket_url,
    open_websocket,
    open_websocket_url,
    wrap_client_stream,
)
from trio_websocket._connection import WebSocketConnection
from trio_websocket._endpoint import Endpoint
from trio_websocket._exceptions import (
    CloseReason,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
)
from trio_websocket._request import WebSocketRequest
from trio_websocket._server import WebSocketServer, serve_websocket, wrap_server_stream
from trio_websocket._version import __version__

__all__ = [
    "CloseReason",
    "ConnectionClosed",
    "ConnectionFailed",
    "ConnectionRejected",
    "ConnectionTimeout",
    "DisconnectionTimeout",
    "Endpoint",
    "HandshakeError",
    "WebSocketConnection",
    "WebSocketRequest",
    "WebSocketServer",
    "__version__",
    "connect_websocket",
    "connect_websocket_url",
    "open_websocket",
    "open_websocket_url",
    "serve_websocket",
    "wrap_client_stream",
    "wrap_server_stream",
]
