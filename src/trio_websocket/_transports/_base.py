"""The seam: what a connection may ask of its transport, and what a transport tells its owner.

The write side is synchronous. That one decision makes a send atomic: it waits for room first, where cancelling does no
harm, and then hands a whole message over without a checkpoint in between.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Protocol

from trio_websocket._endpoint import Endpoint
from trio_websocket._kernel import Buffer, Intake, Outlet

__all__ = ["Transport", "TransportOwner", "without_frames"]


class TransportOwner(Protocol):
    """What a transport tells, synchronously, and never from inside one of its own methods (but for `SocketTransport.expect_data`)."""

    @property
    def intake(self) -> Intake | None:
        """What takes in what a socket has, in place of `data_received`, if anything does; the end is still to be told."""

    @property
    def is_filling(self) -> bool:
        """Whether `fill` may be called in place of `data_received`: the rest of a large message is awaited."""

    def fill(self, receive: Callable[[memoryview], int]) -> int:
        """Let `receive`, such as `socket.recv_into`, write what comes straight to where it belongs.

        Returns:
            What `receive` returned; 0 is the end, which is still to be told. What it raises passes through.
        """

    def data_received(self, data: Buffer) -> None:
        """Bytes came; the buffer is the transport's again when this returns."""

    def eof_received(self) -> None:
        """The peer will send no more. At most once."""

    def backlog_drained(self) -> None:
        """What was handed over has left; told at least if it was more than what `set_max_backlog` was given."""

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is closed and holds nothing any more; `error` is what ended it, if it was not asked to end.

        Exactly once, and nothing is told after it.
        """


def without_frames(error: Exception) -> Exception:
    """Take out of an error of the system's, which is to be kept, what leads to who keeps it: a cycle, otherwise.

    That is its traceback, and what the task was handling when it was raised, which is none of ours.
    """
    error.__traceback__ = error.__context__ = None
    return error


class Transport(abc.ABC):
    """Bytes in and out of one connection."""

    __slots__ = ()

    @property
    def outlet(self) -> Outlet | None:
        """What takes bytes and messages over at once, in place of `write`, when it can; None where there is no such way."""
        return None

    @property
    @abc.abstractmethod
    def local(self) -> Endpoint | str:
        """Our address, or a text that describes our end where it has none."""

    @property
    @abc.abstractmethod
    def remote(self) -> Endpoint | str:
        """The peer's."""

    @abc.abstractmethod
    def set_owner(self, owner: TransportOwner) -> None:
        """Tell `owner` from now on; the first call starts reading. Not after `connection_lost`."""

    @property
    @abc.abstractmethod
    def backlog(self) -> int:
        """Bytes that were handed over and have not left yet."""

    @abc.abstractmethod
    def write(self, data: bytes) -> None:
        """Take `data` over, all of it and in order. Never blocks, never fails; dropped once the transport is closed."""

    def writelines(self, parts: list[bytes]) -> None:
        """Take several parts over as one, without a copy where the transport can."""
        self.write(b"".join(parts))

    def set_max_backlog(self, limit: int) -> None:  # noqa: B027  Many tell more than they need to.
        """Take the owner's word that nobody will call `wait_backlog` with less, or need `backlog_drained` after less."""

    @abc.abstractmethod
    async def wait_backlog(self, limit: int) -> None:
        """Wait until at most `limit` bytes are left to send, or `wake_waiters`, or the transport is closed.

        It may return earlier: look again. Cancelling is safe. Any number of tasks may wait.
        """

    @abc.abstractmethod
    def wake_waiters(self) -> None:
        """Let everyone out of `wait_backlog`."""

    @abc.abstractmethod
    def pause_reading(self) -> None:
        """Tell no more data until `resume_reading`: the peer is slowed down by TCP's own flow control."""

    @abc.abstractmethod
    def resume_reading(self) -> None:
        """Go on reading."""

    @property
    @abc.abstractmethod
    def is_paused(self) -> bool:
        """Whether `pause_reading` holds."""

    @abc.abstractmethod
    def take_sign_of_life(self) -> bool:
        """Whether the peer has shown that it is there since the last call.

        It has sent a byte, or taken some of what had to wait until it takes more.
        """

    def can_read_in_person(self) -> bool:
        """Whether `read_in_person` may be called now: a transport may know that this is cheaper."""
        return False

    async def read_in_person(self) -> None:
        """Wait for the peer in the task that calls, and tell what came; or return when `wake_waiters` is called.

        It may return earlier: look again. By one task at a time. Cancelling is safe.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def close(self, *, timeout: float, linger: float, shutdown: bool) -> None:
        """Begin to close: send what is left, wait for the peer's end of file, and close.

        Args:
            timeout: Seconds for all of it.
            linger: Seconds of them for the peer's end of file, so that what we sent last is not lost to a reset.
            shutdown: Whether to end our own direction first where the transport can.
        """

    @abc.abstractmethod
    def abort(self) -> None:
        """Close now; what is left to send is dropped."""
