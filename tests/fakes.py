"""Streams, transports and owners that do what a test tells them to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from support import MASK, RawPeer, frame, response_head

import trio_websocket
from trio_websocket import WebSocketConnection
from trio_websocket._kernel import Buffer
from trio_websocket._link import Link
from trio_websocket._options import ConnectionOptions
from trio_websocket._transports import StreamTransport, Transport, TransportOwner
from trio_websocket.protocol import Role, Session


class PlainStream(trio.abc.Stream):
    """A stream over another that can do no more than a stream must: it can't end one direction alone."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner

    async def send_all(self, data: Buffer) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.inner.aclose()


class ValveStream(PlainStream, trio.abc.HalfCloseableStream):
    """A stream that takes nothing while `shut`, as when the peer does not read."""

    def __init__(self, inner: trio.abc.HalfCloseableStream) -> None:
        super().__init__(inner)
        self.half_closeable = inner
        self._open = trio.Event()
        self._open.set()

    def shut(self) -> None:
        self._open = trio.Event()

    def open(self) -> None:
        self._open.set()

    async def send_all(self, data: Buffer) -> None:
        await self._open.wait()
        await super().send_all(data)

    async def send_eof(self) -> None:
        await self._open.wait()
        await self.half_closeable.send_eof()


@asynccontextmanager
async def client_behind_valve(
    **options: Any,
) -> AsyncIterator[tuple[WebSocketConnection, RawPeer, ValveStream]]:
    """A client of ours, connected in memory with a raw server over a valve, which is open at first."""
    ours, theirs = trio.testing.memory_stream_pair()
    valve = ValveStream(ours)
    peer = RawPeer(theirs, is_client=False)
    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            await theirs.send_all(response_head(await peer.read_head()))

        nursery.start_soon(answer)
        yield await trio_websocket.wrap_client_stream(nursery, valve, "test", "/", **options), peer, valve
        valve.open()
        await theirs.aclose()
        nursery.cancel_scope.cancel()


class Owner:
    """Notes all that a transport tells."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.lost = trio.Event()

    def data_received(self, data: Buffer) -> None:
        self.told.append(("data", bytes(data)))

    def eof_received(self) -> None:
        self.told.append(("eof", None))

    def backlog_drained(self) -> None:
        pass

    def connection_lost(self, error: Exception | None) -> None:
        self.told.append(("lost", error))
        self.lost.set()

    @property
    def data(self) -> bytes:
        """All data that was told."""
        return b"".join(value for what, value in self.told if what == "data")

    @property
    def error(self) -> Exception | None:
        """What `connection_lost` told."""
        [error] = [value for what, value in self.told if what == "lost"]
        assert error is None or isinstance(error, Exception)
        return error


@asynccontextmanager
async def over(
    stream: trio.abc.Stream, *, receive_size: int | None = None
) -> AsyncIterator[tuple[StreamTransport, Owner]]:
    """A transport over `stream`, which at the end of the block is gone, was told so just once, and left no task."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    transport, owner = StreamTransport(stream, receive_size=receive_size), Owner()
    transport.set_owner(owner)
    yield transport, owner
    transport.abort()
    await owner.lost.wait()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert transport.backlog == 0
    await trio.testing.wait_all_tasks_blocked()
    told = [what for what, _ in owner.told]
    assert (told.count("lost"), told[-1]) == (1, "lost")
    assert told.count("eof") <= 1


class FakeTransport(Transport):
    """A transport without a stream: a test plays the network."""

    def __init__(self) -> None:
        self.local = self.remote = "fake"
        self.owner: TransportOwner | None = None
        self.written = bytearray()
        self.in_flight = 0
        self.is_paused = False
        self.closing: dict[str, object] | None = None
        self.is_aborted = False
        self.is_lost = False
        self.waiters = trio.lowlevel.ParkingLot()

    def set_owner(self, owner: TransportOwner) -> None:
        self.owner = owner

    @property
    def backlog(self) -> int:
        return self.in_flight

    def write(self, data: bytes) -> None:
        self.written += data
        self.in_flight += len(data)

    async def wait_backlog(self, limit: int) -> None:
        await self.waiters.park()

    def wake_waiters(self) -> None:
        self.waiters.unpark_all()

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def close(self, *, timeout: float, linger: float, shutdown: bool) -> None:
        self.closing = {"timeout": timeout, "linger": linger, "shutdown": shutdown}

    def abort(self) -> None:
        self.is_aborted = True
        # A transport never tells anything from inside one of its own methods.
        trio.lowlevel.current_trio_token().run_sync_soon(self.lose)

    def lose(self, error: Exception | None = None) -> None:
        """Tell that the connection is lost; only the first call counts."""
        assert self.owner is not None
        if not self.is_lost:
            self.is_lost = True
            self.owner.connection_lost(error)

    def is_reading(self) -> bool:
        """Whether reading is not paused."""
        return not self.is_paused

    def is_closing(self) -> bool:
        """Whether it was told to close."""
        return self.closing is not None

    def take_written(self) -> bytes:
        """What was written since the last call."""
        data = bytes(self.written)
        self.written.clear()
        return data


def make_link(role: Role = Role.SERVER, **options: Any) -> tuple[Link, FakeTransport]:
    """A link over a transport that a test plays; every mask is `MASK`."""
    transport = FakeTransport()
    link = Link(transport, Session(role, random_bytes=lambda size: MASK[:size]), ConnectionOptions(**options))
    transport.set_owner(link)
    return link, transport


def from_client(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame as a client sends it."""
    return frame(opcode, payload, fin=fin, mask=MASK)
