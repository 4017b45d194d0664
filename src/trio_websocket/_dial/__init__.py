"""How to get to a peer: a stream to it or a way through a proxy, and TLS over that; and which cookies it gets."""

from __future__ import annotations

from trio_websocket._dial._cookies import cookie_value, keep_cookies
from trio_websocket._dial._proxy import load_python_socks, open_tunnel
from trio_websocket._dial._stand_in import Connect, find_stand_in, stand_in
from trio_websocket._dial._tcp import connect_tcp, look_up, open_tcp
from trio_websocket._dial._tls import default_context, start_tls
from trio_websocket._dial._unix import open_unix

__all__ = [
    "Connect",
    "connect_tcp",
    "cookie_value",
    "default_context",
    "find_stand_in",
    "keep_cookies",
    "load_python_socks",
    "look_up",
    "open_tcp",
    "open_tunnel",
    "open_unix",
    "stand_in",
    "start_tls",
]
