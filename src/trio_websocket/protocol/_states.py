"""Which end of a connection a session is, and how far it has got."""

from __future__ import annotations

import enum

__all__ = ["Role", "SessionState"]


class Role(enum.Enum):
    """Which end of the connection a session is: clients mask what they send, servers don't (RFC 6455 §5.1)."""

    CLIENT = "client"
    SERVER = "server"


class SessionState(enum.Enum):
    """How far a session has got (RFC 6455 §4.1, §7.1)."""

    OPEN = "open"
    """Messages may pass both ways."""
    CLOSING = "closing"
    """Our close frame was sent, and the peer's is awaited."""
    CLOSED = "closed"
    """Nothing passes any more: both close frames did, or the peer broke a rule, or the connection ended."""
