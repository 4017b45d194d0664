"""One poller for all plain sockets of a Trio run.

Theory of operation
    Trio registers a socket anew for every wait, and wakes a task for it. Here every socket is registered once,
    edge-triggered, with a poller of our own. One system task waits for that poller's own descriptor, and then serves every
    socket that has something to tell: no task and no registration per connection. A second system task does what was put
    off until the scheduler turns: to send what was written in pieces, to read on where one turn's share was not enough, to
    tell of a connection that was lost.

    While many sockets are busy, the first task only keeps the run from sleeping, and the poller is asked when Trio has looked
    for what came in, by an instrument: so those whom that wakes run in the same turn, and all have answered before the next
    look. The task itself would run somewhere among them. If they are many, or say more than one thing each, what they send is kept, and
    sent by one call before the run looks again: to send it one by one would wake a peer that runs out of work and sleeps before
    it gets to the next.

    The hub begins with the first socket of a run, and ends when there is none and nobody listens for more. What goes wrong with
    one socket ends that socket; the hub never sees it.

    With one or two busy sockets the hub's own task costs more than it saves, so it keeps an eye on how many it serves at
    once: while they are few, a task that waits for a message may take its socket out of the poller and wait for it in
    person (`Pace.is_quiet`). When it has got something, as a rule it soon waits again, so the socket goes back into the poller
    only before the run itself waits: that saves two calls of the system a message. And as a peer on the same machine answers
    within a few turns of the scheduler, while to sleep and to be woken costs more than those, the task looks for so long
    before it waits; where that was in vain, it looks more seldom.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

import trio

from trio_websocket._kernel import Inlet, Turns, read_ready
from trio_websocket._transports._memory import keep_freed_memory
from trio_websocket._transports._pace import Pace, pace_of_this_run
from trio_websocket._transports._poller import READABLE, Poller, make_poller

__all__ = ["BUFFER_SIZE", "Hub", "HubSocket", "hub_of_this_run", "listening"]

# What one socket may read in one turn, so that a flood on one does not starve the others. A message of 64 KiB, as many programs
# send large data in, comes in one piece.
BUFFER_SIZE = 131072

# It gets busy when so many sockets are served at once, looks again in so many turns before it waits, and is quiet again after
# so many polls in a row with fewer.
_BUSY = 3
_LOOKS = 2
_QUIET_POLLS = 8

# It has all that is said in a turn sent together if more were served than these, or if some say more than one thing in a turn: to
# a few, it is better to answer one by one, as the first comes again while the last is being served.
_FEW = 8

# An instrument that has nothing to do stays for so many turns.
_IDLE_TURNS = 100

# Sockets that may be waited for in person.
_IN_PERSON = 2

# Who is to wait in person looks in so many turns first. After a look in vain, some waits go without: that which follows at
# once, then three, and in the end so many.
_TURNS = 3
_WAITS = 31


class HubSocket(Protocol):
    """What the hub serves; nothing of it may raise."""

    @property
    def fd(self) -> int:
        """The descriptor."""

    @property
    def inlet(self) -> Inlet:
        """What reads a bounded amount of what has come."""

    def serve(self, events: int) -> None:
        """Do a bounded amount of work about the poller's `events`, whatever they are."""

    def turn(self) -> None:
        """Do what was put off until the scheduler turns."""

    def come_back(self) -> None:
        """Have the poller tell again, with `take_back`: nobody waits in person any more."""

    def abort(self) -> None:
        """Close; the run is over."""


class _AroundLooking(trio.abc.Instrument):
    """While a hub is busy, has it send and look around each look of the run for what is outside of it.

    To add it costs as much as it does in many turns, so it stays for some turns in which the hub is not busy.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._turns_left = 0

    def stay(self) -> None:
        """Count those turns anew."""
        self._turns_left = _IDLE_TURNS

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 -- Trio's
        hub = self._hub
        if hub.turns.will_flush:
            hub.turns.flush()
        elif self._turns_left:
            self._turns_left -= 1
        else:
            hub.stop_looking()

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 -- Trio's
        if self._hub.turns.will_flush:
            self._hub.look()


class _BeforeWaiting(trio.abc.Instrument):
    """Calls the sockets that were `left` back before the run waits for what is outside of it."""

    def __init__(self, left: list[HubSocket]) -> None:
        self._left = left

    def before_io_wait(self, timeout: float) -> None:  # noqa: ARG002 -- Trio's
        for sock in self._left[:]:
            sock.come_back()


class Hub:
    """Serves the sockets that are added, until they are removed.

    Attributes:
        buffer: Where whoever is being served may read into.
        turns: Counts how often sockets have been served or looked at.
        pace: Knows whether a task may wait for its socket in person.
    """

    def __init__(self) -> None:
        keep_freed_memory()
        self.buffer: memoryview = memoryview(bytearray(BUFFER_SIZE))
        self.turns: Turns = Turns()
        self.pace: Pace = pace_of_this_run()
        self.pace.is_quiet = True
        self._poller: Poller = make_poller()
        self._sockets: dict[int, HubSocket] = {}
        self._is_serving = False
        self._is_ending = False
        self._looks_left = 0
        self._around_looking: _AroundLooking | None = None
        self._poll_scope = trio.CancelScope()
        # What was put off.
        self._put_off: list[HubSocket] = []
        self._turner: trio.lowlevel.Task | None = None  # while it sleeps
        # Out of the poller: what is waited for in person, and what was left by who did.
        self._in_person: set[HubSocket] = set()
        self._left: list[HubSocket] = []
        self._before_waiting: _BeforeWaiting | None = None  # while somebody may have left one
        self._waits = self._waits_left = 0  # without a look
        self._quiet_polls = _QUIET_POLLS
        trio.lowlevel.spawn_system_task(self._poll, name="trio_websocket poll")
        trio.lowlevel.spawn_system_task(self._turn, name="trio_websocket turn")

    def add(self, sock: HubSocket) -> None:
        """Serve `sock` from now on.

        Raises:
            OSError: The poller can't have more; `remove` is due all the same.
        """
        self._sockets[sock.fd] = sock
        self._poller.add(sock.fd)

    def add_writable(self, sock: HubSocket) -> None:
        """Serve it also when there is room to write.

        Raises:
            OSError: The poller can't have more; `remove` is due all the same.
        """
        if sock in self._left:
            self.take_back(sock)
        self._poller.add_writable(sock.fd)

    def remove(self, sock: HubSocket) -> None:
        """Stop. To be called before the descriptor is closed; `turn` may still be called once."""
        if self._sockets.get(sock.fd) is sock:
            del self._sockets[sock.fd]
        if sock in self._in_person:
            self.wake(sock)
            self._in_person.remove(sock)
            self._judge_quiet()
        elif sock in self._left:
            self._left.remove(sock)
        else:
            try:
                self._poller.remove(sock.fd)
            except OSError:
                # It may never have come in, or somebody has closed it behind us.
                pass

    def put_off(self, sock: HubSocket) -> None:
        """Call `sock.turn()` once when the scheduler turns."""
        self._put_off.append(sock)
        if not self._is_serving:
            self._wake_turner()

    async def read_in_person(self, sock: HubSocket) -> None:
        """Have the task that calls wait for `sock`, and read it; it may return earlier, and does soon when `wake` is called."""
        self._lend(sock)
        try:
            if self._waits_left:
                self._waits_left -= 1
                await trio.lowlevel.wait_readable(sock.fd)
                self.turns.count += 1
                sock.inlet.read(self.buffer)
            else:
                await self._look_for(sock)
        except trio.ClosedResourceError:
            # Somebody called `wake`.
            pass
        finally:
            # Else it was removed meanwhile.
            if sock in self._in_person:
                self._leave(sock)

    async def _look_for(self, sock: HubSocket) -> None:
        for _ in range(_TURNS):
            await trio.lowlevel.checkpoint()
            if sock not in self._in_person:
                return
            self.turns.count += 1
            if sock.inlet.read(self.buffer):
                self._waits = 0
                return
        self._waits = self._waits_left = min(2 * self._waits + 1, _WAITS)

    def _lend(self, sock: HubSocket) -> None:
        if sock in self._left:
            self._left.remove(sock)
        else:
            self._poller.remove(sock.fd)
        self._in_person.add(sock)
        if len(self._in_person) >= _IN_PERSON:
            self.pace.is_quiet = False
        if self._before_waiting is None:
            self._before_waiting = _BeforeWaiting(self._left)
            trio.lowlevel.add_instrument(self._before_waiting)

    def _leave(self, sock: HubSocket) -> None:
        # Before the run waits, it has to come back, unless it is lent again.
        self._in_person.remove(sock)
        self._left.append(sock)
        self._judge_quiet()

    def _stop_watching(self) -> None:
        # It costs every turn of the run; and it knows us.
        assert self._before_waiting is not None
        trio.lowlevel.remove_instrument(self._before_waiting)
        self._before_waiting = None

    def wake(self, sock: HubSocket) -> None:
        """Let out who waits for `sock` in person."""
        if sock in self._in_person:
            trio.lowlevel.notify_closing(sock.fd)

    def take_back(self, sock: HubSocket) -> None:
        """Have the poller tell again of a socket that was left.

        Raises:
            OSError: The poller can't have more; `remove` is due all the same.
        """
        self._left.remove(sock)
        self._poller.add(sock.fd)

    def _judge_quiet(self) -> None:
        self.pace.is_quiet = self._quiet_polls >= _QUIET_POLLS and len(self._in_person) < _IN_PERSON

    async def _poll(self) -> None:
        poller = self._poller
        try:
            with self._poll_scope:
                while True:
                    await trio.lowlevel.wait_readable(poller.fileno())
                    self.look()
                    if self._looks_left:
                        await self._keep_looking()
        finally:
            self._end()
            trio.lowlevel.notify_closing(poller.fileno())
            poller.close()

    async def _keep_looking(self) -> None:
        """Have the poller asked in every turn, as long as many sockets are busy: to wait for it costs more."""
        if self._around_looking is None:
            self._around_looking = _AroundLooking(self)
            trio.lowlevel.add_instrument(self._around_looking)
        self._around_looking.stay()
        # As we come again in every turn, the run never waits meanwhile: who is called may wake tasks.
        self.turns.will_flush = True
        try:
            while self._looks_left:
                self._looks_left -= 1
                await trio.lowlevel.checkpoint()
        finally:
            self.turns.will_flush = self.turns.is_corked = False
            self.turns.flush()

    def stop_looking(self) -> None:
        """Take the instrument away, if there is one: it costs every turn of the run, and knows us."""
        around_looking, self._around_looking = self._around_looking, None
        if around_looking is not None:
            # Trio itself takes away one that has raised.
            with contextlib.suppress(KeyError):
                trio.lowlevel.remove_instrument(around_looking)

    def look(self) -> None:
        """Ask the poller, and serve whom it tells of."""
        told = self._poller.poll()
        self._serve(told)
        if len(told) >= _BUSY:
            self._looks_left = _LOOKS
        if told:
            is_together = self.turns.is_burst or len(told) > _FEW
            self.turns.is_corked = is_together and bool(self._looks_left)

    def _serve(self, told: list[tuple[int, int]]) -> None:
        """Serve each socket that the poller tells of."""
        self.turns.count += 1
        self._is_serving = True
        for fd, events in read_ready(told, self._sockets, READABLE, self.buffer):
            sock = self._sockets.get(fd)
            if sock is not None:
                sock.serve(events)
        self._is_serving = False
        if self._put_off:
            self._serve_ended()
        if len(told) >= _BUSY:
            self._quiet_polls = 0
            self.pace.is_quiet = False
            if self._before_waiting is not None and not (self._in_person or self._left):
                self._stop_watching()
        elif told:
            self._quiet_polls += 1
            self._judge_quiet()

    async def _turn(self) -> None:
        while not self._is_ending:
            if self._put_off:
                self._serve_put_off()
                await trio.lowlevel.cancel_shielded_checkpoint()
            elif self._sockets or _listeners.get():
                if not self._sockets and self._before_waiting is not None:
                    self._stop_watching()
                self._turner = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(self._stop_sleeping)
            else:
                # The last socket has gone, and no more will come.
                _hub.set(None)
                self._is_ending = True
                self._poll_scope.cancel()

    def _serve_put_off(self) -> None:
        self.turns.count += 1
        put_off, self._put_off = self._put_off, []
        for sock in put_off:
            sock.turn()

    def _serve_ended(self) -> None:
        """Tell at once of those that ended while they were served; the others wait for the turn."""
        put_off, self._put_off = self._put_off, []
        for sock in put_off:
            if self._sockets.get(sock.fd) is sock:
                self._put_off.append(sock)
            else:
                sock.turn()
        if self._put_off or not self._sockets:
            self._wake_turner()

    def consider_ending(self) -> None:
        """End soon, if there is no socket and nobody listens any more."""
        self._wake_turner()

    def _wake_turner(self) -> None:
        task, self._turner = self._turner, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def _stop_sleeping(self, _: object) -> trio.lowlevel.Abort:
        self._turner = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _end(self) -> None:
        """Leave nothing behind, also when the whole run is being cancelled under open connections."""
        if _hub.get() is self:
            _hub.set(None)
        for sock in list(self._sockets.values()):
            sock.abort()
        while self._put_off:
            self._serve_put_off()
        self._is_ending = True
        self._wake_turner()
        self.stop_looking()
        if self._before_waiting is not None:
            self._stop_watching()


_hub: trio.lowlevel.RunVar[Hub | None] = trio.lowlevel.RunVar("trio_websocket hub", None)
_listeners: trio.lowlevel.RunVar[int] = trio.lowlevel.RunVar("trio_websocket listeners", 0)


def hub_of_this_run() -> Hub:
    """The hub of the Trio run that calls, begun if there is none."""
    hub = _hub.get()
    if hub is None:
        hub = Hub()
        _hub.set(hub)
    return hub


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Have this run's hub stay meanwhile, once there is one: to begin anew for each socket costs as much as many messages."""
    _listeners.set(_listeners.get() + 1)
    try:
        yield
    finally:
        _listeners.set(_listeners.get() - 1)
        hub = _hub.get()
        if hub is not None:
            hub.consider_ending()
