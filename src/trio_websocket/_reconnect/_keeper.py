"""The one task that has a connection, or seeks one, and what it puts aside when one is lost.

Theory of operation
    It is a system task, so that no scope is held open while the user's block runs, and what fails in it can't cancel that
    block; leaving the block always waits for its end. Everybody else only looks. That a connection closed is noticed by
    whoever looks first, and what it left is put aside in the same step: what it had received and nobody took, why it ended,
    and how much of what was sent is not known to have arrived.
"""

from __future__ import annotations

import contextvars
import logging
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

import trio

from trio_websocket._connection import WebSocketConnection, close_decently
from trio_websocket._exceptions import (
    CloseReason,
    ConnectionClosed,
    ConnectionInterrupted,
    ConnectionTimeout,
    DisconnectionTimeout,
)
from trio_websocket._options import CONN_TIMEOUT, DEFAULT_MESSAGE_QUEUE_BYTES, ClientOptions
from trio_websocket._reconnect._retry import Dial, Failure, Retries, drain, failure_of

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = ["Keeper", "OnConnect", "OnOutage", "Outage", "State"]

logger = logging.getLogger("trio-websocket")

MAX_OUTAGES = 100
"""The latest outages are kept, up to this number."""

OnConnect = Callable[[WebSocketConnection], Awaitable[object]]
OnOutage = Literal["wait", "raise"]
State = Literal["connecting", "connected", "waiting", "closed"]


class Traffic:
    """How many messages one connection was handed, and how many of them are known to have arrived."""

    __slots__ = ("confirmed", "sent")

    def __init__(self) -> None:
        self.sent: int = 0
        self.confirmed: int = 0


@dataclass(eq=False)
class Outage:
    """A time without a connection, and what the one before took with it.

    Attributes:
        cause: Why the connection ended.
        began: When that was noticed, by Trio's clock.
        duration: The seconds until the next connection was there; None if it is not, or never came.
        attempts: How often it was tried to connect since.
        dropped: Messages from earlier connections that nobody took for so long that they were thrown away now.
    """

    cause: ConnectionClosed
    began: float
    duration: float | None = field(default=None, init=False)
    attempts: int = field(default=0, init=False)
    dropped: int
    _traffic: Traffic = field(repr=False)

    @property
    def unconfirmed(self) -> int:
        """How many of the messages that were sent may not have arrived: those behind the latest `ping` that was answered."""
        return self._traffic.sent - self._traffic.confirmed


class Keeper:
    """The owner of one connection after another.

    Attributes:
        name: The URL without its secrets.
        outages: The latest ones, the oldest first.
        traffic: What was sent over the connection that `look` gave.
        left_over: What earlier connections had received and nobody took.

    Args:
        dial: Connects.
        retries: Waits between the tries, or gives up.
        on_connect: Called with each new connection.
        on_outage: What is to become of calls that find no connection.
        options: Those of the connections.
    """

    def __init__(
        self,
        dial: Dial,
        retries: Retries,
        on_connect: OnConnect | None,
        on_outage: OnOutage,
        options: ClientOptions,
    ) -> None:
        # Connecting.
        self._dial = dial
        self._retries = retries
        self._on_connect = on_connect
        self._connect_timeout = options.get("connect_timeout", CONN_TIMEOUT)
        self._scope = trio.CancelScope()
        self._task: trio.lowlevel.Task | None = None
        self._settled = trio.Event()  # there is a connection, or there will be none
        self._finished = trio.Event()
        # What there is.
        self.name: str = retries.name
        self._phase: State = "connecting"
        self._is_over = False
        self._ws: WebSocketConnection | None = None
        self.traffic: Traffic = Traffic()
        self._changed = trio.Event()
        self._waits = on_outage == "wait"
        self._outage: Outage | None = None  # which lasts
        self._goes_on = True  # as far as that is decided
        self.outages: deque[Outage] = deque(maxlen=MAX_OUTAGES)
        self.left_over: deque[str | bytes] = deque()
        self._max_left_over = options.get("message_queue_bytes", DEFAULT_MESSAGE_QUEUE_BYTES)
        # The end.
        self._disconnect_timeout = options.get("disconnect_timeout", CONN_TIMEOUT)
        self._farewell: CloseReason | None = None  # what we closed with
        self._error: BaseException | None = None  # why it was given up

    # ------------------------------------------------------------------------------------------ what is there

    @property
    def state(self) -> State:
        """What is going on; the task may not have noticed the end yet."""
        self.look()
        return "closed" if self._is_over else self._phase

    def look(self) -> WebSocketConnection | None:
        """The connection, if one is there and open; takes in that it is not."""
        if self._is_over:
            return None
        if self._ws is not None and self._ws.closed is not None:
            self._lose(self._ws)
        return self._ws

    async def wait_for_connection(self) -> None:
        """Wait until there may be a connection, on behalf of a call that found none.

        Raises:
            ConnectionInterrupted: Calls shall not wait.
            ConnectionClosed: There will be none any more. Cancelling is safe.
        """
        # Also before an error: a loop that tries again and again must not hold up all others.
        await trio.lowlevel.checkpoint()
        if self.look() is not None:
            return
        if self._is_over:
            raise self.make_closed()
        if self._goes_on and not self._waits:
            assert self._outage is not None
            raise ConnectionInterrupted(
                "there is no connection; another one is sought"
            ) from self._outage.cause
        await self._changed.wait()

    async def wait_connected(self) -> None:
        """Wait until there is a connection.

        Raises:
            ConnectionClosed: There will be none any more. Cancelling is safe.
        """
        await trio.lowlevel.checkpoint()
        while self.look() is None:
            if self._is_over:
                raise self.make_closed()
            await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _take(self, ws: WebSocketConnection) -> None:
        """There is a new connection."""
        if self._is_over:
            return
        self._ws, self._phase, self.traffic = ws, "connected", Traffic()
        outage, self._outage = self._outage, None
        if outage is not None:
            outage.duration = trio.current_time() - outage.began
            text = "%s: connected again after %.1f seconds; %d of the messages sent before may be lost"
            logger.info(text, self.name, outage.duration, outage.unconfirmed)
        self._settled.set()
        self._change()

    def _lose(self, ws: WebSocketConnection) -> None:
        """It is closed."""
        dropped = self._make_room()
        messages, cause = drain(ws)
        self.left_over.extend(messages)
        self._ws, self._phase, self._goes_on = None, "waiting", False
        self._outage = Outage(cause, trio.current_time(), dropped, self.traffic)
        self.outages.append(self._outage)
        self._change()

    def take_back(self, ws: WebSocketConnection) -> None:
        """A call to receive from `ws` was cancelled: it may have put a message back when all others were taken out."""
        if ws is not self._ws and self._farewell is None:
            messages, _ = drain(ws)
            self.left_over.extendleft(reversed(messages))

    def _make_room(self) -> int:
        """Bound what those leave who never receive; returns how many messages that cost."""
        size = sum(map(sys.getsizeof, self.left_over))
        dropped = 0
        while size > self._max_left_over:
            size -= sys.getsizeof(self.left_over.popleft())
            dropped += 1
        return dropped

    def _end(self, error: BaseException | None) -> None:
        """There will be no connection any more."""
        if not self._is_over:
            self._is_over = True
            self._error = error
        self._settled.set()
        self._change()

    def make_closed(self) -> ConnectionClosed:
        """The error for one call that finds it over."""
        error = self._error
        if isinstance(error, ConnectionClosed):
            closed = ConnectionClosed(
                error.reason, sent=error.sent, received=error.received, initiator=error.initiator
            )
            closed.__cause__ = error.__cause__
        elif error is not None:
            closed = ConnectionClosed(CloseReason(1006, None))
            closed.__cause__ = error
        elif self._ws is not None and self._ws.closed is not None:
            return drain(self._ws)[1]
        else:
            closed = ConnectionClosed(self._farewell, initiator="local")
        if isinstance(error, Failure):
            closed.earlier_errors = error.earlier_errors
        return closed

    # ------------------------------------------------------------------------------------------- the one task

    async def run(self) -> None:
        """Be the one task."""
        try:
            with self._scope:
                await self._stay_connected()
        except BaseException as error:
            # Also in a nursery's group.
            if BaseExceptionGroup("", [error]).subgroup((trio.Cancelled, GeneratorExit)) is not None:
                # The run is over; the user's block was never left.
                raise
            # Before that, the block raises it.
            if self._settled.is_set() and not isinstance(error, Failure):
                logger.error("%s: failed", self.name, exc_info=error)
            self._end(error)
        finally:
            self._end(None)
            self._finished.set()

    async def _stay_connected(self) -> None:
        while True:
            self._phase = "connecting"
            if self._outage is not None:
                self._outage.attempts += 1
            failure, lasted = await self._connect()
            delay = self._retries.next_delay(failure, lasted)
            self._phase, self._goes_on = "waiting", True
            self._change()
            await trio.sleep(delay)

    async def _connect(self) -> tuple[Failure, float | None]:
        """Have one connection, as long as it lasts; returns why it ended, and the seconds."""
        ws: WebSocketConnection | None = None
        opened_at = 0.0
        failure: Failure | None = None
        try:
            async with self._dial() as ws:
                opened_at = trio.current_time()
                failure = await self._greet(ws)
                if failure is None:
                    self._take(ws)
                    failure = await self._wait_lost(ws)
                # So that a peer that is half gone gets no more than two seconds.
                raise failure
        except Exception as error:
            failure = failure or failure_of(ws, error)
            if failure is None:
                raise
        return failure, None if ws is None else trio.current_time() - opened_at

    async def _greet(self, ws: WebSocketConnection) -> ConnectionTimeout | None:
        if self._on_connect is None:
            return None
        with trio.move_on_after(self._connect_timeout) as scope:
            await self._on_connect(ws)
        if scope.cancelled_caught:
            return ConnectionTimeout(
                f"on_connect took more than connect_timeout={self._connect_timeout} seconds"
            )
        return None

    async def _wait_lost(self, ws: WebSocketConnection) -> ConnectionClosed:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_when_closed, ws)
            while self._outage is None:
                await self._changed.wait()
            nursery.cancel_scope.cancel()
        return self._outage.cause

    async def _look_when_closed(self, ws: WebSocketConnection) -> None:
        await ws.wait_closed()
        self.look()

    # ----------------------------------------------------------------------------------------------- the block

    async def enter(self) -> None:
        """Begin, and wait for the first connection."""
        if self._task is not None:
            raise RuntimeError("this block was entered before")
        name = f"reconnect {self.name}"
        context = contextvars.copy_context()
        self._task = trio.lowlevel.spawn_system_task(self.run, name=name, context=context)
        try:
            await self._settled.wait()
        except BaseException:
            await self.leave_soon()
            raise
        if self._error is not None:
            await self._stop()
            raise self._error

    async def leave(self) -> None:
        """Close at the end of the block.

        Raises:
            DisconnectionTimeout: The peer did not answer.
        """
        await self.close(CloseReason(1000, None), decently=True)
        ws = self._ws
        if ws is not None and ws._close_timed_out:
            raise DisconnectionTimeout(
                f"{ws.remote} did not answer our close within"
                f" disconnect_timeout={self._disconnect_timeout} seconds"
            )

    async def leave_soon(self) -> None:
        """Close within two seconds, whether cancelled or not."""
        self._say_farewell(CloseReason(1000, None))
        await self._stop()

    async def close(self, said: CloseReason, *, decently: bool = False) -> None:
        """Close for good, within `disconnect_timeout`.

        If cancelled, at once; or if `decently`, within two seconds.
        """
        self.look()
        self._say_farewell(said)
        try:
            if self._ws is None:
                await trio.lowlevel.checkpoint()
            elif decently:
                await close_decently(self._ws, said.code, said.reason)
            else:
                await self._ws.aclose(said.code, said.reason)
        finally:
            await self._stop()

    def _say_farewell(self, said: CloseReason) -> None:
        if not self._is_over:
            self._farewell = said
            self.left_over.clear()
            self._end(None)

    async def _stop(self) -> None:
        # It is our own task that is waited for: cancelled, it closes its connection within two seconds.
        self._scope.cancel()
        if self._is_within():
            # `on_connect` closes, and can't wait for its own end; it is cancelled, unless it is shielded.
            await trio.lowlevel.checkpoint()
            return
        with trio.CancelScope(shield=True):
            await self._finished.wait()

    def _is_within(self) -> bool:
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None and task is not self._task:
            task = None if task.parent_nursery is None else task.parent_nursery.parent_task
        return task is not None
