"""Bytes in and out of one connection, behind one seam."""

from __future__ import annotations

from trio_websocket._transports._base import Transport, TransportOwner
from trio_websocket._transports._stream import StreamTransport

__all__ = ["StreamTransport", "Transport", "TransportOwner"]
