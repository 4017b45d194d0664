"""One received message in parts, between who receives it from the peer and who takes it."""

from __future__ import annotations

import sys
from collections import deque

import trio

__all__ = ["PartQueue"]


class PartQueue:
    """What has come of one message and was not taken yet.

    Attributes:
        parts: Those that wait, in their order; only to be looked at.
        is_whole: Whether the message's last part was put in.
        is_left: Whether nobody takes it any more.
    """

    __slots__ = ("_is_empty", "_receiver", "is_left", "is_whole", "parts")

    def __init__(self) -> None:
        self._is_empty = True
        self.is_left: bool = False
        self._receiver: trio.Event | None = None
        self.parts: deque[str | bytes] = deque()
        self.is_whole: bool = False

    def put(self, part: str | bytes, *, is_final: bool) -> int:
        """Keep `part`; an empty one only if it is the whole message. Returns the bytes of memory that it takes."""
        self.is_whole = is_final
        self.wake()
        if self.is_left or not (part or self._is_empty):
            return 0
        self._is_empty = False
        self.parts.append(part)
        return sys.getsizeof(part)

    async def wait(self) -> None:
        """Wait until something was put in, or `wake`. Cancelling is safe.

        Raises:
            trio.BusyResourceError: Another task waits.
        """
        if self._receiver is not None:
            raise trio.BusyResourceError("another task waits for a part of this message")
        self._receiver = trio.Event()
        try:
            await self._receiver.wait()
        finally:
            self._receiver = None

    def wake(self) -> None:
        """Let who waits look again."""
        if self._receiver is not None:
            self._receiver.set()

    def leave(self) -> int:
        """Drop what waits, and whatever is still to come. Returns the bytes of memory that were taken."""
        self.is_left = True
        size = sum(map(sys.getsizeof, self.parts))
        self.parts.clear()
        self.wake()
        return size
