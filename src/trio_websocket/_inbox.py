"""Received messages that wait for their receiver, or receivers that wait for a message; never both."""

from __future__ import annotations

import sys
import types
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import outcome
import trio

__all__ = ["Inbox"]

# Most inboxes never hold a message, as somebody waits for it; and a deque takes half a kilobyte.
_NO_MESSAGES: deque[str | bytes] = deque(maxlen=0)

# Trio asks no more of an outcome than to be unwrapped; its signature says more.
_reschedule: Callable[[trio.lowlevel.Task, Any], None] = trio.lowlevel.reschedule


class _Delivery:
    """As much of an `outcome.Value` as Trio needs, at a fraction of its cost."""

    __slots__ = ("_message",)

    def __init__(self, message: str | bytes) -> None:
        self._message = message

    def unwrap(self) -> str | bytes:
        return self._message


def _make_trap(abort: Callable[[Any], trio.lowlevel.Abort]) -> object:
    """Make what a waiting coroutine yields to Trio's scheduler: `wait_task_rescheduled` tells, and is not used further."""
    waiting = trio.lowlevel.wait_task_rescheduled(abort)  # noqa: ASYNC105 -- only its first step is wanted
    trap: object = waiting.send(None)
    waiting.close()
    return trap


class Inbox:
    """A queue of messages, bounded in their number and in the memory that they take.

    The bounds hold by agreement: whoever puts messages in looks at `is_full`, or asks `has_room`, first.

    Attributes:
        messages: Those that wait, in their order; only to be looked at.
        receivers: The tasks that wait, in the order in which they came.
        is_full: Whether there is no room for another message.
        is_claimed: Whether the next message will be kept for who called `claim`.

    Args:
        max_messages: As long as no more than that wait, another may come: one is held beside the queue.
        max_bytes: As long as less memory than that is taken, another may come.
    """

    __slots__ = (
        "_bytes",
        "_claimed",
        "_max_bytes",
        "_max_messages",
        "_trap",
        "_trapped",
        "is_claimed",
        "is_full",
        "messages",
        "receivers",
    )

    def __init__(self, max_messages: float, max_bytes: float) -> None:
        self._max_messages = max_messages
        self._max_bytes = max(1, max_bytes)
        self.messages: deque[str | bytes] = _NO_MESSAGES
        self._bytes = 0
        self.is_full: bool = False
        self.is_claimed: bool = False
        self._claimed: str | bytes | None = None
        # Invariant: empty while a message waits.
        self.receivers: list[trio.lowlevel.Task] = []
        self._trap: object = None
        self._trapped: trio.lowlevel.Task | None = None  # the receiver that waits with `_trap`

    def __len__(self) -> int:
        return len(self.messages)

    def has_room(self, *, read_ahead: bool) -> bool:
        """Whether another message may be put in; `read_ahead` lifts the bound on their number."""
        return self._bytes < self._max_bytes and (read_ahead or len(self.messages) <= self._max_messages)

    def put(self, message: str | bytes) -> None:
        """Hand `message` to the receiver that has waited longest, or keep it."""
        if self.is_claimed:
            self._claimed = message
            self.is_claimed = False
            return
        if self.receivers:
            # A task that is rescheduled can't be cancelled any more before it runs: the message can't be lost.
            _reschedule(self.receivers.pop(0), _Delivery(message))
            return
        if self.messages is _NO_MESSAGES:
            self.messages = deque()
        self.messages.append(message)
        self._bytes += sys.getsizeof(message)
        self.is_full = self._bytes >= self._max_bytes or len(self.messages) > self._max_messages

    def take(self) -> str | bytes:
        """Take the oldest message.

        Raises:
            IndexError: There is none.
        """
        message = self.messages.popleft()
        self._bytes -= sys.getsizeof(message)
        self.is_full = self._bytes >= self._max_bytes or len(self.messages) > self._max_messages
        return message

    @types.coroutine
    def wait(self, *, is_first: bool = False) -> Generator[Any, Any, str | bytes]:
        """Wait for a message, first come, first served. Cancelling is safe: no message is lost.

        Args:
            is_first: Go before those that wait already: a claim was given up.
        """
        task = trio.lowlevel.current_task()
        if self.receivers:
            trap = _make_trap(partial(self._withdraw, task))
            self.receivers.insert(0 if is_first else len(self.receivers), task)
        else:
            # Whoever waits alone, as nearly all do, need not make anew what Trio is told.
            trap = self._trap = self._trap or _make_trap(self._withdraw_trapped)
            self._trapped = task
            self.receivers.append(task)
        message: str | bytes = (yield trap).unwrap()
        return message

    def _withdraw(self, task: trio.lowlevel.Task, _: Callable[[], object]) -> trio.lowlevel.Abort:
        self.receivers.remove(task)
        return trio.lowlevel.Abort.SUCCEEDED

    def _withdraw_trapped(self, raise_cancel: Callable[[], object]) -> trio.lowlevel.Abort:
        assert self._trapped is not None
        return self._withdraw(self._trapped, raise_cancel)

    def claim(self) -> None:
        """Have the next message kept for the caller, who came before all that will wait from now on."""
        self.is_claimed = True

    def take_claimed(self) -> str | bytes | None:
        """End the claim, and take what was kept, or None."""
        message, self._claimed = self._claimed, None
        self.is_claimed = False
        return message

    def unclaim(self) -> None:
        """End the claim; what was kept is the next receiver's."""
        message = self.take_claimed()
        if message is None:
            return
        if self.receivers:
            self.put(message)
        else:
            self.messages = deque([message, *self.messages])
            self._bytes += sys.getsizeof(message)
            self.is_full = not self.has_room(read_ahead=False)

    def clear(self) -> None:
        """Drop what waits."""
        self.messages = _NO_MESSAGES
        self._bytes = 0
        self.is_full = False

    def fail_receivers(self, make_error: Callable[[], Exception]) -> None:
        """Let every waiting receiver raise an error of its own."""
        while self.receivers:
            _reschedule(self.receivers.pop(0), outcome.Error(make_error()))
        # Nobody waits any more, and the trap knows us: together they would be the garbage collector's.
        self._trap = self._trapped = None
