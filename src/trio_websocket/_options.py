"""What a caller may set for a connection, taken once and frozen."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from trio_websocket.protocol import DEFAULT_MAX_FRAGMENTS, DEFAULT_MAX_MESSAGE_SIZE

__all__ = [
    "CONN_TIMEOUT",
    "DEFAULT_MAX_FRAGMENTS",
    "DEFAULT_MESSAGE_QUEUE_BYTES",
    "DEFAULT_WRITE_BACKLOG",
    "MAX_MESSAGE_SIZE",
    "MESSAGE_QUEUE_SIZE",
    "RECEIVE_BYTES",
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
        connect_timeout: Seconds for opening.
        disconnect_timeout: Seconds for closing.

    Raises:
        ValueError: A limit is negative, or not a number.
    """

    message_queue_size: float = MESSAGE_QUEUE_SIZE
    max_message_size: float = MAX_MESSAGE_SIZE
    receive_buffer_size: int | None = RECEIVE_BYTES
    message_queue_bytes: float = DEFAULT_MESSAGE_QUEUE_BYTES
    write_backlog: int = DEFAULT_WRITE_BACKLOG
    max_fragments: float = DEFAULT_MAX_FRAGMENTS
    connect_timeout: float = CONN_TIMEOUT
    disconnect_timeout: float = CONN_TIMEOUT

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if value is None and name == "receive_buffer_size":
                continue
            if math.isnan(value) or value < 0:
                raise ValueError(f"{name}={value!r} is not a number of at least 0")
        if self.receive_buffer_size is not None and not isinstance(self.receive_buffer_size, int):
            raise TypeError(f"receive_buffer_size={self.receive_buffer_size!r} is not an int")

    @property
    def receive_size(self) -> int | None:
        """Bytes to ask a stream for at once, None if that is the library's to choose."""
        return None if self.receive_buffer_size == RECEIVE_BYTES else self.receive_buffer_size
