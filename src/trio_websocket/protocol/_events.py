"""What `next_event()` gives: facts about the peer, frozen."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final, Literal

from trio_websocket.protocol._deflate import PerMessageDeflate

__all__ = [
    "NEED_DATA",
    "BinaryReceived",
    "CloseReceived",
    "HandshakeCompleted",
    "Headers",
    "NeedData",
    "PartReceived",
    "PingReceived",
    "PongReceived",
    "RequestReceived",
    "ResponseRejected",
    "TextReceived",
]

Headers = tuple[tuple[bytes, bytes], ...]
"""Header fields in their order: lower-case names, values without white space around them."""


class NeedData(enum.Enum):
    """The type of `NEED_DATA`."""

    NEED_DATA = "NEED_DATA"

    def __repr__(self) -> str:
        return "NEED_DATA"


NEED_DATA: Final[Literal[NeedData.NEED_DATA]] = NeedData.NEED_DATA
"""There is no further event before more data is received."""


@dataclass(frozen=True, slots=True)
class TextReceived:
    """A whole text message (RFC 6455 §5.6)."""

    data: str


@dataclass(frozen=True, slots=True)
class BinaryReceived:
    """A whole binary message (RFC 6455 §5.6)."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PartReceived:
    """What has come of a message that is given in parts: `str` of a text, `bytes` of a binary one (RFC 6455 §5.4).

    `is_final` tells that the message is whole with it. It is not empty, unless it is the final one.
    """

    data: str | bytes
    is_final: bool


@dataclass(frozen=True, slots=True)
class PingReceived:
    """A ping (RFC 6455 §5.5.2); its pong is in `data_to_send()` already."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class PongReceived:
    """A pong, asked for or not (RFC 6455 §5.5.3)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class CloseReceived:
    """A close frame (RFC 6455 §5.5.1); if it is the first, the answer is in `data_to_send()` already.

    `code` is 1005 when the frame had none.
    """

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A right opening handshake of a client (RFC 6455 §4.2.1), which waits for `accept` or `reject`.

    `path` is the request target with its query; `subprotocols` are in the client's order of preference.
    """

    path: str
    headers: Headers
    subprotocols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """The opening handshake is done (RFC 6455 §4.1, §4.2.2): `headers` are those of the response.

    `compression` is what was agreed on (RFC 7692), for the session to know, or None.
    """

    subprotocol: str | None
    headers: Headers
    compression: PerMessageDeflate | None = None


@dataclass(frozen=True, slots=True)
class ResponseRejected:
    """The server answered with another status than 101; `body` is cut at the limit, None if there was none."""

    status_code: int
    headers: Headers
    body: bytes | None
