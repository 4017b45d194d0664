"""The transport over a plain socket: what it tells its owner."""

from __future__ import annotations

import logging
import select
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from fakes import Owner, PlainStream, SocketPair, over_socket, reset, tcp_pair, unix_pair, until

from trio_websocket._kernel import Buffer
from trio_websocket._transports import SocketTransport, StreamTransport, _poller, _socket, open_transport

settle = trio.testing.wait_all_tasks_blocked


@pytest.fixture(params=[unix_pair, tcp_pair], ids=["unix", "tcp"])
def pair(request: pytest.FixtureRequest) -> SocketPair:
    maker: SocketPair = request.param
    return maker


# ----------------------------------------------------------------------------------------------------- which it is


async def test_plain_socket_is_taken_out_of_its_stream() -> None:
    ours, theirs = trio.socket.socketpair()
    stream = trio.SocketStream(ours)
    # What a program has set for sockets of its own is not for ours: they must never block.
    socket.setdefaulttimeout(5)
    try:
        transport = open_transport(stream, 3)
    finally:
        socket.setdefaulttimeout(None)
    assert isinstance(transport, SocketTransport)
    assert transport._sock.gettimeout() == 0
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")
    owner = Owner()
    transport.set_owner(owner)
    await theirs.send(b"abcd")
    await settle()
    assert owner.told == [("data", b"abc"), ("data", b"d")]
    transport.abort()
    await owner.lost.wait()
    theirs.close()


@pytest.mark.parametrize("size", [2, 4])
async def test_what_has_come_already_is_told_at_once_if_it_is_expected(size: int) -> None:
    ours, theirs = unix_pair()
    theirs.send(b"abcd")
    transport, owner = SocketTransport(ours, receive_size=size), Owner()
    transport.expect_data()
    transport.set_owner(owner)
    assert owner.told == [("data", b"abcd"[:size])]
    await settle()
    theirs.send(b"e")
    await settle()
    assert owner.data == b"abcde"
    transport.abort()
    await owner.lost.wait()
    theirs.close()


async def test_expecting_what_has_not_come_is_to_wait_for_it() -> None:
    ours, theirs = unix_pair()
    transport, owner = SocketTransport(ours), Owner()
    transport.expect_data()
    transport.set_owner(owner)
    assert owner.told == []
    theirs.send(b"abc")
    theirs.close()
    await until(lambda: len(owner.told) == 2)
    assert owner.told == [("data", b"abc"), ("eof", None)]
    transport.abort()
    await owner.lost.wait()


async def test_reset_that_has_come_already_is_told_when_the_scheduler_turns() -> None:
    ours, theirs = tcp_pair()
    reset(theirs)
    await until(lambda: bool(select.select([ours], [], [], 0)[0]))
    transport, owner = SocketTransport(ours), Owner()
    transport.expect_data()
    transport.set_owner(owner)
    assert owner.told == []
    await owner.lost.wait()
    assert isinstance(owner.error, trio.BrokenResourceError)


async def test_ends_are_addresses() -> None:
    ours, theirs = tcp_pair()
    with theirs:
        port, peer_port = ours.getsockname()[1], ours.getpeername()[1]
        transport = open_transport(trio.SocketStream(trio.socket.from_stdlib_socket(ours)), None)
        assert str(transport.local) == f"ws://127.0.0.1:{port}"
        assert str(transport.remote) == f"ws://127.0.0.1:{peer_port}"
        transport.abort()


@pytest.mark.parametrize("why", ["not a socket", "not Trio's socket", "no poller", "closed"])
async def test_all_else_stays_a_stream(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = trio.socket.socketpair()
    stream: trio.abc.Stream = trio.SocketStream(ours)
    if why == "not a socket":
        stream = PlainStream(stream)
    elif why == "not Trio's socket":
        made_by_a_factory = type("Socket", (type(ours),), {})
        monkeypatch.setattr(ours, "__class__", made_by_a_factory)
    elif why == "no poller":
        monkeypatch.setattr(_poller, "select", SimpleNamespace())
    else:
        ours.close()
    assert isinstance(open_transport(stream, None), StreamTransport)
    ours.close()
    theirs.close()


# ---------------------------------------------------------------------------------------------------------- reading


async def test_what_comes_is_told_in_order_and_then_the_end(pair: SocketPair) -> None:
    async with over_socket(pair) as (_, owner, theirs):
        theirs.send(b"one")
        await until(lambda: owner.data == b"one")
        theirs.send(b"two")
        theirs.shutdown(socket.SHUT_WR)
        await until(lambda: ("eof", None) in owner.told)
        assert owner.told == [("data", b"one"), ("data", b"two"), ("eof", None)]


async def test_what_was_there_before_is_told(pair: SocketPair) -> None:
    ours, theirs = pair()
    theirs.send(b"early")
    theirs.shutdown(socket.SHUT_WR)
    async with over_socket(lambda: (ours, theirs)) as (_, owner, _theirs):
        await until(lambda: ("eof", None) in owner.told)
        assert owner.told == [("data", b"early"), ("eof", None)]


async def test_no_more_than_receive_size_is_asked_for_and_once_in_a_turn() -> None:
    turns: list[int] = []

    class Counting(Owner):
        def data_received(self, data: Buffer) -> None:
            super().data_received(data)
            turns.append(hub.turns.count)

    async with over_socket(owner=Counting(), receive_size=3) as (transport, owner, theirs):
        hub: Any = transport._hub
        theirs.send(b"abcdefgh")
        await settle()
        assert [data for _, data in owner.told] == [b"abc", b"def", b"gh"]
        assert len(set(turns)) == 3


async def test_nothing_is_read_while_reading_is_paused(pair: SocketPair) -> None:
    async with over_socket(pair) as (transport, owner, theirs):
        transport.pause_reading()
        theirs.send(b"abc")
        await until(lambda: transport._is_readable)
        await settle()
        assert owner.told == []
        transport.resume_reading()
        transport.resume_reading()
        # Never from inside one of the transport's own methods.
        assert owner.told == []
        await until(lambda: owner.data == b"abc")


async def test_pausing_and_resuming_at_once_loses_nothing() -> None:
    async with over_socket() as (transport, owner, theirs):
        for _ in range(2):
            transport.pause_reading()
            transport.resume_reading()
        theirs.send(b"abc")
        await settle()
        assert owner.data == b"abc"


async def test_owner_that_pauses_in_the_middle_gets_the_rest_later() -> None:
    class Pausing(Owner):
        def data_received(self, data: Buffer) -> None:
            super().data_received(data)
            transport.pause_reading()

    async with over_socket(owner=Pausing(), receive_size=2) as (transport, owner, theirs):
        theirs.send(b"abc")
        theirs.close()
        await settle()
        assert owner.told == [("data", b"ab")]
        transport.resume_reading()
        await settle()
        assert owner.told == [("data", b"ab"), ("data", b"c")]
        transport.resume_reading()
        await settle()
        assert owner.told[-1] == ("eof", None)


async def test_new_owner_is_told_from_then_on() -> None:
    async with over_socket() as (transport, first, theirs):
        theirs.send(b"one")
        await settle()
        second = Owner()
        transport.set_owner(second)
        theirs.send(b"two")
        await settle()
        assert (first.data, second.data) == (b"one", b"two")
        transport.set_owner(first)


@pytest.mark.parametrize("pair", [tcp_pair], ids=["tcp"])
async def test_reset_is_told_as_the_error(pair: SocketPair) -> None:
    async with over_socket(pair) as (_, owner, theirs):
        theirs.send(b"x")
        await until(lambda: owner.data == b"x")
        reset(theirs)
        await owner.lost.wait()
        assert isinstance(owner.error, trio.BrokenResourceError)
        assert isinstance(owner.error.__cause__, ConnectionResetError)


async def test_nothing_is_told_after_connection_lost() -> None:
    async with over_socket() as (transport, owner, theirs):
        theirs.send(b"too late")
        transport.abort()
        transport.abort()
        assert owner.told == []
        await settle()
        assert owner.told == [("lost", None)]


async def test_owner_that_would_read_on_when_all_is_over_is_told_no_more() -> None:
    class Resuming(Owner):
        def connection_lost(self, error: Exception | None) -> None:
            super().connection_lost(error)
            transport.resume_reading()

    async with over_socket(owner=Resuming()) as (transport, owner, theirs):
        transport.pause_reading()
        theirs.send(b"x")
        await settle()
        transport.abort()
        await owner.lost.wait()
        await settle()
        assert owner.told == [("lost", None)]


async def test_owner_may_abort_while_it_is_told() -> None:
    class Aborting(Owner):
        def data_received(self, data: Buffer) -> None:
            super().data_received(data)
            transport.abort()

    async with over_socket(owner=Aborting(), receive_size=2) as (transport, owner, theirs):
        theirs.send(b"abcdef")
        await owner.lost.wait()
        assert owner.told == [("data", b"ab"), ("lost", None)]


async def test_end_of_file_is_told_once_though_the_system_tells_it_again() -> None:
    async with over_socket(tcp_pair) as (transport, owner, theirs):
        theirs.shutdown(socket.SHUT_WR)
        await until(lambda: owner.told == [("eof", None)])
        # Now both directions have ended, which is news to the poller.
        transport.close(timeout=10, linger=0, shutdown=False)
        await settle()
    async with over_socket() as (transport, owner, theirs):
        theirs.shutdown(socket.SHUT_WR)
        await settle()
        theirs.close()
        await settle()
        transport.write(b"nobody takes it")
        await owner.lost.wait()
        assert [what for what, _ in owner.told] == ["eof", "lost"]


# ------------------------------------------------------------------------------------------------ large payloads


class Filling(Owner):
    """Awaits a large payload behind a head of four bytes, and has it written to where it belongs."""

    size = 200
    at_most = 60

    def __init__(self) -> None:
        super().__init__()
        self.left = 0
        self.fills: list[tuple[int, bytes]] = []
        self.hub: Any = None

    @property
    def is_filling(self) -> bool:
        return self.left > 0

    def data_received(self, data: Buffer) -> None:
        super().data_received(data)
        if bytes(data) == b"head":
            self.left = self.size

    def fill(self, receive: Callable[[memoryview], int]) -> int:
        room = memoryview(bytearray(min(self.left, self.at_most)))
        size = receive(room)
        self.left -= size
        self.fills.append((self.hub.turns.count, bytes(room[:size])))
        return size

    @property
    def filled(self) -> bytes:
        """What was written there."""
        return b"".join(data for _, data in self.fills)


@pytest.fixture
def small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_socket, "_LARGE_READ", 4)
    monkeypatch.setattr(_socket, "_TURN_SIZE", 100)


LARGE = bytes(range(200))


async def test_large_payload_goes_straight_to_where_it_belongs_some_of_it_in_each_turn(
    small_sizes: None,
) -> None:
    filling = Filling()
    async with over_socket(owner=filling, receive_size=4) as (transport, owner, theirs):
        filling.hub = transport._hub
        theirs.send(b"head" + LARGE[:190])
        await settle()
        assert filling.filled == LARGE[:190]
        sizes = [len(data) for _, data in filling.fills]
        assert sizes == [60, 60, 60, 10]
        first, second, third, fourth = [turn for turn, _ in filling.fills]
        assert first == second < third == fourth
        # The rest, and what stands behind it.
        theirs.send(LARGE[190:] + b"tail")
        await settle()
        assert filling.filled == LARGE
        assert owner.told == [("data", b"head"), ("data", b"tail")]


async def test_small_read_is_not_asked_for_more() -> None:
    filling = Filling()
    async with over_socket(owner=filling) as (_, owner, theirs):
        theirs.send(b"head")
        await settle()
        theirs.send(b"rest")
        await settle()
        # The kernel copies what is small faster than Python asks.
        assert [data for _, data in owner.told] == [b"head", b"rest"]
        assert filling.fills == []


async def test_end_in_the_middle_of_a_large_payload_is_told(small_sizes: None) -> None:
    filling = Filling()
    async with over_socket(owner=filling, receive_size=4) as (transport, owner, theirs):
        filling.hub = transport._hub
        theirs.send(b"head" + LARGE[:30])
        theirs.close()
        await settle()
        assert filling.filled == LARGE[:30]
        assert owner.told == [("data", b"head"), ("eof", None)]


@pytest.mark.parametrize("does", ["pause", "abort", "raise"])
async def test_owner_may_stop_behind_a_large_payload(
    does: str, small_sizes: None, caplog: pytest.LogCaptureFixture
) -> None:
    error = RuntimeError("ours")

    class Stopping(Filling):
        def fill(self, receive: Callable[[memoryview], int]) -> int:
            size = super().fill(receive)
            if not self.left:
                if does == "raise":
                    raise error
                transport.pause_reading() if does == "pause" else transport.abort()
            return size

    Stopping.size = 50
    filling = Stopping()
    async with over_socket(owner=filling, receive_size=4) as (transport, owner, theirs):
        filling.hub = transport._hub
        theirs.send(b"head" + LARGE[:50] + b"tail")
        await settle()
        if does == "pause":
            assert owner.told == [("data", b"head")]
            transport.resume_reading()
            await settle()
            assert owner.data == b"headtail"
        else:
            await owner.lost.wait()
            assert owner.error is (error if does == "raise" else None)
        assert filling.filled == LARGE[:50]
    assert len(caplog.records) == (does == "raise")


# ---------------------------------------------------------------------------------------- an error of the owner's


class Broken(Owner):
    """Raises when it is told one thing."""

    def __init__(self, told: str) -> None:
        super().__init__()
        self.bug = RuntimeError(f"a bug in {told}")
        self._broken = told

    def _tell(self, what: str) -> None:
        if what == self._broken:
            raise self.bug

    def data_received(self, data: Buffer) -> None:
        super().data_received(data)
        self._tell("data_received")

    def eof_received(self) -> None:
        super().eof_received()
        self._tell("eof_received")

    def backlog_drained(self) -> None:
        self._tell("backlog_drained")

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._tell("connection_lost")


@pytest.mark.parametrize("told", ["data_received", "eof_received", "backlog_drained", "connection_lost"])
async def test_error_of_an_owner_ends_its_connection_and_no_other(
    told: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken(told)
    async with over_socket() as (_, other, peer), over_socket(owner=broken) as (transport, _, theirs):
        for part in (b"a", b"b"):
            # Behind the first write of a turn, the rest waits for its end.
            transport.write(part)
        theirs.send(b"x")
        peer.send(b"before")
        await settle()
        if told in {"eof_received", "connection_lost"}:
            theirs.shutdown(socket.SHUT_WR)
            await settle()
        if told == "connection_lost":
            transport.abort()
        await broken.lost.wait()
        peer.send(b", after")
        await settle()
        assert other.data == b"before, after"
    assert broken.error is (None if told == "connection_lost" else broken.bug)
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is broken.bug
