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
from trio_websocket._connection import MessageParts, WebSocketConnection, WebSocketStream
from trio_websocket._endpoint import Endpoint
from trio_websocket._exceptions import (
    CloseReason,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionInterrupted,
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
    PeerSilent,
    ProxyFailed,
    TLSFailed,
)
from trio_websocket._reconnect import (
    Outage,
    ReconnectingWebSocket,
    is_worth_retrying,
    open_reconnecting_websocket_url,
    run_websocket_url,
)
from trio_websocket._request import WebSocketRequest
from trio_websocket._server import (
    WebSocketServer,
    serve_websocket,
    serve_websocket_unix,
    wrap_server_stream,
)
from trio_websocket._version import __version__
from trio_websocket.protocol import Heartbeat, PerMessageDeflate
from trio_websocket.protocol._backoff import Backoff

__all__ = [
    "Backoff",
    "CloseReason",
    "ConnectionClosed",
    "ConnectionFailed",
    "ConnectionInterrupted",
    "ConnectionRejected",
    "ConnectionTimeout",
    "DisconnectionTimeout",
    "Endpoint",
    "HandshakeError",
    "Heartbeat",
    "MessageParts",
    "Outage",
    "PeerSilent",
    "PerMessageDeflate",
    "ProxyFailed",
    "ReconnectingWebSocket",
    "TLSFailed",
    "WebSocketConnection",
    "WebSocketRequest",
    "WebSocketServer",
    "WebSocketStream",
    "__version__",
    "connect_websocket",
    "connect_websocket_url",
    "is_worth_retrying",
    "open_reconnecting_websocket_url",
    "open_websocket",
    "open_websocket_url",
    "run_websocket_url",
    "serve_websocket",
    "serve_websocket_unix",
    "wrap_client_stream",
    "wrap_server_stream",
]
