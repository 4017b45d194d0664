"""A stream over another that fails as networks do, when and where a test says so.

Theory of operation
    Each direction is a line that counts the bytes which have passed. A fault stands at a position of it: before an operation
    moves bytes, the faults that are due are carried out, and it moves no byte past the next one. So a fault strikes at the
    same byte in each run, however the bytes are cut by whoever sends or receives them.
"""

from __future__ import annotations

import errno
import itertools
import math
import os
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

__all__ = ["Cut", "Fault", "FaultyStream", "Reset", "Slow", "Split", "Stall"]

_RECEIVE_SIZE = 65536

# How often a slow line delivers: what it lets through at once is what takes so many seconds.
_SLOW_STEP = 0.1


def _check_position(after: int) -> None:
    if after < 0:
        raise ValueError(f"after={after} is not a number of at least 0")


@dataclass(frozen=True, slots=True)
class Cut:
    """The direction ends, without an error.

    Who receives gets the end of file. Who sends gets `trio.BrokenResourceError`, and the other end gets the end of file.

    Args:
        after: Bytes that pass before that, counted from when the fault is given.
    """

    after: int = 0

    def __post_init__(self) -> None:
        _check_position(self.after)


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection breaks, in both directions.

    All calls raise `trio.BrokenResourceError`, with a `ConnectionResetError` as the cause. The stream below is closed, which
    the other end sees as it sees that of any such stream: in memory, as the end of file.

    Args:
        after: Bytes that pass before that in this direction, counted from when the fault is given.
    """

    after: int = 0

    def __post_init__(self) -> None:
        _check_position(self.after)


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing passes any more, until `FaultyStream.clear`; nobody is told.

    Args:
        after: Bytes that pass before that, counted from when the fault is given.
    """

    after: int = 0

    def __post_init__(self) -> None:
        _check_position(self.after)


@dataclass(frozen=True, slots=True)
class Slow:
    """Bytes pass at a limited rate, until `FaultyStream.clear`.

    Args:
        rate: Bytes per second of Trio's clock, which may be a `trio.testing.MockClock`.
    """

    rate: float

    def __post_init__(self) -> None:
        if not self.rate > 0:
            raise ValueError(f"rate={self.rate} is not a number above 0")


@dataclass(frozen=True, slots=True)
class Split:
    """Bytes pass in pieces, until `FaultyStream.clear`: one call below moves no more than a piece.

    Who receives gets just these pieces, or parts of them. Of pieces that are sent, the other end may receive several at once.

    Args:
        size: Bytes of a piece; or the sizes of several, which follow each other over and over.
        seed: None for pieces of just these sizes. Else each is of a random size up to that, the same for the same seed.
    """

    size: int | tuple[int, ...] = 1
    seed: int | None = None

    def __post_init__(self) -> None:
        if not self._sizes() or min(self._sizes()) < 1:
            raise ValueError(f"size={self.size} is not one or more numbers of at least 1")

    def _sizes(self) -> tuple[int, ...]:
        return (self.size,) if isinstance(self.size, int) else tuple(self.size)

    def pieces(self) -> Iterator[int]:
        """The sizes of the pieces, without an end."""
        sizes = itertools.cycle(self._sizes())
        if self.seed is None:
            return sizes
        chance = random.Random(self.seed)
        return (chance.randint(1, size) for size in sizes)


Fault = Cut | Reset | Stall | Slow | Split
"""What `FaultyStream` can do to one direction."""


class _Line:
    """One direction: what has passed, and what stands in the way of the rest."""

    def __init__(self) -> None:
        self.passed = 0
        self.is_cut = False
        self.scope = trio.CancelScope()  # around what waits for the stream below
        self.changed = trio.lowlevel.ParkingLot()
        self._marks: list[tuple[int, Cut | Reset | Stall]] = []  # by position
        self._rate = math.inf
        self._free_at = -math.inf
        self._pieces: Iterator[int] | None = None
        self._piece_end = 0

    def add(self, faults: Iterable[Fault]) -> None:
        marks: list[tuple[int, Cut | Reset | Stall]] = []
        for fault in faults:
            if isinstance(fault, Slow):
                self._rate = fault.rate
            elif isinstance(fault, Split):
                self._pieces, self._piece_end = fault.pieces(), self.passed
            else:
                marks.append((self.passed + fault.after, fault))
        # What is new comes first of what stands at one position: a stalled line can be cut.
        self._marks = sorted([*marks, *self._marks], key=lambda mark: mark[0])
        self.wake()

    def clear(self) -> None:
        self._marks.clear()
        self._rate = math.inf
        self._pieces = None
        self.wake()

    def wake(self) -> None:
        self.scope.cancel()
        self.changed.unpark_all()

    def due(self) -> Cut | Reset | Stall | None:
        """The fault that stands here."""
        return self._marks[0][1] if self._marks and self._marks[0][0] <= self.passed else None

    def take_due(self) -> Cut | Reset | None:
        """Take the fault out that stands here, if it is one that strikes at once."""
        fault = self.due()
        if fault is None or isinstance(fault, Stall):
            return None
        del self._marks[0]
        return fault

    def room(self, wanted: int) -> int:
        """How many of `wanted` bytes may pass at once."""
        if self._marks:
            wanted = min(wanted, self._marks[0][0] - self.passed)
        if self._pieces is not None:
            while self._piece_end <= self.passed:
                self._piece_end += next(self._pieces)
            wanted = min(wanted, self._piece_end - self.passed)
        return wanted if self._rate == math.inf else min(wanted, max(1, int(self._rate * _SLOW_STEP)))

    def time_after(self, size: int) -> float:
        """When so many bytes more are through."""
        self._free_at = max(self._free_at, trio.current_time()) + size / self._rate
        return self._free_at


class FaultyStream(trio.abc.HalfCloseableStream):
    """A stream over another that does to its bytes what a bad network does.

    Faults are given when it is made, and with `inject`, also in the middle of a connection. Positions count from there, so
    `Cut()` is a cut here and now. At one position, what was given last strikes first.

    Args:
        stream: Any stream, for one end of a connection. It is closed with this one.
        send: What happens to the bytes that are sent: `Cut`, `Reset`, `Stall`, `Slow`, `Split`, in any number.
        receive: What happens to those that are received.

    As with other streams, one task may send while another receives. Cancelling `receive_some` loses nothing.
    """

    def __init__(
        self, stream: trio.abc.Stream, *, send: Iterable[Fault] = (), receive: Iterable[Fault] = ()
    ) -> None:
        self._stream = stream
        self._sending, self._receiving = _Line(), _Line()
        self._sending.add(send)
        self._receiving.add(receive)
        self._held = b""  # received, but not through a slow line yet
        self._held_until = -math.inf
        self._is_reset = False
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<FaultyStream over {self._stream!r}>"

    @property
    def bytes_sent(self) -> int:
        """How many bytes have passed from here to the other end."""
        return self._sending.passed

    @property
    def bytes_received(self) -> int:
        """How many bytes have passed from the other end to here."""
        return self._receiving.passed

    async def inject(self, *, send: Iterable[Fault] = (), receive: Iterable[Fault] = ()) -> None:
        """Add faults; those whose `after` is 0 have struck when this returns, also for calls that wait already.

        Args:
            send: As for the class.
            receive: As for the class.
        """
        self._sending.add(send)
        self._receiving.add(receive)
        await self._strike(self._receiving)
        await self._strike(self._sending)
        await trio.lowlevel.checkpoint()

    def clear(self) -> None:
        """Take out all faults that have not struck, and let go what is stalled or slowed. A cut or a reset remains."""
        self._sending.clear()
        self._receiving.clear()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`, as far as the faults let it."""
        line = self._sending
        view = memoryview(data)
        while True:
            await self._wait_for_way(line)
            if line.is_cut:
                await trio.lowlevel.checkpoint()
                raise _cut()
            piece = view[: line.room(len(view))]
            with self._telling_why():
                until = line.time_after(len(piece))
                if until > trio.current_time():
                    await trio.sleep_until(until)
                await self._stream.send_all(piece)
            line.passed += len(piece)
            view = view[len(piece) :]
            await self._strike(line)
            if not view:
                return

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the line is free, and then for the stream below."""
        await self._wait_for_way(self._sending)
        with self._telling_why():
            await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive what the faults let through; `b""` at the end or a cut."""
        line = self._receiving
        while True:
            await self._wait_for_way(line)
            if line.is_cut:
                await trio.lowlevel.checkpoint()
                return b""
            # What is injected meanwhile ends the waiting, and is looked at.
            with trio.CancelScope() as line.scope:
                return await self._receive(line, max_bytes)

    async def _receive(self, line: _Line, max_bytes: int | None) -> bytes:
        if not self._held:
            size = line.room(_RECEIVE_SIZE if max_bytes is None else max_bytes)
            with self._telling_why():
                self._held = bytes(await self._stream.receive_some(size))
            self._held_until = line.time_after(len(self._held))
            if self._held_until > trio.current_time():
                await trio.sleep_until(self._held_until)
        else:
            # Held back, as whoever waited for it was cancelled, or wanted less.
            await trio.sleep_until(self._held_until)
        size = line.room(len(self._held) if max_bytes is None else min(max_bytes, len(self._held)))
        data, self._held = self._held[:size], self._held[size:]
        line.passed += size
        return data

    async def send_eof(self) -> None:
        """Tell the other end that no more comes, if the stream below can."""
        await self._wait_for_way(self._sending)
        if self._sending.is_cut or not isinstance(self._stream, trio.abc.HalfCloseableStream):
            await trio.lowlevel.checkpoint()
            return
        with self._telling_why():
            await self._stream.send_eof()

    async def aclose(self) -> None:
        """Close the stream below, whatever the faults are."""
        self._is_closed = True
        self._sending.wake()
        self._receiving.wake()
        await self._stream.aclose()

    async def _wait_for_way(self, line: _Line) -> None:
        while True:
            await self._strike(line)
            self._check()
            if line.is_cut or line.due() is None:
                return
            await line.changed.park()

    async def _strike(self, line: _Line) -> None:
        """Carry out what is due."""
        while (fault := line.take_due()) is not None:
            if isinstance(fault, Reset):
                self._is_reset = True
                self._sending.wake()
                self._receiving.wake()
                await trio.aclose_forcefully(self._stream)
            else:
                line.is_cut = True
                if line is self._sending:
                    await self._end_sending()

    async def _end_sending(self) -> None:
        try:
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
                return
        except trio.BusyResourceError:
            # A task is sending. It can't be told in any other way.
            pass
        await trio.aclose_forcefully(self._stream)

    def _check(self) -> None:
        if self._is_closed:
            raise trio.ClosedResourceError("the stream was closed")
        if self._is_reset:
            # As Trio's own streams have it.
            cause = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            raise trio.BrokenResourceError("the connection was reset") from cause

    @contextmanager
    def _telling_why(self) -> Iterator[None]:
        """Let a fault that closes the stream below look like one, to whoever was waiting there."""
        try:
            yield
            return
        except trio.ClosedResourceError as error:
            closed = error
        self._check()
        raise _cut() if self._sending.is_cut else closed


def _cut() -> trio.BrokenResourceError:
    return trio.BrokenResourceError("the line is cut")
