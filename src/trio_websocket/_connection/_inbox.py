"""Received messages that wait for their receiver, or receivers that wait for a message; never both."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final

import trio

from trio_websocket._connection._parts import PartQueue
from trio_websocket._kernel import MessageQueue

__all__ = ["Inbox", "wake"]

# What a receiver waits for. It may be woken with an error, too.
_RECEIVED: Final = frozenset({str, bytes, PartQueue})

# What a task is woken with need not be an outcome: Trio hands it on, and only we look at it.
wake: Callable[[trio.lowlevel.Task, Any], None] = trio.lowlevel.reschedule


def _make_trap(abort: Callable[[Any], trio.lowlevel.Abort]) -> object:
    """Make what a waiting coroutine yields to Trio's scheduler: `wait_task_rescheduled` tells, and is not used further."""
    waiting = trio.lowlevel.wait_task_rescheduled(abort)  # noqa: ASYNC105 -- only its first step is wanted
    trap: object = waiting.send(None)
    waiting.close()
    return trap


class _Sleep:
    """How a task that alone waits in an inbox does so. To make one costs as much as to wait, so inboxes hand them on.

    Attributes:
        receivers: The inbox's, of whom a task that is cancelled is no longer one.
        task: Who waits.
        trap: What it yields to Trio's scheduler.
    """

    __slots__ = ("receivers", "task", "trap")

    def __init__(self) -> None:
        self.receivers: list[trio.lowlevel.Task | None] = []
        self.task: trio.lowlevel.Task | None = None
        self.trap: object = _make_trap(self._abort)

    def _abort(self, _: Callable[[], object]) -> trio.lowlevel.Abort:
        self.receivers.remove(self.task)
        return trio.lowlevel.Abort.SUCCEEDED

    def hand_on(self) -> None:
        """Let the inbox go, in which nobody waits any more."""
        self.receivers, self.task = [], None
        if len(_spare) < _SPARES:
            _spare.append(self)
        else:
            # The trap knows us: together, they would be the garbage collector's.
            self.trap = None


# Of inboxes that have ended, for those that begin, in whatever thread: they know nothing of a run of Trio.
_SPARES = 100
_spare: list[_Sleep] = []


class Inbox:
    """A queue of messages, bounded in their number and in the memory that they take.

    The bounds hold by agreement: whoever puts messages in looks at `is_full`, or asks `has_room`, first. What waits of a
    message that somebody takes in parts is counted, too. While such a message comes, no other can wait.

    Attributes:
        messages: Those that wait, in their order.
        receivers: The tasks that wait, in the order in which they came; None for who has a claim.
        part_receivers: Those of them that take a message in parts.
        parts: The message that comes in parts now, or None.

    Args:
        max_messages: As long as no more than that wait, another may come: one is held beside the queue.
        max_bytes: As long as less memory than that is taken, another may come.
    """

    __slots__ = (
        "_claimed",
        "_sleep",
        "messages",
        "part_receivers",
        "parts",
        "receivers",
    )

    def __init__(self, max_messages: float, max_bytes: float) -> None:
        self.messages: MessageQueue = MessageQueue(max_messages, max(1, max_bytes))
        self._claimed: str | bytes | None = None
        # Invariant: empty while a message waits.
        self.receivers: list[trio.lowlevel.Task | None] = []
        self.part_receivers: tuple[trio.lowlevel.Task, ...] = ()
        self.parts: PartQueue | None = None
        self._sleep: _Sleep | None = None

    def put(self, message: str | bytes) -> None:
        """Hand `message` to the receiver that has waited longest, or keep it."""
        if self.receivers:
            receiver = self.receivers.pop(0)
            if receiver is None:
                self._claimed = message
            else:
                # A task that is rescheduled can't be cancelled any more before it runs: the message can't be lost.
                wake(receiver, message)
            return
        self.messages.put(message)

    def hold_whole(self, message: str | bytes) -> PartQueue:
        """Give a message that has come whole, and was taken, in parts: there is one."""
        parts = PartQueue()
        self.messages.size += parts.put(message, is_final=True)
        return parts

    def put_part(self, part: str | bytes, *, is_final: bool) -> None:
        """Keep a part of the message that comes in parts."""
        assert self.parts is not None
        self.messages.size += self.parts.put(part, is_final=is_final)
        if is_final:
            self.parts = None

    def take_part(self, parts: PartQueue) -> str | bytes:
        """Take the oldest part of a message.

        Raises:
            IndexError: There is none.
        """
        part = parts.parts.popleft()
        self.messages.size -= sys.getsizeof(part)
        return part

    def leave_parts(self, parts: PartQueue) -> None:
        """Drop what waits of a message, and whatever is still to come of it."""
        self.messages.size -= parts.leave()

    @types.coroutine
    def wait(self, is_first: bool = False) -> Generator[Any, Any, str | bytes]:
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
            sleep = self._sleep or self._take_sleep()
            sleep.task = task
            trap = sleep.trap
            self.receivers.append(task)
        delivered = yield trap
        if type(delivered) not in _RECEIVED:
            try:
                if isinstance(delivered, Exception):
                    raise delivered
                # We were cancelled, and this is Trio's.
                delivered.unwrap()
            finally:
                # The error knows this frame, which must not know it in turn.
                del delivered
        return delivered  # type: ignore[no-any-return]

    async def wait_in_parts(self) -> str | bytes | PartQueue:
        """As `wait`, but take the message in parts if it has not come whole."""
        task = trio.lowlevel.current_task()
        self.part_receivers += (task,)
        try:
            return await self.wait()
        finally:
            self.part_receivers = tuple(each for each in self.part_receivers if each is not task)

    @property
    def is_next_in_parts(self) -> bool:
        """Whether the next message may be given in parts: it goes to a receiver that takes it so."""
        return bool(self.receivers) and self.parts is None and self.receivers[0] in self.part_receivers

    @property
    def is_anyone_waiting(self) -> bool:
        """Whether the next message has a receiver already."""
        return bool(self.receivers)

    def begin_parts(self) -> PartQueue:
        """Have the message that comes given in parts, to the receiver that waits longest, or to who calls."""
        parts = self.parts = PartQueue()
        if self.receivers:
            receiver = self.receivers.pop(0)
            assert receiver is not None
            wake(receiver, parts)
        return parts

    def _withdraw(self, task: trio.lowlevel.Task, _: Callable[[], object]) -> trio.lowlevel.Abort:
        self.receivers.remove(task)
        return trio.lowlevel.Abort.SUCCEEDED

    def _take_sleep(self) -> _Sleep:
        try:
            sleep = _spare.pop()
        except IndexError:
            sleep = _Sleep()
        self._sleep = sleep
        sleep.receivers = self.receivers
        return sleep

    @property
    def is_claimed(self) -> bool:
        """Whether the next message will be kept for who called `claim`."""
        return bool(self.receivers) and self.receivers[0] is None

    def claim(self) -> None:
        """Have the next message kept for the caller, who comes before everybody else."""
        self.receivers.insert(0, None)

    def take_claimed(self) -> str | bytes | None:
        """End the claim, and take what was kept, or None."""
        message, self._claimed = self._claimed, None
        if self.is_claimed:
            del self.receivers[0]
        return message

    def unclaim(self) -> None:
        """End the claim; what was kept is the next receiver's."""
        message = self.take_claimed()
        if message is None:
            return
        if self.receivers:
            self.put(message)
        else:
            self.messages.put_back(message)

    def fail_receivers(self, make_error: Callable[[], Exception]) -> None:
        """Let every waiting receiver raise an error of its own."""
        for receiver in self.receivers:
            # Who has a claim finds out itself.
            if receiver is not None:
                wake(receiver, make_error())
        self.receivers.clear()
        if self.parts is not None:
            self.parts.wake()
        if self._sleep is not None:
            self._sleep.hand_on()
            self._sleep = None
