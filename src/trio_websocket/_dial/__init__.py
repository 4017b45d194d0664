"""How to get a stream to a peer."""

from __future__ import annotations

from trio_websocket._dial._tcp import open_tcp

__all__ = ["open_tcp"]
