"""What a caller may set for a connection, taken once and frozen."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

from trio_websocket.protocol import (
    DEFAULT_MAX_FRAGMENTS,
    DEFAULT_MAX_MESSAGE_SIZE,
    Heartbeat,
)

if TYPE_CHECKING:
    from http.cookiejar import CookieJar
from trio_websocket.protocol._deflate import Compression, offers_of

__all__ = [
    "CONN_TIMEOUT",
    "DEFAULT_MAX_FRAGMENTS",
    "DEFAULT_MESSAGE_QUEUE_BYTES",
    "DEFAULT_WRITE_BACKLOG",
    "MAX_MESSAGE_SIZE",
    "MESSAGE_QUEUE_SIZE",
    "RECEIVE_BYTES",
    "ClientOptions",
    "Compression",
    "ConnectionOptions",
    "HeaderList",
]

CONN_TIMEOUT = 60
"""Seconds, by default, to open a connection, and again to close it."""

MESSAGE_QUEUE_SIZE = 1
"""Received messages, by default, that may wait for `get_message`."""

MAX_MESSAGE_SIZE = DEFAULT_MAX_MESSAGE_SIZE
"""Bytes, by default, that a received message may have."""

RECEIVE_BYTES = 4096
"""The default of `receive_buffer_size`, which lets the library choose, as None does."""

DEFAULT_MESSAGE_QUEUE_BYTES = 2**20
DEFAULT_WRITE_BACKLOG = 2**16

_OPTIONAL = frozenset({"receive_buffer_size", "max_streamed_size"})
_NO_NUMBERS = frozenset({"compression", "heartbeat"})

HeaderList = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class ConnectionOptions:
    """What holds for one connection.

    Args:
        message_queue_size: Received messages that may wait for `get_message`.
        max_message_size: Bytes that a received message may have; `math.inf` for no limit.
        receive_buffer_size: Bytes to ask a stream for at once; None or 4096 let the library choose.
        message_queue_bytes: Bytes of received messages that may wait for `get_message`.
        write_backlog: Bytes that may wait for the peer before a sender has to.
        max_fragments: Frames that a received message may have; `math.inf` for no limit.
        max_streamed_size: Bytes that a message may have which is received in parts; None: `max_message_size`.
        compression: What to offer or agree to; a tuple from then on, or None for nothing.
        heartbeat: When to ping; None for never.
        connect_timeout: Seconds for opening.
        disconnect_timeout: Seconds for closing.

    Raises:
        ValueError: A limit is negative, or not a number, or `receive_buffer_size` is 0.
    """

    message_queue_size: float = MESSAGE_QUEUE_SIZE
    max_message_size: float = MAX_MESSAGE_SIZE
    receive_buffer_size: int | None = RECEIVE_BYTES
    message_queue_bytes: float = DEFAULT_MESSAGE_QUEUE_BYTES
    write_backlog: int = DEFAULT_WRITE_BACKLOG
    max_fragments: float = DEFAULT_MAX_FRAGMENTS
    max_streamed_size: float | None = None
    compression: Compression = None
    heartbeat: Heartbeat | None = None
    connect_timeout: float = CONN_TIMEOUT
    disconnect_timeout: float = CONN_TIMEOUT

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if name in _NO_NUMBERS or (value is None and name in _OPTIONAL):
                continue
            if math.isnan(value) or value < 0:
                raise ValueError(f"{name}={value!r} is not a number of at least 0")
        object.__setattr__(self, "compression", offers_of(self.compression) or None)
        if not isinstance(self.heartbeat, Heartbeat | None):
            raise TypeError(f"heartbeat={self.heartbeat!r} is not a Heartbeat")
        if self.receive_buffer_size is not None and not isinstance(self.receive_buffer_size, int):
            raise TypeError(f"receive_buffer_size={self.receive_buffer_size!r} is not an int")
        if self.receive_buffer_size == 0:
            raise ValueError("receive_buffer_size=0 asks for nothing")

    @property
    def receive_size(self) -> int | None:
        """Bytes to ask a stream for at once, None if that is the library's to choose."""
        return None if self.receive_buffer_size == RECEIVE_BYTES else self.receive_buffer_size


class ClientOptions(TypedDict, total=False):
    """What `open_websocket_url` takes, for those who hand it on."""

    subprotocols: Iterable[str] | None
    extra_headers: HeaderList | None
    message_queue_size: float
    max_message_size: float
    receive_buffer_size: int | None
    connect_timeout: float
    disconnect_timeout: float
    message_queue_bytes: float
    write_backlog: int
    max_fragments: float
    max_streamed_size: float | None
    compression: Compression
    heartbeat: Heartbeat | None
    proxy: bool | str | None
    max_redirects: int
    cookies: CookieJar | None
