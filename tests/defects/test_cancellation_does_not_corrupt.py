"""A cancelled call has done nothing or all of it, and leaves a connection that works or says that it is closed.

WebSocket libraries have left half a frame on the wire and called the connection open; have sent what was cancelled; have lost
what was being received; have broken Trio's stack of cancel scopes, and hung in it.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio
import trio.testing
from hostile import dial_in_memory, exchange, reset
from support import (
    BINARY,
    CLOSE,
    CONT,
    HOST,
    PING,
    PONG,
    TEXT,
    RawPeer,
    client_of_raw_peer,
    raw_client,
    raw_server,
    response_head,
    server_of_raw_peer,
    serving,
    url_of,
)

from trio_websocket import (
    ConnectionClosed,
    ConnectionTimeout,
    WebSocketConnection,
    WebSocketRequest,
    open_websocket,
    open_websocket_url,
)

# ------------------------------------------------------------------------------------------------------- sending

Ends = AbstractAsyncContextManager[tuple[WebSocketConnection, RawPeer]]


@asynccontextmanager
async def client_over_tcp() -> AsyncIterator[tuple[WebSocketConnection, RawPeer]]:
    """A client of ours, and a raw server, which reads when the test does."""
    put, get = trio.open_memory_channel[RawPeer](1)

    async def keep(peer: RawPeer) -> None:
        put.send_nowait(peer)
        await trio.sleep_forever()

    async with raw_server(keep) as port, open_websocket(HOST, port, "/", use_ssl=False) as ws:
        peer = await get.receive()
        yield ws, peer
        await peer.send_close()
        await peer.stream.aclose()


@asynccontextmanager
async def server_over_tcp() -> AsyncIterator[tuple[WebSocketConnection, RawPeer]]:
    """A server's connection of ours, and a raw client, which reads when the test does."""
    put, get = trio.open_memory_channel[WebSocketConnection](1)

    async def keep(request: WebSocketRequest) -> None:
        put.send_nowait(await request.accept())
        await trio.sleep_forever()

    async with serving(keep) as server:
        peer = await raw_client(server)
        yield await get.receive(), peer
        reset(peer.stream)


async def read_some(peer: RawPeer, size: int) -> None:
    """Let the peer take so many bytes from the wire, and no more."""
    while size > 0:
        data = await peer.stream.receive_some(min(size, 65536))
        peer.buffer += data
        size -= len(data)


@pytest.mark.slow
@pytest.mark.parametrize("connect", [client_over_tcp, server_over_tcp])
async def test_send_cancelled_in_the_middle_of_a_large_frame_tears_no_frame(
    connect: Callable[[], Ends],
) -> None:
    size = 20_000_000  # more than the kernel keeps for a peer that does not read
    with trio.fail_after(60):
        async with connect() as (ws, peer):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.send_message, b"1" * size)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(ws.send_message, b"2" * size)
                await read_some(peer, 1_000_000)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            assert ws.closed is None
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.send_message, b"3")
                first = await peer.read_frame()
                second = await peer.read_frame()
            assert (first.fin, first.opcode, len(first.payload)) == (True, BINARY, size)
            assert first.payload.count(b"1") == size
            assert second == (True, BINARY, b"3")


@pytest.mark.slow
@pytest.mark.parametrize("connect", [client_over_tcp, server_over_tcp])
@pytest.mark.parametrize("seed", range(3))
async def test_sends_cancelled_anywhere_are_on_the_wire_whole_or_not_at_all(
    connect: Callable[[], Ends], seed: int
) -> None:
    chance = random.Random(seed)
    done: list[int] = []

    async def send(ws: WebSocketConnection, number: int, scope: trio.CancelScope) -> None:
        with scope:
            await ws.send_message(number.to_bytes(2, "big") + bytes(chance.choice([10, 70_000, 900_000])))
            done.append(number)

    async def send_and_cancel(ws: WebSocketConnection) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(60):
                scope = trio.CancelScope()
                nursery.start_soon(send, ws, number, scope)
                for _ in range(chance.randrange(4)):
                    await trio.lowlevel.checkpoint()
                if chance.random() < 0.6:
                    scope.cancel()
        await ws.send_message("the end")

    with trio.fail_after(60):
        async with connect() as (ws, peer), trio.open_nursery() as nursery:
            nursery.start_soon(send_and_cancel, ws)
            numbers = []
            while (frame := await peer.read_frame()).opcode != TEXT:
                assert (frame.fin, frame.opcode, len(frame.payload) in (12, 70_002, 900_002)) == (
                    True,
                    BINARY,
                    True,
                )
                assert frame.payload.count(0, 2) == len(frame.payload) - 2
                numbers.append(int.from_bytes(frame.payload[:2], "big"))
    # What returned was sent, in that order; what was cancelled was not.
    assert numbers == done
    assert 0 < len(done) < 60


@pytest.mark.slow
async def test_send_cancelled_while_it_queues_behind_another_is_not_sent() -> None:
    async with server_over_tcp() as (ws, peer), trio.open_nursery() as nursery:
        await ws.send_message(bytes(20_000_000))
        nursery.start_soon(ws.send_message, "first in the queue")
        await trio.testing.wait_all_tasks_blocked()
        withdrawn = trio.CancelScope()
        nursery.start_soon(send_within, withdrawn, ws, "withdrawn")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ws.send_message, "last in the queue")
        await trio.testing.wait_all_tasks_blocked()
        withdrawn.cancel()
        assert len((await peer.read_frame()).payload) == 20_000_000
        assert (await peer.read_frame()).payload == b"first in the queue"
        assert (await peer.read_frame()).payload == b"last in the queue"


async def send_within(scope: trio.CancelScope, ws: WebSocketConnection, message: str) -> None:
    with scope:
        await ws.send_message(message)


# ----------------------------------------------------------------------------------------------------- receiving


async def test_receive_cancelled_between_fragments_leaves_the_connection_usable(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with client_of_raw_peer() as (ws, peer):
        await peer.send_frame(TEXT, b"in ", fin=False)
        for part in (b"several ", b"frag"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.get_message)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            await peer.send_frame(CONT, part, fin=False)
        await peer.send_frame(CONT, b"ments")
        await peer.send_frame(TEXT, b"and whole")
        assert [await ws.get_message(), await ws.get_message()] == ["in several fragments", "and whole"]
        await ws.send_message("thanks")
        assert (await peer.read_frame()).payload == b"thanks"


async def test_receive_cancelled_as_its_message_comes_loses_nothing(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with server_of_raw_peer() as (ws, peer):
        received: list[str | bytes] = []
        for steps in range(12):
            async with trio.open_nursery() as nursery:

                async def receive() -> None:
                    received.append(await ws.get_message())

                nursery.start_soon(receive)
                await trio.testing.wait_all_tasks_blocked()
                await peer.send_frame(TEXT, b"%d" % steps)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        while len(received) < 12:
            received.append(await ws.get_message())
        assert received == [str(number) for number in range(12)]


# --------------------------------------------------------------------------------------------------------- pings


async def test_cancelled_ping_can_be_repeated_with_its_payload(mock_clock: trio.testing.MockClock) -> None:
    async with client_of_raw_peer() as (ws, peer):
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.ping, b"same")
                assert await peer.read_frame() == (True, PING, b"same")
                nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.ping, b"same")
            await peer.read_frame()
            await peer.send_frame(PONG, b"same")


async def test_ping_ends_with_the_connection(mock_clock: trio.testing.MockClock) -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:

        async def ping() -> None:
            with pytest.raises(ConnectionClosed):
                await ws.ping()

        nursery.start_soon(ping)
        nursery.start_soon(ping)
        await peer.read_frame()
        await peer.stream.aclose()


async def test_ping_gets_its_pong_past_a_full_message_queue(mock_clock: trio.testing.MockClock) -> None:
    async with client_of_raw_peer(message_queue_size=1) as (ws, peer), trio.open_nursery() as nursery:
        for number in range(20):
            await peer.send_frame(TEXT, b"%d" % number)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            nursery.start_soon(ws.ping, b"through")
            assert await peer.read_frame() == (True, PING, b"through")
            await peer.send_frame(PONG, b"through")
        assert [await ws.get_message() for _ in range(20)] == [str(number) for number in range(20)]


# ------------------------------------------------------------------------------------------- the context manager


async def leave_by_break(url: str) -> None:
    while True:
        async with open_websocket_url(url) as ws:
            await exchange(ws)
            break


async def leave_by_return(url: str) -> str | bytes:
    async with open_websocket_url(url) as ws:
        await ws.send_message("x")
        return await ws.get_message()


async def leave_by_exception(url: str) -> None:
    async def fail() -> None:
        async with open_websocket_url(url) as ws:
            await exchange(ws)
            raise KeyError

    with pytest.raises(KeyError):
        await fail()


async def leave_by_timeout(url: str) -> None:
    async def wait() -> None:
        async with open_websocket_url(url) as ws:
            await exchange(ws)
            await ws.get_message()

    with pytest.raises(trio.TooSlowError), trio.fail_after(0.01):
        await wait()


async def leave_by_cancelling_around(url: str) -> None:
    with trio.CancelScope() as scope:
        async with open_websocket_url(url) as ws:
            await exchange(ws)
            scope.cancel()
            await ws.get_message()
    assert scope.cancelled_caught


async def leave_a_generator_behind(url: str) -> None:
    async def messages() -> AsyncIterator[str | bytes]:
        async with open_websocket_url(url) as ws:
            await ws.send_message("1")
            async for message in ws:
                yield message
                await ws.send_message("2")

    generator = messages()
    async for message in generator:
        if message == "2":
            break
    await generator.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "leave",
    [
        leave_by_break,
        leave_by_return,
        leave_by_exception,
        leave_by_timeout,
        leave_by_cancelling_around,
        leave_a_generator_behind,
    ],
)
async def test_cancel_scopes_are_intact_however_the_block_is_left(leave: Callable[[str], object]) -> None:
    async with serving() as server:
        with trio.CancelScope() as scope:
            for _ in range(3):
                await leave(url_of(server))  # type: ignore[misc]
                await trio.lowlevel.checkpoint()
        assert not scope.cancel_called
        # Still the innermost one, and it works.
        with trio.move_on_after(0) as scope:
            await trio.sleep_forever()
        assert scope.cancelled_caught


async def test_block_holds_no_cancel_scope_so_others_may_end_inside_of_it() -> None:
    async with serving() as server:
        block = open_websocket_url(url_of(server))
        with trio.CancelScope():
            ws = await block.__aenter__()
        # Trio refuses to leave a scope that was entered before another that is still open.
        await exchange(ws)
        with trio.CancelScope():
            await block.__aexit__(None, None, None)
        assert ws.closed is not None and ws.closed.code == 1000


@pytest.mark.parametrize("phase", ["connecting", "inside", "leaving"])
async def test_cancelled_block_does_not_hang_on_a_silent_peer(
    phase: str, mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = RawPeer(dial_in_memory(monkeypatch), is_client=False)
    async with trio.open_nursery() as nursery:

        async def use() -> None:
            async with open_websocket("test", 1, "/", use_ssl=False) as ws:
                if phase == "inside":
                    await ws.get_message()

        nursery.start_soon(use)
        request = await peer.read_head()
        if phase != "connecting":
            await peer.stream.send_all(response_head(request))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    # A cancelled block may still try to part decently, but not for long.
    assert trio.current_time() <= 2
    if phase != "connecting":
        assert (await peer.read_frame()).opcode == CLOSE
    with pytest.raises(EOFError):
        await peer.read(1)


async def test_timeout_around_the_block_is_not_taken_for_the_connections_own(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    dial_in_memory(monkeypatch)
    with pytest.raises(trio.TooSlowError) as caught, trio.fail_after(1):
        async with open_websocket("test", 1, "/", use_ssl=False, connect_timeout=5):
            pass
    assert not isinstance(caught.value, ConnectionTimeout)
    assert trio.current_time() == 1
