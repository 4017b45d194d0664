"""The short way from sockets to tasks, in plain Python: the specification that a compiled twin has to match.

Most messages are small, come alone, and somebody waits for them. One call takes such messages from all sockets that have one to
their tasks. Whatever is not so is told to somebody who knows what to do.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from trio_websocket._kernel._py_frames import Buffer, FrameDecoder

__all__ = ["Inlet", "InletOwner", "Intake", "MessageQueue", "ReadableSocket", "read_ready"]


class MessageQueue:
    """Messages that wait, in their order, and the memory that they take.

    Attributes:
        size: Its bytes, as `object.__sizeof__` has them; whoever holds more for the same receiver adds that.

    Args:
        max_messages: As long as no more than that wait, another may come.
        max_size: As long as less memory than that is taken, another may come.
    """

    __slots__ = ("_max_messages", "_max_size", "_messages", "size")

    def __init__(self, max_messages: float, max_size: float) -> None:
        self._max_messages = max_messages
        self._max_size = max_size
        # Most never hold a message, as somebody waits for it; and a deque takes half a kilobyte.
        self._messages: deque[str | bytes] | None = None
        self.size: int = 0

    def __len__(self) -> int:
        return 0 if self._messages is None else len(self._messages)

    @property
    def is_heavy(self) -> bool:
        """Whether too much memory is taken for another to come."""
        return self.size >= self._max_size

    @property
    def is_full(self) -> bool:
        """Whether they are too many for another to come, or `is_heavy`."""
        return self.is_heavy or len(self) > self._max_messages

    def put(self, message: str | bytes) -> None:
        """Keep `message` behind the others, whether or not there is room."""
        if self._messages is None:
            self._messages = deque()
        self._messages.append(message)
        self.size += message.__sizeof__()

    def put_back(self, message: str | bytes) -> None:
        """Keep `message` before the others."""
        self.put(message)
        assert self._messages is not None
        self._messages.rotate()

    def take(self) -> str | bytes:
        """Take the oldest.

        Raises:
            IndexError: There is none.
        """
        if not self._messages:
            raise IndexError("no message waits")
        message = self._messages.popleft()
        self.size -= message.__sizeof__()
        return message

    def clear(self) -> None:
        """Drop them all."""
        while self:
            self.take()
        self._messages = None


class Intake:
    """The short way of messages from a socket to the tasks that wait for them: one call for each that has come alone.

    Args:
        decoder: What takes in all else; its `read_message` is asked first.
        is_masked: As in `FrameDecoder.read_message`; so is `max_size`.
        messages: Those for which nobody waited.
        receivers: The tasks that wait, the one that has waited longest first; None stands for who must not be woken.
        wake: Called with a task, taken off `receivers`, and its message.
        take: Called when that was not all: with a message that has come first and that nobody was woken for, or None.
    """

    __slots__ = ("_decoder", "_is_masked", "_max_size", "_messages", "_receivers", "_take", "_wake")

    def __init__(
        self,
        decoder: FrameDecoder,
        is_masked: bool,
        max_size: int,
        messages: MessageQueue,
        receivers: list[Any],
        wake: Callable[[Any, str | bytes], object],
        take: Callable[[str | bytes | None], object],
    ) -> None:
        self._decoder = decoder
        self._is_masked = is_masked
        self._max_size = max_size
        self._messages = messages
        self._receivers = receivers
        self._wake: Callable[[Any, str | bytes], object] | None = wake
        self._take: Callable[[str | bytes | None], object] | None = take

    def close(self) -> None:
        """Forget who is to be told: nothing comes any more."""
        self._wake = self._take = None

    def receive_data(self, data: Buffer) -> None:
        """Take `data` in, at least one byte. What is called may raise, and that passes through."""
        decoder, receivers = self._decoder, self._receivers
        assert self._wake is not None
        assert self._take is not None
        decoder.receive_data(data)
        message = decoder.read_message(self._is_masked, self._max_size)
        if message is not None and receivers and receivers[0] is not None:
            self._wake(receivers.pop(0), message)
            if not decoder.unread:
                return
            message = None
        self._take(message)

    def exchange(self) -> str | bytes | None:
        """Take the oldest message that waits, of which there is one, and put in the next one that came, full or not.

        Returns:
            It, or None if there is no such next one, and nothing has happened. `take` is called if that leaves room.
        """
        following = self._decoder.read_message(self._is_masked, self._max_size)
        if following is None:
            return None
        messages = self._messages
        message = messages.take()
        messages.put(following)
        if not messages.is_full:
            assert self._take is not None
            self._take(None)
        return message


class InletOwner(Protocol):
    """What an inlet tells, synchronously, of all but short reads."""

    def read(self) -> bool:
        """Read what has come: no intake is set. Returns what `Inlet.read` does."""

    def read_on(self, size: int) -> None:
        """Take in that `size` bytes were read, and that there may be more; 0 is the end."""

    def read_failed(self, error: Exception) -> None:
        """Take in why nothing was read, such as BlockingIOError, or what the intake raised about bytes that are gone."""


class Inlet:
    """The short way from a socket to an intake: one call for each read that is short.

    Attributes:
        owner: Who is told of all else; while it is None, as at first, nothing is read.
        intake: What takes the bytes in; None, as at first, while the owner has to read itself.
        short_size: A read of fewer bytes, but not of none, has emptied the socket, and nobody is told.
        is_alive: Set when bytes were taken in, and at the end.

    Args:
        fd: The descriptor of a socket that does not block.
        max_size: The most bytes that one read takes, at least one.
        short_size: As above.
    """

    __slots__ = ("_fd", "_max_size", "intake", "is_alive", "owner", "short_size")

    def __init__(self, fd: int, max_size: int, short_size: int) -> None:
        if max_size < 1:
            raise ValueError(f"a read takes at least one byte, not {max_size}")
        self._fd = fd
        self._max_size = max_size
        self.short_size: int = short_size
        self.owner: InletOwner | None = None
        self.intake: Intake | None = None
        self.is_alive: bool = False

    @property
    def max_size(self) -> int:
        """The most bytes that one read takes."""
        return self._max_size

    def read(self, buffer: memoryview) -> bool:
        """Read what has come, by way of `buffer`, which has no meaning afterwards. It raises only what the owner does.

        Returns:
            Whether there was anything; the end is.
        """
        owner, intake = self.owner, self.intake
        if owner is None:
            return False
        if intake is None:
            return owner.read()
        try:
            size = os.readv(self._fd, [buffer[: self._max_size]])
            if size:
                intake.receive_data(buffer[:size])
        except Exception as error:
            owner.read_failed(error)
            return False
        self.is_alive = True
        if not 0 < size < self.short_size:
            owner.read_on(size)
        return True


class ReadableSocket(Protocol):
    """What `read_ready` reads."""

    @property
    def inlet(self) -> Inlet:
        """What reads it."""


def read_ready(
    told: list[tuple[int, int]], sockets: Mapping[int, ReadableSocket], readable: int, buffer: memoryview
) -> list[tuple[int, int]]:
    """Read each socket of which a poller tells that it is readable, and no more.

    Args:
        told: Descriptors, and what the poller tells of each.
        sockets: By descriptor. What is not there has gone.
        readable: The poller's word for a socket that is only readable.
        buffer: Where to read to.

    Returns:
        What is told of the others.
    """
    others = []
    for fd, events in told:
        if events != readable:
            others.append((fd, events))
        elif (sock := sockets.get(fd)) is not None:
            sock.inlet.read(buffer)
    return others
