"""The short ways between sockets and tasks, in plain Python: the specification that a compiled twin has to match.

Most messages are small, come alone, and somebody waits for them; most are answered at once. One call takes such a message from
the socket to its task, and one from a task to the socket. Whatever is not so is told to somebody who knows what to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from trio_websocket._kernel._py_frames import Buffer, FrameDecoder, encode_message

__all__ = ["Clock", "Inlet", "InletOwner", "Intake", "Outlet", "OutletOwner", "ReadableSocket", "read_ready"]


class Intake:
    """The short way of messages from a socket to the tasks that wait for them: one call for each that has come alone.

    Args:
        decoder: What takes in all else; its `read_message` is asked first.
        is_masked: As in `FrameDecoder.read_message`; so is `max_size`.
        receivers: The tasks that wait, the one that has waited longest first; None stands for who must not be woken.
        wake: Called with a task, taken off `receivers`, and its message.
        take: Called when that was not all: with a message that has come first and that nobody was woken for, or None.
    """

    __slots__ = ("_decoder", "_is_masked", "_max_size", "_receivers", "_take", "_wake")

    def __init__(
        self,
        decoder: FrameDecoder,
        is_masked: bool,
        max_size: int,
        receivers: list[Any],
        wake: Callable[[Any, str | bytes], object],
        take: Callable[[str | bytes | None], object],
    ) -> None:
        self._decoder = decoder
        self._is_masked = is_masked
        self._max_size = max_size
        self._receivers = receivers
        self._wake = wake
        self._take = take

    def receive_data(self, data: Buffer) -> None:
        """Take `data` in, at least one byte. What is called may raise, and that passes through."""
        decoder, receivers = self._decoder, self._receivers
        decoder.receive_data(data)
        message = decoder.read_message(self._is_masked, self._max_size)
        if message is not None and receivers and receivers[0] is not None:
            self._wake(receivers.pop(0), message)
            if not decoder.unread:
                return
            message = None
        self._take(message)


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


class Clock(Protocol):
    """Tells one turn of a program's work from another."""

    @property
    def turns(self) -> int:
        """How many there have been."""


class OutletOwner(Protocol):
    """What an outlet tells, synchronously, of what does not go out at once."""

    @property
    def backlog(self) -> int:
        """Bytes that wait to be sent."""

    def collect(self, data: bytes) -> None:
        """Send `data` later, behind what waits, and perhaps together with it."""

    def keep_rest(self, data: bytes, sent: int) -> None:
        """Take over what the socket did not take: all of `data` but its first bytes, `sent` in number."""

    def send_failed(self, error: OSError) -> None:
        """Take in that the socket does not send; the data is lost."""


class Outlet:
    """The short way of bytes and messages to a socket: one call for what goes out at once.

    Attributes:
        max_size: As in `encode_message`; a negative one, as at first, takes no message.
        max_backlog: While more bytes than that wait, no message is taken; 0 at first.
        random_bytes: Gives as many unpredictable bytes as asked for, for masking keys; None for no masks.

    Args:
        fd: The descriptor of a socket that does not block.
        outgoing: What waits to be sent; while there is something, what follows is collected.
        clock: In one turn, only what comes first goes out at once: what follows can go out together.
        owner: Who is told of all else.
    """

    __slots__ = (
        *("_clock", "_fd", "_outgoing", "_owner", "_sent_at"),
        *("max_backlog", "max_size", "random_bytes"),
    )

    def __init__(self, fd: int, outgoing: list[Any], clock: Clock, owner: OutletOwner) -> None:
        self._fd = fd
        self._outgoing = outgoing
        self._clock = clock
        self._owner: OutletOwner | None = owner
        self._sent_at = -1
        self.max_size: int = -1
        self.max_backlog: float = 0
        self.random_bytes: Callable[[int], bytes] | None = None

    def close(self) -> None:
        """Take nothing any more, and forget the owner."""
        self._owner = None

    def send(self, data: bytes) -> bool:
        """Send `data`, at least one byte.

        Returns:
            Whether it was taken over: not by a closed outlet.
        """
        if self._owner is None:
            return False
        turns = self._clock.turns
        if self._outgoing or self._sent_at == turns:
            self._owner.collect(data)
            return True
        self._sent_at = turns
        try:
            sent = os.write(self._fd, data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._owner.send_failed(error)
            return True
        if sent < len(data):
            self._owner.keep_rest(data, sent)
        return True

    def send_message(self, message: object) -> bool:
        """Send a message in one frame, if `encode_message` gives it.

        Returns:
            Whether it was taken over.

        Raises:
            UnicodeEncodeError: It is a str with a surrogate in it; nothing has happened.
        """
        if self.max_size < 0 or self._owner is None:
            return False
        if self._outgoing and self._owner.backlog > self.max_backlog:
            return False
        mask = None if self.random_bytes is None else self.random_bytes(4)
        frame = encode_message(message, self.max_size, mask)
        return frame is not None and self.send(frame)
