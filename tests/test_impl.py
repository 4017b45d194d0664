"""The predecessor's import path, which programs use."""

from __future__ import annotations

import pytest

import trio_websocket
from trio_websocket import _impl


@pytest.mark.parametrize(
    "name",
    [
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
        "connect_websocket",
        "connect_websocket_url",
        "open_websocket",
        "open_websocket_url",
        "serve_websocket",
        "wrap_client_stream",
        "wrap_server_stream",
    ],
)
def test_names_are_the_public_ones(name: str) -> None:
    assert getattr(_impl, name) is getattr(trio_websocket, name)


def test_constants_have_their_values() -> None:
    assert _impl.CONN_TIMEOUT == 60
    assert _impl.MESSAGE_QUEUE_SIZE == 1
    assert _impl.MAX_MESSAGE_SIZE == 2**20
    assert _impl.RECEIVE_BYTES == 4096
