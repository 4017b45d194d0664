"""The kinds of frames (RFC 6455 §5.2, §11.8)."""

from __future__ import annotations

import enum

__all__ = ["Opcode"]


class Opcode(enum.IntEnum):
    """What a frame carries; those from 8 on are control frames (RFC 6455 §5.5)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA
