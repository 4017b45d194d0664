"""How to get to a peer: a stream to it, and TLS over the stream's transport."""

from __future__ import annotations

from trio_websocket._dial._tcp import open_tcp
from trio_websocket._dial._tls import start_tls

__all__ = ["open_tcp", "start_tls"]
