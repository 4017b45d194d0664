"""The short way from tasks to sockets, in plain Python: the specification that a compiled twin has to match.

Most messages are small, and can leave at once. One call takes such a message from a task to its socket, or what many tasks have
said in one turn to all of theirs. Whatever is not so is told to somebody who knows what to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, Protocol

from trio_websocket._kernel._py_frames import encode_message

__all__ = ["JOIN_SIZE", "Outlet", "OutletOwner", "Turns"]

# What waits up to this size goes out as one; beyond it, copying costs more than it saves.
JOIN_SIZE: Final = 65536


class Turns:
    """The turns of a program's work, and what its outlets keep until the end of one.

    To send at once wakes a peer that may have nothing else to do, and the next one for the next; to send together is cheaper, if
    many answer in one turn.

    Attributes:
        count: How many there have been; whoever runs the program counts them.
        will_flush: Whether `flush` will be called at the end of this one; if it won't, as at first, outlets put off what they keep.
        is_corked: Whether outlets keep also what they are given first in a turn; to be set only while `will_flush` is.
        is_burst: Whether, when something was kept last, one outlet at least was given more than once in that turn.
    """

    __slots__ = ("_kept", "count", "is_burst", "is_corked", "will_flush")

    def __init__(self) -> None:
        self.count: int = 0
        self.will_flush: bool = False
        self.is_corked: bool = False
        self.is_burst: bool = False
        self._kept: list[Outlet] = []

    def keep(self, outlet: Outlet) -> None:
        """Have `outlet` flushed."""
        self._kept.append(outlet)

    def flush(self) -> None:
        """Send what was kept, in the order in which it came.

        It raises only what an outlet's owner does; what the others kept is sent the next time.
        """
        kept, self._kept = self._kept, []
        if kept:
            self.is_burst = any(outlet.is_used_often for outlet in kept)
        reached = 0
        try:
            for outlet in kept:
                reached += 1
                outlet.flush()
        finally:
            self._kept[:0] = kept[reached:]


class OutletOwner(Protocol):
    """What an outlet tells, synchronously, of what does not go out at once."""

    def put_off(self) -> None:
        """Send what waits when the program turns, and tell who waits for that."""

    def drain(self) -> None:
        """Send what waits, and tell who waits for that. Not from inside `send`."""

    def send_outgoing(self) -> None:
        """Send what waits, as it gets too much to be kept."""

    def keep_rest(self, data: bytes, sent: int) -> None:
        """Let what the socket did not take wait: all of `data` but its first bytes, `sent` in number."""

    def send_failed(self, error: OSError) -> None:
        """Take in that the socket does not send; the data is lost."""


class Outlet:
    """The short way of bytes and messages to a socket: one call for what goes out at once.

    Attributes:
        outgoing: What waits to be sent; while there is something, what follows joins it.
        backlog: Its size in bytes. Whoever changes `outgoing` sees to that.
        is_blocked: Whether the socket takes no more, so that the owner sends what waits when it does.
        max_size: As in `encode_message`; a negative one, as at first, takes no message.
        max_backlog: While more bytes than that wait, no message is taken, and somebody may wait until that is over; 0 at first.
        random_bytes: Gives as many unpredictable bytes as asked for, for masking keys; None for no masks.

    Args:
        fd: The descriptor of a socket that does not block.
        turns: In one turn, at most what comes first goes out at once: what follows can go out together.
        owner: Who is told of all else.
    """

    __slots__ = (
        *("_fd", "_owner", "_sent_at", "_turns"),
        *("backlog", "is_blocked", "max_backlog", "max_size", "outgoing", "random_bytes"),
    )

    def __init__(self, fd: int, turns: Turns, owner: OutletOwner) -> None:
        self._fd = fd
        self._turns = turns
        self._owner: OutletOwner | None = owner
        self._sent_at = -1
        self.outgoing: list[bytes | memoryview] = []
        self.backlog: int = 0
        self.is_blocked: bool = False
        self.max_size: int = -1
        self.max_backlog: float = 0
        self.random_bytes: Callable[[int], bytes] | None = None

    def close(self) -> None:
        """Take nothing any more, and forget the owner, who sends what waits."""
        self._owner = None

    def send(self, data: bytes) -> bool:
        """Send `data`, at least one byte.

        Returns:
            Whether it was taken over: not by a closed outlet.
        """
        owner, turns = self._owner, self._turns
        if owner is None:
            return False
        if not self.outgoing:
            if self._sent_at != turns.count and not turns.is_corked:
                self._sent_at = turns.count
                self._send_now(owner, data)
                return True
            if turns.will_flush:
                turns.keep(self)
            else:
                owner.put_off()
        self.outgoing.append(data)
        self.backlog += len(data)
        if self.backlog > JOIN_SIZE:
            owner.send_outgoing()
        return True

    def _send_now(self, owner: OutletOwner, data: bytes) -> None:
        try:
            sent = os.write(self._fd, data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            owner.send_failed(error)
            return
        if sent < len(data):
            owner.keep_rest(data, sent)

    def send_message(self, message: object) -> bool:
        """Send a message in one frame, if `encode_message` gives it.

        Returns:
            Whether it was taken over.

        Raises:
            UnicodeEncodeError: It is a str with a surrogate in it; nothing has happened.
        """
        if self.max_size < 0 or self._owner is None or self.backlog > self.max_backlog:
            return False
        mask = None if self.random_bytes is None else self.random_bytes(4)
        frame = encode_message(message, self.max_size, mask)
        return frame is not None and self.send(frame)

    @property
    def is_used_often(self) -> bool:
        """Whether it was given more than once in this turn, for `Turns`."""
        return len(self.outgoing) > 1 or self._sent_at == self._turns.count

    def flush(self) -> None:
        """Send what was kept, for `Turns`; the owner does it if anybody may wait for that, and if it is much."""
        owner = self._owner
        if owner is None or self.is_blocked or not self.outgoing:
            return
        if self.backlog > self.max_backlog or self.backlog > JOIN_SIZE:
            owner.drain()
            return
        data = b"".join(self.outgoing)
        self.outgoing.clear()
        self.backlog = 0
        self._send_now(owner, data)
