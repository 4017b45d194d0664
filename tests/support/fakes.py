"""Streams, transports and owners that do what a test tells them to."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from support import HOST, MASK, RawPeer, frame, response_head

import trio_websocket
from trio_websocket import WebSocketConnection
from trio_websocket._connection._link import Link
from trio_websocket._kernel import Buffer
from trio_websocket._options import ConnectionOptions
from trio_websocket._transports import SocketTransport, StreamTransport, Transport, TransportOwner
from trio_websocket.protocol import Role, Session
from trio_websocket.testing import FaultyStream


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


# For tests that play the network themselves, in a module that runs over each transport.
only_over_a_stream = pytest.mark.parametrize("transport", ["stream"], indirect=True)


@asynccontextmanager
async def client_behind_valve(
    **options: Any,
) -> AsyncIterator[tuple[WebSocketConnection, RawPeer, FaultyStream]]:
    """A client of ours, connected in memory with a raw server over a valve, which is open at first."""
    ours, theirs = trio.testing.memory_stream_pair()
    valve = FaultyStream(ours)
    peer = RawPeer(theirs, is_client=False)
    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            await theirs.send_all(response_head(await peer.read_head()))

        nursery.start_soon(answer)
        yield await trio_websocket.wrap_client_stream(nursery, valve, "test", "/", **options), peer, valve
        valve.clear()
        await theirs.aclose()
        nursery.cancel_scope.cancel()


class Owner:
    """Notes all that a transport tells."""

    intake = None

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self.lost = trio.Event()

    @property
    def is_filling(self) -> bool:
        return False

    def fill(self, receive: Callable[[memoryview], int]) -> int:
        raise NotImplementedError

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
    await _check_end(transport, owner)


async def _check_end(transport: Transport, owner: Owner) -> None:
    await trio.testing.wait_all_tasks_blocked()
    assert transport.backlog == 0
    told = [what for what, _ in owner.told]
    assert (told.count("lost"), told[-1]) == (1, "lost")
    assert told.count("eof") <= 1


SocketPair = Callable[[], tuple[socket.socket, socket.socket]]


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets that never block: what one sends, the other can receive at once."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def narrow_pair() -> tuple[socket.socket, socket.socket]:
    """As `unix_pair`, with room for a few kilobytes only."""
    ours, theirs = unix_pair()
    for each in (ours, theirs):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the system's least
    return ours, theirs


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """As `unix_pair`, over the loopback interface: what is sent may take its time."""
    with socket.create_server((HOST, 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


def reset(sock: socket.socket) -> None:
    """Close a TCP socket so that the other end sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@asynccontextmanager
async def over_socket(
    pair: SocketPair = unix_pair, *, owner: Owner | None = None, receive_size: int | None = None
) -> AsyncIterator[tuple[SocketTransport, Owner, socket.socket]]:
    """A transport over one end of a pair of sockets, its owner, and the other end.

    At the end of the block it is gone, was told so just once, and if it was the only one, no task is left of the hub.
    """
    tasks = trio.lowlevel.current_statistics().tasks_living
    ours, theirs = pair()
    owner = Owner() if owner is None else owner
    transport = SocketTransport(ours, receive_size=receive_size)
    transport.set_owner(owner)
    with theirs:
        yield transport, owner, theirs
        transport.abort()
        await owner.lost.wait()
        await _check_end(transport, owner)
    assert ours.fileno() == -1
    assert trio.lowlevel.current_statistics().tasks_living <= tasks


def receive(sock: socket.socket) -> bytes:
    """What is there, up to the end."""
    received = bytearray()
    try:
        while data := sock.recv(1 << 20):
            received += data
    except BlockingIOError:
        pass
    return bytes(received)


def stuff(sock: socket.socket) -> int:
    """Send until the system takes no more; how much it took."""
    taken = 0
    try:
        while True:
            taken += sock.send(b"~" * 4096)
    except BlockingIOError:
        return taken


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until then: for what a network brings in its own time."""
    while not condition():
        await trio.lowlevel.checkpoint()


class FakeTransport(Transport):
    """A transport without a stream: a test plays the network."""

    local = remote = "fake"
    is_paused = False

    def __init__(self) -> None:
        self.owner: TransportOwner | None = None
        self.written = bytearray()
        self.in_flight = 0
        self.is_alive = False
        self.closing: dict[str, object] | None = None
        self.is_aborted = False
        self.is_lost = False
        self.waiters = trio.lowlevel.ParkingLot()

    def set_owner(self, owner: TransportOwner) -> None:
        assert not self.is_lost
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

    def take_sign_of_life(self) -> bool:
        is_alive, self.is_alive = self.is_alive, False
        return is_alive

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
