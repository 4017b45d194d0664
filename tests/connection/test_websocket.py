"""A connection as tasks see it, over each transport: what it is, sending, receiving."""

from __future__ import annotations

import contextlib

import pytest
import trio
import trio.testing
from fakes import FakeTransport, client_behind_valve, only_over_a_stream
from support import (
    BINARY,
    PING,
    PONG,
    TEXT,
    Frame,
    client_of_raw_peer,
    connected_pair,
    frame,
)

from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection
from trio_websocket._connection._link import Link
from trio_websocket._options import ConnectionOptions
from trio_websocket.protocol import Message, Role, Session
from trio_websocket.protocol._handshake import OpeningAnswer
from trio_websocket.testing import Stall

pytestmark = pytest.mark.usefixtures("transport")

settle = trio.testing.wait_all_tasks_blocked


# -------------------------------------------------------------------------------------------------------- what it is


async def test_both_ends_know_what_they_are() -> None:
    async with connected_pair() as (client, server):
        assert (client.is_client, client.is_server) == (True, False)
        assert (server.is_client, server.is_server) == (False, True)
        assert client.path == server.path == "/"
        assert client.closed is None
        assert isinstance(client.local, str)
        assert isinstance(client.remote, str)
        assert str(client).startswith("client-")
        assert str(server).startswith("server-")
        assert repr(server) == f"<WebSocketConnection {server} open>"
        assert client.subprotocol is None
        for ws in (client, server):
            assert isinstance(ws.handshake_headers, tuple)


async def test_connection_is_an_async_resource_that_its_block_closes() -> None:
    async with connected_pair() as (client, server):
        assert isinstance(client, trio.abc.AsyncResource)
        async with client:
            pass
        assert await server.wait_closed() == CloseReason(1000, None)


class Interrupt(BaseException):
    """No `Exception`, as KeyboardInterrupt is none."""


@pytest.mark.parametrize(
    ("error", "code"), [(None, 1000), (KeyError("x"), 1011), (Interrupt(), 1001), (trio.Cancelled, 1001)]
)
async def test_block_of_a_servers_end_tells_the_client_how_it_ended(
    error: BaseException | type[trio.Cancelled] | None, code: int
) -> None:
    async with connected_pair() as (client, server):
        with trio.CancelScope() as scope, contextlib.suppress(KeyError, Interrupt):
            async with server:
                if error is trio.Cancelled:
                    scope.cancel()
                    await trio.sleep_forever()
                elif isinstance(error, BaseException):
                    raise error
        assert scope.cancelled_caught == (error is trio.Cancelled)
        assert (await client.wait_closed()).code == code


async def test_block_of_a_clients_end_closes_with_1000_whatever_happens() -> None:
    async with connected_pair() as (client, server):
        with pytest.raises(KeyError):
            async with client:
                raise KeyError
        assert await server.wait_closed() == CloseReason(1000, None)


# ----------------------------------------------------------------------------------------------------------- sending


@pytest.mark.parametrize(
    ("message", "received"),
    [
        ("", ""),
        ("grüße \U0001f40d", "grüße \U0001f40d"),
        (b"", b""),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abc"), b"abc"),
        (memoryview(b"abcdef")[::2], b"ace"),
        (memoryview(b"abcdefgh").cast("I"), b"abcdefgh"),
        ("x" * 70_000, "x" * 70_000),
    ],
)
async def test_messages_arrive_as_they_were_sent(message: Message, received: str | bytes) -> None:
    async with connected_pair() as (client, server):
        for sender, receiver in ((client, server), (server, client)):
            await sender.send_message(message)
            got = await receiver.get_message()
            assert (type(got), got) == (type(received), received)


@only_over_a_stream
async def test_bytearray_may_change_once_it_was_sent() -> None:
    async with client_behind_valve() as (ws, peer, valve):
        await valve.inject(send=[Stall()])
        message = bytearray(b"before")
        await ws.send_message(message)
        message[:] = b"behind"
        valve.clear()
        assert await peer.read_frame() == Frame(True, BINARY, b"before")


@pytest.mark.parametrize("message", [None, 1, ["x"], {"a": 1}, "\ud800"])
async def test_what_is_no_message_is_refused_and_harms_nothing(message: object) -> None:
    async with connected_pair() as (client, server):
        with pytest.raises(ValueError, match=r"."):
            await client.send_message(message)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"."):
            client.send_message_nowait(message)  # type: ignore[arg-type]
        await client.send_message("fine")
        assert await server.get_message() == "fine"


@only_over_a_stream
async def test_what_cannot_be_sent_is_refused_without_waiting_for_room() -> None:
    async with client_behind_valve(write_backlog=10) as (ws, _, valve):
        await valve.inject(send=[Stall()])
        await ws.send_message(bytes(20))
        with pytest.raises(ValueError, match="not int"):
            await ws.send_message(1)  # type: ignore[arg-type]
        long, text = bytes(126), "not bytes"
        with trio.CancelScope() as scope:
            scope.cancel()
            for call in (ws.ping, ws.pong):
                with pytest.raises(ValueError, match="125"):
                    await call(long)
                with pytest.raises(TypeError, match="bytes-like"):
                    await call(text)  # type: ignore[arg-type]
        assert not scope.cancelled_caught


@only_over_a_stream
async def test_several_senders_are_served_in_the_order_in_which_they_came() -> None:
    async with client_behind_valve(write_backlog=1) as (ws, peer, valve):
        await valve.inject(send=[Stall()])
        await ws.send_message("0")
        async with trio.open_nursery() as nursery:
            for number in range(1, 6):
                nursery.start_soon(ws.send_message, str(number))
                await settle()
            assert len(nursery.child_tasks) == 5
            valve.clear()
            # Who comes while others wait stands behind them.
            await ws.send_message("6")
        assert [(await peer.read_frame()).payload for _ in range(7)] == [
            b"%d" % number for number in range(7)
        ]


@only_over_a_stream
async def test_sender_that_finds_room_does_not_overtake_one_that_was_promised_it() -> None:
    transport = FakeTransport()
    link = Link(transport, Session(Role.SERVER), ConnectionOptions(write_backlog=10))
    transport.set_owner(link)
    ws = WebSocketConnection(link, OpeningAnswer("/", ()))
    ws.send_message_nowait(bytes(20))
    transport.take_written()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ws.send_message, "first")
        await settle()
        # There is room again, and the first has not run yet.
        transport.in_flight = 0
        nursery.start_soon(ws.send_message, "second")
        with pytest.raises(trio.WouldBlock):
            ws.send_message_nowait("third")
        await settle()
        assert transport.take_written() == b""
        transport.wake_waiters()
    assert transport.take_written() == frame(TEXT, b"first") + frame(TEXT, b"second")


@only_over_a_stream
async def test_sender_waits_while_the_backlog_is_over_its_limit() -> None:
    async with client_behind_valve(write_backlog=1000) as (ws, _, valve):
        await valve.inject(send=[Stall()])
        await ws.send_message(bytes(900))
        await ws.send_message(bytes(900))
        with pytest.raises(trio.WouldBlock):
            ws.send_message_nowait("x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send_message, "x")
            await settle()
            assert len(nursery.child_tasks) == 1
            valve.clear()


@only_over_a_stream
async def test_send_nowait_sends_and_never_overtakes_a_waiting_sender() -> None:
    async with client_behind_valve(write_backlog=10) as (ws, peer, valve):
        ws.send_message_nowait("first")
        assert await peer.read_frame() == Frame(True, TEXT, b"first")
        await valve.inject(send=[Stall()])
        ws.send_message_nowait(bytes(20))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.send_message, "second")
            await settle()
            valve.clear()
            await peer.read_frame()
            with pytest.raises(trio.WouldBlock):
                ws.send_message_nowait("third")


@only_over_a_stream
async def test_cancelled_sender_that_waited_has_sent_nothing_and_lets_the_next_one_through() -> None:
    async with client_behind_valve(write_backlog=10) as (ws, peer, valve):
        await valve.inject(send=[Stall()])
        await ws.send_message(bytes(20))
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.001):
                await ws.send_message("withdrawn")
            nursery.start_soon(ws.send_message, "kept")
            await settle()
            valve.clear()
        assert await peer.read_frame() == Frame(True, BINARY, bytes(20))
        assert await peer.read_frame() == Frame(True, TEXT, b"kept")


@only_over_a_stream
async def test_sender_that_waits_hears_of_the_close() -> None:
    async with client_behind_valve(write_backlog=10) as (ws, peer, valve):
        await valve.inject(send=[Stall()])
        await ws.send_message(bytes(20))

        async def send() -> None:
            with pytest.raises(ConnectionClosed) as caught:
                await ws.send_message("x")
            assert caught.value.reason == CloseReason(1001, None)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(send)
            await settle()
            await peer.send_close(1001)


# --------------------------------------------------------------------------------------------------------- receiving


async def test_several_receivers_are_served_in_the_order_in_which_they_came() -> None:
    async with connected_pair() as (client, server):
        got: dict[int, str | bytes] = {}

        async def receive(number: int) -> None:
            got[number] = await server.get_message()

        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(receive, number)
                await settle()
            for number in range(4):
                await client.send_message(str(number))
        assert got == {number: str(number) for number in range(4)}


async def test_get_nowait_takes_what_is_there() -> None:
    async with connected_pair() as (client, server):
        with pytest.raises(trio.WouldBlock):
            server.get_message_nowait()
        await client.send_message("x")
        await settle()
        assert server.get_message_nowait() == "x"
        with pytest.raises(trio.WouldBlock):
            server.get_message_nowait()


@pytest.mark.parametrize("size", [0, 1, 3])
async def test_queue_holds_message_queue_size_messages_and_one_more(size: int) -> None:
    async with client_of_raw_peer(message_queue_size=size) as (ws, peer):
        # One is held beside the queue.
        for number in range(size + 1):
            await peer.send_frame(TEXT, str(number).encode())
        await peer.send_frame(PING, b"behind")
        await settle()
        with trio.move_on_after(0.001) as scope:
            await peer.read(1)
        assert scope.cancelled_caught
        assert await ws.get_message() == "0"
        assert await peer.read_frame() == Frame(True, PONG, b"behind")


async def test_ping_behind_one_unread_message_is_answered_and_a_close_behind_it_is_seen() -> None:
    async with client_of_raw_peer() as (ws, peer):
        await peer.send_frame(TEXT, b"unread")
        await peer.send_frame(PING, b"behind")
        assert await peer.read_frame() == Frame(True, PONG, b"behind")
        await peer.send_close(4000)
        assert await ws.wait_closed() == CloseReason(4000, None)
        assert await ws.get_message() == "unread"


async def test_cancelled_receiver_loses_no_message() -> None:
    async with connected_pair() as (client, server):
        with trio.move_on_after(0.001):
            await server.get_message()
        await client.send_message("1")
        await client.send_message("2")
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.get_message()
        assert [await server.get_message(), await server.get_message()] == ["1", "2"]


async def test_who_is_cancelled_already_does_not_learn_that_the_connection_is_closed() -> None:
    async with connected_pair() as (client, _):
        await client.aclose()
        for call in (
            lambda: client.send_message("x"),
            lambda: client.send_fragments(["x"]),
            client.get_message,
            client.ping,
            client.pong,
        ):
            with trio.move_on_after(0) as scope:
                await call()
            assert scope.cancelled_caught
            with pytest.raises(ConnectionClosed):
                await call()


async def test_what_was_queued_is_delivered_after_the_peer_closed() -> None:
    async with connected_pair(message_queue_size=10) as (client, server):
        for number in range(3):
            await client.send_message(str(number))
        await client.aclose(4000, "enough")
        assert await server.wait_closed() == CloseReason(4000, "enough")
        assert [await server.get_message(), server.get_message_nowait(), await server.get_message()] == list(
            "012"
        )
        for _ in range(2):
            with pytest.raises(ConnectionClosed) as caught:
                await server.get_message()
            assert caught.value.reason == CloseReason(4000, "enough")
            with pytest.raises(ConnectionClosed):
                server.get_message_nowait()


async def test_after_we_closed_receiving_fails_at_once() -> None:
    async with connected_pair(message_queue_size=10) as (client, server):
        await client.send_message("never received")
        await settle()
        await server.aclose()
        with pytest.raises(ConnectionClosed):
            await server.get_message()
        with pytest.raises(ConnectionClosed):
            server.get_message_nowait()


@pytest.mark.parametrize("code", [1000, 1001, 1005])
async def test_iteration_ends_quietly_on_a_normal_close(code: int) -> None:
    async with connected_pair() as (client, server):
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for number in range(3):
                    await client.send_message(str(number))
                await settle()
                await client.aclose(code)

            nursery.start_soon(send)
            assert [message async for message in server] == ["0", "1", "2"]
        assert server.closed == CloseReason(code, None)


@pytest.mark.parametrize("code", [1002, 1008, 1011, 3000, 4999])
async def test_iteration_raises_on_any_other_close(code: int) -> None:
    async with connected_pair() as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose, code)
            with pytest.raises(ConnectionClosed) as caught:
                async for _ in server:
                    pass
        assert caught.value.reason == CloseReason(code, None)


@pytest.mark.parametrize("code", [1000, 1001])
async def test_iteration_ends_quietly_after_our_own_close_that_the_peer_did_not_answer(code: int) -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose, code)
        await settle()
        await peer.stream.aclose()
        assert [message async for message in ws] == []
        assert await ws.wait_closed() == CloseReason(code, None)
        assert [message async for message in ws] == []
        with pytest.raises(ConnectionClosed) as caught:
            await ws.get_message()
        assert caught.value.__cause__ is not None


async def test_iteration_raises_if_the_connection_is_lost() -> None:
    async with client_of_raw_peer() as (ws, peer):
        await peer.stream.aclose()
        with pytest.raises(ConnectionClosed) as caught:
            async for _ in ws:
                pass
        assert caught.value.reason == CloseReason(1006, None)
        assert caught.value.__cause__ is not None


async def test_what_a_call_does_between_checkpoints_is_safe_from_ctrl_c() -> None:
    protected: list[bool] = []

    class Transport(FakeTransport):
        def write(self, data: bytes) -> None:
            protected.append(trio.lowlevel.currently_ki_protected())

        def can_read_in_person(self) -> bool:
            protected.append(trio.lowlevel.currently_ki_protected())
            return False

    link = Link(Transport(), Session(Role.SERVER), ConnectionOptions())
    ws = WebSocketConnection(link, OpeningAnswer("/", ()))
    assert not trio.lowlevel.currently_ki_protected()
    await ws.send_message("text")
    ws.send_message_nowait("text")
    await ws.pong()
    ws._pace.is_quiet = True
    with trio.move_on_after(0):
        await ws.get_message()
    assert protected == [True] * 4
