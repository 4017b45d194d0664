"""Clients that come back: what is worth another try, and how to stay connected."""

from __future__ import annotations

from trio_websocket._reconnect._keeper import Outage
from trio_websocket._reconnect._reconnecting import ReconnectingWebSocket, open_reconnecting_websocket_url
from trio_websocket._reconnect._retry import is_worth_retrying
from trio_websocket._reconnect._run import run_websocket_url

__all__ = [
    "Outage",
    "ReconnectingWebSocket",
    "is_worth_retrying",
    "open_reconnecting_websocket_url",
    "run_websocket_url",
]
