"""Cancelling a call at each point where it can be cancelled, and looking at what is left.

Theory of operation
    A cancellation strikes while some task waits or is about to run; between two steps of the scheduler nothing else
    happens. So a scenario is run again and again, in a Trio run of its own, and the scope around its call is cancelled
    just before the first step that any task takes, in the next run before the second, and so on, until the call is over
    before it is struck. That meets every checkpoint of the call, both while it waits and when it was woken but has not
    run yet, with every order of events around it. The clock jumps, and Trio's dice are seeded with the number of the
    run, so that a failure comes again.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import pytest
import trio
import trio._core._run as trio_run
import trio.testing
from support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    RawPeer,
    StreamPair,
    make_pair,
    request_head,
    response_head,
)

import trio_websocket
from trio_websocket import ConnectionClosed, WebSocketConnection

T = TypeVar("T")

MakePair = Callable[[], StreamPair]

TIGHT: MakePair = partial(make_pair, is_tight=True)

# More steps than any call may take: a harness that never ends would prove nothing.
MAX_STEPS = 3000


@dataclass(frozen=True)
class Ending(Generic[T]):
    """How a call under attack ended."""

    value: T | None
    error: BaseException | None
    was_cancelled: bool
    delay: float
    """Seconds from the strike to the end; 0 without one."""

    @property
    def returned(self) -> bool:
        return self.error is None


class Attack(trio.abc.Instrument):
    """Cancels one call, before the step number `at` that is taken while it runs; 0 is before the call."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.endings: list[Ending[Any]] = []
        self._steps = 0
        self._scope: trio.CancelScope | None = None
        self._struck_at: float | None = None

    @property
    def has_struck(self) -> bool:
        return self._struck_at is not None

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._scope is not None:
            self._steps += 1
            if self._steps == self.at:
                self._strike(self._scope)

    def _strike(self, scope: trio.CancelScope) -> None:
        self._struck_at = trio.current_time()
        scope.cancel()

    async def run(self, call: Callable[[], Awaitable[T]]) -> Ending[T]:
        """Make the call; an exception of its own stands in the ending, as it came."""
        value: T | None = None
        error: BaseException | None = None
        with trio.CancelScope() as scope:
            self._scope = scope
            if self.at == 0:
                self._strike(scope)
            try:
                value = await call()
            except Exception as raised:
                error = raised
            except BaseException as raised:
                error = raised
                raise
            finally:
                self._scope = None
        delay = 0.0 if self._struck_at is None else trio.current_time() - self._struck_at
        ending = Ending(value, error, scope.cancelled_caught, delay)
        self.endings.append(ending)
        return ending


Scenario = Callable[[Attack], Awaitable[None]]


def torture(scenario: Scenario, *, real_time: bool = False) -> list[Ending[Any]]:
    """Run `scenario` with its call cancelled at each step in turn, then once uncancelled; how each ended.

    After each run no task and no file may be left of what it started.
    """
    endings: list[Ending[Any]] = []
    for at in range(MAX_STEPS):
        attack = Attack(at)
        seed_scheduler(at)
        clock = None if real_time else trio.testing.MockClock(autojump_threshold=0)
        try:
            trio.run(_run_contained, scenario, attack, clock=clock, instruments=[attack])
        except BaseException:
            print(f"the call was cancelled before step {at} (has_struck={attack.has_struck})")
            raise
        assert attack.endings, "the scenario attacked nothing"
        endings += attack.endings
        if not attack.has_struck:
            # Each call has been cancelled somewhere, and once went its way.
            assert any(ending.was_cancelled for ending in endings)
            return endings
    raise AssertionError(f"the call took more than {MAX_STEPS} steps")


def seed_scheduler(seed: int) -> None:
    """Trio throws dice for the order of the tasks that are ready: let them fall the same way each time."""
    trio_run._r.seed(seed)


async def _run_contained(scenario: Scenario, attack: Attack) -> None:
    # So that a call that hangs fails its test: in jumps of the clock, or soon enough.
    with trio.fail_after(100):
        async with contained():
            await scenario(attack)


@asynccontextmanager
async def contained() -> AsyncIterator[None]:
    """Whatever task (of the user's or of Trio's), socket or other file the block starts, it also ends."""
    tasks, files = _tasks_living(), _open_files()
    yield
    await trio.testing.wait_all_tasks_blocked()
    assert _tasks_living() == tasks, "tasks are left"
    assert _open_files() <= files, "sockets are left"


def _tasks_living() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def _open_files() -> int:
    # Windows has no such folder; there, a socket that is left shows as a ResourceWarning only.
    return len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0


# ------------------------------------------------------------------------------------- a connection and a raw peer


class Stage:
    """A connection of ours and its raw peer, whose frames are read, kept and answered once `read` runs.

    Attributes:
        ws: The connection under test.
        stream: Its stream.
        peer: The raw peer.
        frames: What came to the peer.
        has_ended: Whether nothing more can come.
        tasks: A nursery, which is cancelled at the end.
    """

    def __init__(
        self, ws: WebSocketConnection, stream: trio.abc.Stream, peer: RawPeer, tasks: trio.Nursery
    ) -> None:
        self.ws = ws
        self.stream = stream
        self.peer = peer
        self.tasks = tasks
        self.frames: list[Frame] = []
        self.has_ended = False
        self._news = trio.lowlevel.ParkingLot()
        self._send_lock = trio.StrictFIFOLock()

    async def read(self, *, answers: bool = True) -> None:
        """Begin when all tasks wait; read and answer until the end of file."""
        await trio.testing.wait_all_tasks_blocked()
        try:
            while True:
                frame = await self.peer.read_frame()
                # A torn frame would show as nonsense in the place of the next one's head.
                assert frame.fin and frame.opcode in {TEXT, BINARY, CLOSE, PING, PONG}, frame
                self.frames.append(frame)
                self._news.unpark_all()
                if answers:
                    await self._answer(frame)
        except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
            self.has_ended = True
            self._news.unpark_all()
            if answers:
                await self.peer.stream.aclose()

    async def _answer(self, frame: Frame) -> None:
        if frame.opcode == PING:
            await self.send(PONG, frame.payload)
        elif frame.opcode == CLOSE:
            await self.send(CLOSE, frame.payload)
            if not self.peer.is_client:
                # RFC 6455 §7.1.1: the server closes the TCP connection first.
                await self.peer.stream.aclose()

    async def send(self, opcode: int, payload: bytes) -> None:
        """Send a frame to the connection under test."""
        async with self._send_lock:
            await self.peer.send_frame(opcode, payload)

    async def send_texts(self, *texts: str, when_idle: bool = False) -> None:
        """Send some text messages in a row, perhaps not before all tasks wait; as far as the connection lives."""
        async with self._send_lock:
            if when_idle:
                await trio.testing.wait_all_tasks_blocked()
            with suppress(trio.BrokenResourceError):
                for text in texts:
                    await self.peer.send_frame(TEXT, text.encode())

    def payloads(self, opcode: int = TEXT) -> list[str]:
        """What came in frames of one kind, but for the proofs of `exchange`."""
        payloads = [frame.payload.decode() for frame in self.frames if frame.opcode == opcode]
        return [payload for payload in payloads if not payload.startswith("proof")]

    async def exchange(self) -> list[str | bytes]:
        """Prove on the wire that the connection works, both ways; returns the messages that came before the proof."""
        received: list[str | bytes] = []
        proof = f"proof {len(self.frames)}"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.ws.send_message, proof)
            nursery.start_soon(self.send_texts, proof)
            while (message := await self.ws.get_message()) != proof:
                received.append(message)
            while not any(frame.payload == proof.encode() for frame in self.frames):
                assert not self.has_ended
                await self._news.park()
        assert self.ws.closed is None
        return received

    async def assert_closed(self) -> None:
        """The connection says that it is closed, in every way in which it can be asked, and holds nothing."""
        await assert_closed(self.ws)
        await assert_stream_closed(self.stream)


async def assert_closed(ws: WebSocketConnection) -> None:
    """The connection says that it is closed, in every way in which it can be asked."""
    assert ws.closed is not None
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: ws.send_message("x"),
        ws.get_message,
        ws.ping,
        ws.pong,
    ]
    for call in calls:
        with pytest.raises(ConnectionClosed) as caught:
            await call()
        assert caught.value.reason == ws.closed
    await ws.aclose()
    assert await ws.wait_closed() == ws.closed


async def assert_stream_closed(stream: trio.abc.Stream) -> None:
    """Nobody can use it any more."""
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"?")


@asynccontextmanager
async def stage(*, is_client: bool, pair: MakePair = make_pair, **options: Any) -> AsyncIterator[Stage]:
    """A connection whose peer is raw. At the end it is cancelled, if it is still open, and its stream must be closed."""
    ours, theirs = pair()
    peer = RawPeer(theirs, is_client=not is_client)
    async with trio.open_nursery() as nursery:
        if is_client:
            nursery.start_soon(answer_request, peer)
            ws = await trio_websocket.wrap_client_stream(nursery, ours, "test", "/", **options)
        else:
            nursery.start_soon(theirs.send_all, request_head())
            request = await trio_websocket.wrap_server_stream(nursery, ours, **options)
            ws = await request.accept()
            await peer.read_head()
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as tasks:
            yield Stage(ws, ours, peer, tasks)
            tasks.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    await assert_stream_closed(ours)
    await theirs.aclose()


async def answer_request(peer: RawPeer) -> None:
    """Answer an opening handshake rightly."""
    await peer.stream.send_all(response_head(await peer.read_head()))


async def fill(ws: WebSocketConnection) -> list[str]:
    """Send until the next message would have to wait, however long; what was sent."""
    sent: list[str] = []
    while True:
        before = len(sent)
        with suppress(trio.WouldBlock):
            while True:
                message = f"filler {len(sent)} " + "x" * 40
                ws.send_message_nowait(message)
                sent.append(message)
        if len(sent) == before:
            return sent
        # A socket has room of its own.
        await trio.testing.wait_all_tasks_blocked()
