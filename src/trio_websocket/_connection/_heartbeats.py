"""The heartbeats of all connections of a Trio run.

Theory of operation
    One system task sleeps until the next look is due; a heap knows which that is. So a look costs O(log n), and a
    connection no task. The task begins with the first connection that has a heartbeat and ends with the last: a mocked clock
    has nothing to jump to when nobody needs it.

    Connections that are opened at once do not beat at once: each is put as far as can be from those before it.

    What comes is read by others, who may not have had their turn when a look is due. So who seems silent is looked at again
    after everyone has had many.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import random
from typing import Protocol

import trio

from trio_websocket._exceptions import PeerSilent
from trio_websocket._transports import Transport
from trio_websocket.protocol import Heartbeat
from trio_websocket.protocol._heartbeat import Beat, Pulse

__all__ = ["Beating", "Heartbeats", "begin_heartbeat", "end_heartbeat"]

logger = logging.getLogger("trio-websocket")

# Multiples of this, without their whole part, are spread evenly, however many there are.
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2

# Looks before other tasks have a turn.
_LOOKS_A_TURN = 64

# Turns before a second look: in each, the hub serves some hundred sockets, and a stream's reader gets a step further.
_TURNS_TO_HEAR = 64

# Looks that may stand in the heap, and are due for nobody any more, beside one for each connection.
_MAX_STALE = 64


class Beating(Protocol):
    """What has a heartbeat."""

    @property
    def transport(self) -> Transport:
        """What knows of signs of life."""

    @property
    def is_open(self) -> bool:
        """Whether it can still ping."""

    def send_heartbeat(self, *, is_ping: bool) -> None:
        """Send a ping, or a pong that nobody asked for."""

    def drop(self, cause: Exception) -> None:
        """End at once."""


class _Entry:
    """One connection, and its pulse; no connection any more once that is gone."""

    __slots__ = ("connection", "heartbeat", "number", "pulse")

    def __init__(self, connection: Beating, heartbeat: Heartbeat, due: float, number: int) -> None:
        self.connection: Beating | None = connection
        self.heartbeat = heartbeat
        self.pulse = Pulse(heartbeat, due)
        self.number = number

    def look(self, connection: Beating, now: float) -> bool:
        """Look, and do what is due; returns whether the peer seems to be silent."""
        transport = connection.transport
        is_alive = transport.take_sign_of_life()
        beat = self.pulse.look(now, is_alive=is_alive, is_paused=transport.is_paused)
        if beat is Beat.PING or beat is Beat.PONG:
            connection.send_heartbeat(is_ping=beat is Beat.PING)
        return beat is Beat.DROP


class Heartbeats:
    """Looks after connections from `add` to `remove`.

    Args:
        phase: Where in its interval the first connection has its first beat, 0 to 1.
    """

    def __init__(self, phase: float) -> None:
        self._phase = phase
        self._entries: dict[Beating, _Entry] = {}
        self._heap: list[tuple[float, int, _Entry]] = []
        self._numbers = itertools.count()  # no two looks are equal
        self._sleep = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._run, name="trio_websocket heartbeats")

    def add(self, connection: Beating, heartbeat: Heartbeat) -> None:
        """Begin: the first ping is within an interval."""
        due = trio.current_time() + heartbeat.interval * self._phase
        self._phase = (self._phase + _GOLDEN_RATIO) % 1
        entry = self._entries[connection] = _Entry(connection, heartbeat, due, next(self._numbers))
        self._push(entry)
        self._sleep.deadline = min(self._sleep.deadline, due)

    def remove(self, connection: Beating) -> None:
        """End, if it has not ended already."""
        entry = self._entries.pop(connection, None)
        if entry is None:
            return
        entry.connection = None
        if not self._entries:
            self._sleep.cancel()
        elif len(self._heap) > 2 * len(self._entries) + _MAX_STALE:
            self._heap = [each for each in self._heap if each[2].connection is not None]
            heapq.heapify(self._heap)

    def _push(self, entry: _Entry) -> None:
        heapq.heappush(self._heap, (entry.pulse.due, entry.number, entry))

    async def _run(self) -> None:
        try:
            while self._entries:
                with trio.CancelScope(deadline=self._heap[0][0]) as self._sleep:
                    await trio.sleep_forever()
                silent = await self._look(self._take_due())
                if silent:
                    await self._look_again(silent)
        finally:
            if _heartbeats.get() is self:
                _heartbeats.set(None)

    def _take_due(self) -> list[_Entry]:
        heap, now = self._heap, trio.current_time()
        due = []
        while heap and heap[0][0] <= now:
            due.append(heapq.heappop(heap)[2])
        return due

    async def _look(self, due: list[_Entry]) -> list[_Entry]:
        """Look at those whose time has come; returns those that seem silent."""
        silent = []
        for number, entry in enumerate(due):
            if number % _LOOKS_A_TURN == _LOOKS_A_TURN - 1:
                await trio.lowlevel.checkpoint()
            if self._look_at(entry):
                silent.append(entry)
        return silent

    async def _look_again(self, silent: list[_Entry]) -> None:
        for _ in range(_TURNS_TO_HEAR):
            await trio.lowlevel.checkpoint()
        for entry in silent:
            connection, pinged_at = entry.connection, entry.pulse.pinged_at
            if self._look_at(entry) and connection is not None and pinged_at is not None:
                silence = trio.current_time() - pinged_at
                cause = PeerSilent(silence, entry.heartbeat.interval, entry.heartbeat.timeout)
                logger.info("%s: %s", str(connection), cause)
                self.remove(connection)
                connection.drop(cause)

    def _look_at(self, entry: _Entry) -> bool:
        """As `_Entry.look`; puts it back into the heap unless it seems silent, or needs no look any more."""
        connection = entry.connection
        if connection is None:
            return False
        if not connection.is_open:
            self.remove(connection)
            return False
        try:
            seems_silent = entry.look(connection, trio.current_time())
        except Exception as error:
            # A bug of ours. Raised from here, it would end the whole run, and so all connections.
            logger.exception("%s: failed", str(connection))
            self.remove(connection)
            connection.drop(error)
            return False
        if not seems_silent:
            self._push(entry)
        return seems_silent


_heartbeats: trio.lowlevel.RunVar[Heartbeats | None] = trio.lowlevel.RunVar("trio_websocket heartbeats", None)


def begin_heartbeat(connection: Beating, heartbeat: Heartbeat) -> None:
    """Look after `connection` until `end_heartbeat`; an endless interval has no beat."""
    if heartbeat.interval == math.inf:
        return
    heartbeats = _heartbeats.get()
    if heartbeats is None:
        # Not the same for all programs: thousands of clients may be started at once, with one connection each.
        heartbeats = Heartbeats(random.random())
        _heartbeats.set(heartbeats)
    heartbeats.add(connection, heartbeat)


def end_heartbeat(connection: Beating) -> None:
    """Forget `connection`, if that was not done already."""
    heartbeats = _heartbeats.get()
    if heartbeats is not None:
        heartbeats.remove(connection)
