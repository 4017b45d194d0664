"""Received messages that wait for their receiver, or receivers that wait for a message; never both."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable

import outcome
import trio

__all__ = ["Inbox"]


class Inbox:
    """A queue of messages, bounded in their number and in the memory that they take.

    The bounds hold by agreement: whoever puts messages in asks `has_room` first.

    Args:
        max_messages: As long as no more than that wait, another may come: one is held beside the queue.
        max_bytes: As long as less memory than that is taken, another may come.
    """

    __slots__ = ("_bytes", "_max_bytes", "_max_messages", "_messages", "_receivers")

    def __init__(self, max_messages: float, max_bytes: float) -> None:
        self._max_messages = max_messages
        self._max_bytes = max(1, max_bytes)
        self._messages: deque[str | bytes] = deque()
        self._bytes = 0
        # Invariant: empty while a message waits.
        self._receivers: deque[trio.lowlevel.Task] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    def has_room(self, *, read_ahead: bool) -> bool:
        """Whether another message may be put in; `read_ahead` lifts the bound on their number."""
        return self._bytes < self._max_bytes and (read_ahead or len(self._messages) <= self._max_messages)

    def put(self, message: str | bytes) -> None:
        """Hand `message` to the receiver that has waited longest, or keep it."""
        if self._receivers:
            # A task that is rescheduled can't be cancelled any more before it runs: the message can't be lost.
            trio.lowlevel.reschedule(self._receivers.popleft(), outcome.Value(message))
        else:
            self._messages.append(message)
            self._bytes += sys.getsizeof(message)

    def take(self) -> str | bytes:
        """Take the oldest message.

        Raises:
            IndexError: There is none.
        """
        message = self._messages.popleft()
        self._bytes -= sys.getsizeof(message)
        return message

    async def wait(self) -> str | bytes:
        """Wait for a message, first come, first served. Cancelling is safe: no message is lost."""
        task = trio.lowlevel.current_task()
        self._receivers.append(task)

        def withdraw(_: Callable[[], object]) -> trio.lowlevel.Abort:
            self._receivers.remove(task)
            return trio.lowlevel.Abort.SUCCEEDED

        message: str | bytes = await trio.lowlevel.wait_task_rescheduled(withdraw)
        return message

    def clear(self) -> None:
        """Drop what waits."""
        self._messages.clear()
        self._bytes = 0

    def fail_receivers(self, make_error: Callable[[], Exception]) -> None:
        """Let every waiting receiver raise an error of its own."""
        while self._receivers:
            trio.lowlevel.reschedule(self._receivers.popleft(), outcome.Error(make_error()))
