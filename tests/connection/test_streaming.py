"""Messages that are sent and received in parts."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest
import trio
import trio.testing
from support import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Frame,
    RawPeer,
    client_of_raw_peer,
    connected_pair,
    server_of_raw_peer,
)

from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection
from trio_websocket._connection._streaming import MessageParts
from trio_websocket._transports import CALLS_A_TURN

pytestmark = pytest.mark.usefixtures("transport")

LIMITS = {"max_message_size": 10, "max_streamed_size": 20}

BROKEN_OFF = CloseReason(1011, "fragmented message broken off")
BROKEN_OFF_FRAME = Frame(True, CLOSE, b"\x03\xf3fragmented message broken off")


async def slowly(parts: Iterable[Any]) -> AsyncIterator[Any]:
    """The parts, each when all tasks wait."""
    for part in parts:
        await trio.testing.wait_all_tasks_blocked()
        yield part


async def receive_in_parts(ws: WebSocketConnection) -> list[str | bytes]:
    async with ws.receive_fragments() as parts:
        return [part async for part in parts]


async def frames_of(peer: RawPeer, count: int) -> list[Frame]:
    return [await peer.read_frame() for _ in range(count)]


# ------------------------------------------------------------------------------------------------------------ sending


@pytest.mark.parametrize("make", [iter, list, slowly], ids=["iterator", "list", "async"])
@pytest.mark.parametrize(
    ("opcode", "parts"),
    [(TEXT, ["Hel", "", "lö"]), (BINARY, [b"a", bytearray(b"b"), memoryview(b"cd").cast("H")])],
    ids=["text", "binary"],
)
async def test_each_part_is_a_frame_and_an_empty_one_ends_them(
    make: Callable[[Any], Any], opcode: int, parts: list[Any]
) -> None:
    async with server_of_raw_peer() as (ws, peer):
        await ws.send_fragments(make(parts))
        payloads = [part.encode() if isinstance(part, str) else bytes(part) for part in parts]
        first, *others = payloads
        wanted = [Frame(False, opcode, first), *(Frame(False, CONT, each) for each in others)]
        assert await frames_of(peer, 4) == [*wanted, Frame(True, CONT, b"")]


async def test_a_part_is_sent_when_it_is_there() -> None:
    give, take = trio.open_memory_channel[str](0)
    async with server_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.send_fragments, take)
        for number, part in enumerate(["one", "two"]):
            await give.send(part)
            opcode = CONT if number else TEXT
            assert await peer.read_frame() == Frame(False, opcode, part.encode())
        await give.aclose()
        assert await peer.read_frame() == Frame(True, CONT, b"")


@pytest.mark.parametrize(
    "part", ["é" * 150_000, b"x" * 150_000, memoryview(b"x" * 150_000)], ids=["text", "bytes", "view"]
)
async def test_a_large_part_is_cut(part: Any) -> None:
    async with server_of_raw_peer(write_backlog=2**20) as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.send_fragments, [part])
        frames = await frames_of(peer, 4)
        assert [len(each.payload) // (2 if isinstance(part, str) else 1) for each in frames] == [
            65536,
            65536,
            18928,
            0,
        ]
        payload = b"".join(each.payload for each in frames)
        assert payload == (part.encode() if isinstance(part, str) else bytes(part))


async def test_messages_wait_for_the_last_part_and_control_frames_do_not() -> None:
    give, take = trio.open_memory_channel[str](0)
    async with server_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.send_fragments, take)
        await give.send("one")
        await trio.testing.wait_all_tasks_blocked()
        for message in ("first", "second"):
            nursery.start_soon(ws.send_message, message)
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ws.send_fragments, ["third"])
        with pytest.raises(trio.WouldBlock):
            ws.send_message_nowait("now")
        await ws.pong(b"unasked")
        await peer.send_frame(PING, b"asked")
        assert await frames_of(peer, 3) == [
            Frame(False, TEXT, b"one"),
            Frame(True, PONG, b"unasked"),
            Frame(True, PONG, b"asked"),
        ]
        await give.send("two")
        await give.aclose()
        assert await frames_of(peer, 6) == [
            Frame(False, CONT, b"two"),
            Frame(True, CONT, b""),
            Frame(True, TEXT, b"first"),
            Frame(True, TEXT, b"second"),
            Frame(False, TEXT, b"third"),
            Frame(True, CONT, b""),
        ]
    await trio.testing.wait_all_tasks_blocked()


async def test_before_the_first_part_nobody_waits() -> None:
    give, take = trio.open_memory_channel[str](0)
    async with server_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.send_fragments, take)
        await trio.testing.wait_all_tasks_blocked()
        ws.send_message_nowait("before")
        assert await peer.read_frame() == Frame(True, TEXT, b"before")
        nursery.cancel_scope.cancel()
        await give.aclose()


async def test_each_part_waits_for_a_peer_that_does_not_read() -> None:
    taken = 0

    def many() -> Iterable[bytes]:
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield bytes(10_000)

    options = {"write_backlog": 10_000, "max_message_size": 1, "max_streamed_size": 10**6}
    async with connected_pair(is_tight=True, **options) as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(client.send_fragments, many())
        await trio.testing.wait_all_tasks_blocked()
        assert taken < 90
        assert sum(map(len, await receive_in_parts(server))) == 1_000_000


@pytest.mark.parametrize("parts", ["text", b"bytes", bytearray(b"bytes"), memoryview(b"bytes")])
async def test_one_message_is_not_taken_for_its_parts(parts: Any) -> None:
    async with connected_pair() as (client, _):
        with pytest.raises(ValueError, match=f"not one {type(parts).__name__}"):
            await client.send_fragments(parts)


@pytest.mark.parametrize(
    ("parts", "error", "text"),
    [
        ([], ValueError, "no fragments"),
        ([5], ValueError, "a message is str, bytes, bytearray or memoryview, not int"),
        (["\ud800"], ValueError, "surrogates"),
        (5, TypeError, "not iterable"),
    ],
)
async def test_what_goes_wrong_before_the_first_part_is_sent_changes_nothing(
    parts: Any, error: type[Exception], text: str
) -> None:
    async with connected_pair() as (client, server):
        with pytest.raises(error, match=text):
            await client.send_fragments(parts)
        client.send_message_nowait("still open")
        assert await server.get_message() == "still open"


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (["one", b"two"], "all fragments of a message must be str, or all must be bytes"),
        (["one", None], "not NoneType"),
        (["one", "\ud800"], "surrogates"),
    ],
)
async def test_a_wrong_part_ends_the_connection(parts: Any, text: str) -> None:
    async with server_of_raw_peer() as (ws, peer):
        with pytest.raises(ValueError, match=text):
            await ws.send_fragments(parts)
        assert await frames_of(peer, 2) == [Frame(False, TEXT, b"one"), BROKEN_OFF_FRAME]
        assert ws.closed == BROKEN_OFF


async def test_whatever_the_callers_iterable_raises_passes_and_ends_the_connection() -> None:
    raised = RuntimeError("no more")

    def failing() -> Iterable[str]:
        yield "one"
        raise raised

    async with server_of_raw_peer() as (ws, peer):
        with pytest.raises(RuntimeError) as caught:
            await ws.send_fragments(failing())
        assert caught.value is raised
        assert await frames_of(peer, 2) == [Frame(False, TEXT, b"one"), BROKEN_OFF_FRAME]
        # At once: nobody waits for an answer.
        assert await peer.read_to_end() == b""
        assert ws.closed == BROKEN_OFF


async def test_cancelled_half_way_the_connection_ends_and_all_who_wait_know() -> None:
    give, take = trio.open_memory_channel[str](0)
    async with server_of_raw_peer() as (ws, peer):
        failed: list[CloseReason | None] = []

        async def expect_closed(call: Callable[..., Any], *args: Any) -> None:
            with pytest.raises(ConnectionClosed) as caught:
                await call(*args)
            failed.append(caught.value.reason)

        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as inner:
                    inner.start_soon(ws.send_fragments, take)
                    await give.send("one")
                    await trio.testing.wait_all_tasks_blocked()
                    nursery.start_soon(expect_closed, ws.send_message, "waiting")
                    nursery.start_soon(expect_closed, ws.get_message)
                    nursery.start_soon(expect_closed, receive_in_parts, ws)
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()
            assert scope.cancelled_caught
        assert failed == [BROKEN_OFF] * 3
        assert await frames_of(peer, 2) == [Frame(False, TEXT, b"one"), BROKEN_OFF_FRAME]
    await give.aclose()


@pytest.mark.parametrize("is_last", [False, True])
async def test_a_connection_that_closes_meanwhile_is_found_at_the_next_part(is_last: bool) -> None:
    async def parts() -> AsyncIterator[str]:
        yield "one"
        await peer.send_close(1000)
        await trio.testing.wait_all_tasks_blocked()
        if not is_last:
            yield "two"

    async with server_of_raw_peer() as (ws, peer):
        with pytest.raises(ConnectionClosed) as caught:
            await ws.send_fragments(parts())
        assert caught.value.reason == CloseReason(1000, None)
        with pytest.raises(ConnectionClosed):
            await ws.send_fragments(["more"])


async def test_small_parts_take_turns_with_other_tasks() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with connected_pair(write_backlog=2**30) as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(receive_in_parts, server)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(count)
        await client.send_fragments(["x"] * 20 * CALLS_A_TURN)
        assert turns >= 10
        nursery.cancel_scope.cancel()


# ---------------------------------------------------------------------------------------------------------- receiving


async def test_parts_come_as_they_come() -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.send_frame, TEXT, b"")
        assert await receive_in_parts(ws) == [""]
        await peer.send_frame(TEXT, b"wh\xc3", fin=False)
        async with ws.receive_fragments() as parts:
            assert await anext(parts) == "wh"
            await peer.send_frame(PING)
            await peer.send_frame(CONT, b"\xb6l", fin=False)
            assert await anext(parts) == "öl"
            assert await peer.read_frame() == Frame(True, PONG, b"")
            await peer.send_frame(CONT, b"e")
            assert [part async for part in parts] == ["e"]
            with pytest.raises(StopAsyncIteration):
                await anext(parts)


async def test_what_has_come_of_a_message_is_given_first() -> None:
    async with client_of_raw_peer() as (ws, peer):
        await peer.send_frame(BINARY, b"one", fin=False)
        await peer.send_frame(CONT, b"two", fin=False)
        await trio.testing.wait_all_tasks_blocked()
        async with ws.receive_fragments() as parts:
            assert await anext(parts) == b"onetwo"
            await peer.send_frame(CONT, b"")
            assert [part async for part in parts] == []


async def test_a_message_that_is_whole_is_one_part() -> None:
    async with connected_pair(message_queue_size=3) as (client, server):
        for message in ("text", b"bytes", ""):
            await client.send_message(message)
        await trio.testing.wait_all_tasks_blocked()
        assert [await receive_in_parts(server) for _ in range(3)] == [["text"], [b"bytes"], [""]]


async def test_whole_messages_taken_in_parts_leave_the_queue_as_it_was() -> None:
    async with connected_pair(message_queue_size=9, message_queue_bytes=1000) as (client, server):
        for _ in range(3):
            await client.send_message(bytes(1000))
            assert await receive_in_parts(server) == [bytes(1000)]
        for _ in range(3):
            await client.send_message(bytes(1000))
        await trio.testing.wait_all_tasks_blocked()
        assert len(server._link.inbox.messages) == 1


async def test_receivers_of_both_kinds_are_served_in_the_order_in_which_they_came() -> None:
    got: dict[int, Any] = {}

    async def receive(number: int, call: Callable[[WebSocketConnection], Any]) -> None:
        got[number] = await call(ws)

    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        calls = [
            WebSocketConnection.get_message,
            receive_in_parts,
            WebSocketConnection.get_message,
            receive_in_parts,
        ]
        for number, call in enumerate(calls):
            nursery.start_soon(receive, number, call)
            await trio.testing.wait_all_tasks_blocked()
        for number in range(4):
            for opcode, fin in ((TEXT, False), (CONT, True)):
                await peer.send_frame(opcode, b"%d" % number, fin=fin)
                await trio.testing.wait_all_tasks_blocked()
    assert got == {0: "00", 1: ["1", "1"], 2: "22", 3: ["3", "3"]}


async def test_while_a_message_is_taken_in_parts_others_wait_for_the_next() -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        await peer.send_frame(TEXT, b"a", fin=False)
        async with ws.receive_fragments() as parts:
            assert await anext(parts) == "a"
            got: list[Any] = []

            async def receive() -> None:
                got.append(await receive_in_parts(ws))

            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            await peer.send_frame(CONT, b"b")
            await peer.send_frame(TEXT, b"c", fin=False)
            await trio.testing.wait_all_tasks_blocked()
            await peer.send_frame(CONT, b"d")
            await trio.testing.wait_all_tasks_blocked()
            assert got == [["c", "d"]]
            assert [part async for part in parts] == ["b"]


async def test_a_message_of_any_size_passes_in_bounded_memory(transport: str) -> None:
    size, chunk = 5_000_000, bytes(50_000)
    options = {"max_streamed_size": size, "message_queue_bytes": 100_000}
    is_tight = transport == "stream"  # memory has no bound of its own

    async with (
        connected_pair(is_tight=is_tight, **options) as (client, server),
        trio.open_nursery() as nursery,
    ):
        tracemalloc.start()
        try:
            nursery.start_soon(client.send_fragments, (chunk for _ in range(size // len(chunk))))
            received = 0
            async with server.receive_fragments() as parts:
                async for part in parts:
                    received += len(part)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert received == size
        assert peak < 2_000_000


@pytest.mark.slow
async def test_a_peer_is_slowed_down_to_who_takes_the_parts() -> None:
    async with connected_pair(is_tight=True, message_queue_bytes=1, write_backlog=1) as (client, server):
        sent = 0

        def parts() -> Iterable[bytes]:
            nonlocal sent
            for _ in range(500):
                sent += 1
                yield bytes(1000)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_fragments, parts())
            async with server.receive_fragments() as received:
                await trio.testing.wait_all_tasks_blocked()
                before = sent
                assert before < 400
                total = len(await anext(received))
                await trio.testing.wait_all_tasks_blocked()
                async for part in received:
                    total += len(part)
        assert total == 500_000


# ---------------------------------------------------------------------------------------------------------- leaving


@pytest.mark.parametrize("is_whole", [False, True])
async def test_after_leaving_early_the_next_message_is_the_next(is_whole: bool) -> None:
    async with client_of_raw_peer() as (ws, peer):
        await peer.send_frame(BINARY, b"a", fin=False)
        async with ws.receive_fragments() as parts:
            if is_whole:
                await peer.send_frame(CONT, b"b")
                await trio.testing.wait_all_tasks_blocked()
            assert await anext(parts) == b"a"
        if not is_whole:
            await peer.send_frame(CONT, b"b")
        with pytest.raises(trio.ClosedResourceError, match="the block that received this message was left"):
            await anext(parts)
        await peer.send_frame(BINARY, b"next")
        assert await ws.get_message() == b"next"


@pytest.mark.slow
async def test_a_message_that_was_left_is_dropped_while_nobody_waits() -> None:
    async with connected_pair(message_queue_bytes=1, write_backlog=1, is_tight=True) as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_fragments, (bytes(1000) for _ in range(500)))
            async with server.receive_fragments():
                pass
        # The sender is done, though nobody has received anything.
        await client.send_message("next")
        assert await server.get_message() == "next"


async def test_what_was_left_and_is_wrong_still_ends_the_connection(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with client_of_raw_peer() as (ws, peer):
        await peer.send_frame(TEXT, b"a", fin=False)
        async with ws.receive_fragments():
            pass
        await peer.send_frame(CONT, b"\xff")
        assert (await ws.wait_closed()).code == 1007


async def test_cancelling_for_a_part_loses_nothing() -> None:
    async with client_of_raw_peer() as (ws, peer):
        await peer.send_frame(TEXT, b"a", fin=False)
        async with ws.receive_fragments() as parts:
            assert await anext(parts) == "a"
            with trio.CancelScope() as scope:
                scope.cancel()
                await anext(parts)
            await peer.send_frame(CONT, b"b")
            assert [part async for part in parts] == ["b"]


async def test_cancelling_while_waiting_to_enter_loses_nothing() -> None:
    async with client_of_raw_peer() as (ws, peer):
        for _ in range(2):
            with trio.move_on_after(0):
                await receive_in_parts(ws)
        await peer.send_frame(TEXT, b"a", fin=False)
        await peer.send_frame(CONT, b"b")
        assert await ws.get_message() == "ab"


async def test_a_part_is_for_one_task() -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        await peer.send_frame(TEXT, b"a", fin=False)
        async with ws.receive_fragments() as parts:
            assert await anext(parts) == "a"

            async def take() -> None:
                assert await anext(parts) == "b"

            nursery.start_soon(take)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await anext(parts)
            await peer.send_frame(CONT, b"b")
            await trio.testing.wait_all_tasks_blocked()


async def test_a_block_is_for_one_message() -> None:
    async with connected_pair() as (client, server):
        await client.send_message("one")
        block = server.receive_fragments()
        async with block as parts:
            assert isinstance(parts, MessageParts)
        with pytest.raises(RuntimeError, match="has to be called for each message"):
            async with block:
                pass


# ------------------------------------------------------------------------------------------------------------- closes


async def test_what_came_before_the_end_is_given_first() -> None:
    async with client_of_raw_peer() as (ws, peer):
        await peer.send_frame(TEXT, b"a", fin=False)
        async with ws.receive_fragments() as parts:
            await peer.send_frame(CONT, b"b", fin=False)
            await peer.stream.aclose()
            await trio.testing.wait_all_tasks_blocked()
            assert [await anext(parts), await anext(parts)] == ["a", "b"]
            for _ in range(2):
                with pytest.raises(ConnectionClosed) as caught:
                    await anext(parts)
                assert caught.value.reason == CloseReason(1006, None)
        with pytest.raises(ConnectionClosed):
            await receive_in_parts(ws)


async def test_whoever_waits_for_a_part_wakes_when_the_connection_ends() -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        await peer.send_frame(TEXT, b"a", fin=False)
        async with ws.receive_fragments() as parts:
            assert await anext(parts) == "a"

            async def wait() -> None:
                with pytest.raises(ConnectionClosed) as caught:
                    await anext(parts)
                assert caught.value.reason == CloseReason(4000, None)

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ws.aclose, 4000)
            await trio.testing.wait_all_tasks_blocked()
            # What still comes of the message is dropped.
            await peer.send_frame(CONT, b"b")
            await peer.send_close(4000)
            await peer.stream.aclose()


# ------------------------------------------------------------------------------------------------------------- limits


async def test_a_message_over_the_limit_waits_for_a_receiver_in_parts() -> None:
    async with client_of_raw_peer(**LIMITS) as (ws, peer):
        await peer.send_frame(TEXT, b"first")
        await peer.send_frame(TEXT, b"x" * 15)
        await peer.send_frame(PING, b"behind")
        await trio.testing.wait_all_tasks_blocked()
        assert ws.closed is None
        assert await ws.get_message() == "first"
        await trio.testing.wait_all_tasks_blocked()
        assert await receive_in_parts(ws) == ["x" * 15]
        assert await peer.read_frame() == Frame(True, PONG, b"behind")


async def test_a_fragmented_message_over_the_limit_is_given_from_its_beginning() -> None:
    async with client_of_raw_peer(**LIMITS) as (ws, peer):
        await peer.send_frame(BINARY, b"x" * 8, fin=False)
        await peer.send_frame(CONT, b"y" * 8)
        await trio.testing.wait_all_tasks_blocked()
        assert b"".join(await receive_in_parts(ws)) == b"x" * 8 + b"y" * 8  # type: ignore[arg-type]


async def test_a_receiver_in_parts_that_waits_gets_a_message_over_the_limit() -> None:
    async with (
        client_of_raw_peer(**LIMITS) as (ws, peer),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(peer.send_frame, TEXT, b"x" * 20)
        assert "".join(map(str, await receive_in_parts(ws))) == "x" * 20


@pytest.mark.parametrize("when", ["before", "after", "nowait", "in person"])
async def test_a_receiver_of_whole_messages_ends_the_connection_for_one_over_the_limit(when: str) -> None:
    async with (
        client_of_raw_peer(**LIMITS) as (ws, peer),
        trio.open_nursery() as nursery,
    ):

        async def receive() -> None:
            with pytest.raises(ConnectionClosed) as caught:
                await ws.get_message()
            assert caught.value.reason == CloseReason(1009, "message of 11 bytes exceeds max_message_size=10")

        if when == "before":
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
        await peer.send_frame(TEXT, b"x" * 11)
        await trio.testing.wait_all_tasks_blocked()
        if when == "after":
            assert ws.closed is None
            with trio.CancelScope() as scope:
                scope.cancel()
                await ws.get_message()
            assert ws.closed is None
            await receive()
        elif when == "nowait":
            with pytest.raises(ConnectionClosed, match="max_message_size=10"):
                ws.get_message_nowait()
        else:
            await receive()
        assert (await peer.read_frame()).payload.endswith(b"message of 11 bytes exceeds max_message_size=10")


async def test_no_message_may_go_over_the_limit_for_parts() -> None:
    async with client_of_raw_peer(**LIMITS) as (ws, peer):
        await peer.send_frame(BINARY, b"x" * 15, fin=False)
        async with ws.receive_fragments() as parts:
            assert len(await anext(parts)) == 15
            await peer.send_frame(CONT, b"x" * 6)
            with pytest.raises(ConnectionClosed, match="message of 21 bytes exceeds max_streamed_size=20"):
                await anext(parts)


async def test_closing_does_not_wait_for_a_message_that_nobody_takes() -> None:
    async with (
        client_of_raw_peer(**LIMITS) as (ws, peer),
        trio.open_nursery() as nursery,
    ):
        await peer.send_frame(BINARY, b"x" * 15)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ws.aclose)
        assert (await peer.read_frame()).opcode == CLOSE
        await peer.send_frame(BINARY, b"x" * 16)
        await peer.send_close()
        await peer.stream.aclose()
    assert ws.closed == CloseReason(1000, None)


async def test_a_connection_that_is_lost_is_lost_with_the_message_that_nobody_took() -> None:
    async with client_of_raw_peer(**LIMITS) as (ws, peer):
        await peer.send_frame(BINARY, b"x" * 15)
        await trio.testing.wait_all_tasks_blocked()
        ws._link.transport.abort()
        assert await ws.wait_closed() == CloseReason(1006, None)
        with pytest.raises(ConnectionClosed):
            await receive_in_parts(ws)


async def test_a_flood_of_fragments_takes_turns() -> None:
    async with client_of_raw_peer(max_fragments=10_000) as (ws, peer), trio.open_nursery() as nursery:
        await peer.send_frame(TEXT, b"", fin=False)
        nursery.start_soon(peer.stream.send_all, b"\x00\x00" * 5000 + b"\x80\x01x")
        assert await receive_in_parts(ws) == ["x"]


# -------------------------------------------------------------------------------------------------------- compression


async def test_a_compressed_message_in_parts_is_what_was_sent() -> None:
    text = ["größer " * 1000] * 50
    options: dict[str, Any] = {"compression": True, "max_message_size": 1000, "max_streamed_size": 10**6}
    async with connected_pair(**options) as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(client.send_fragments, text)
        assert "".join(map(str, await receive_in_parts(server))) == "".join(text)
        nursery.start_soon(client.send_fragments, text)
        async with server.receive_fragments() as parts:
            await anext(parts)
        # Both contexts are where they were, though nobody took the rest.
        nursery.start_soon(client.send_message, "größer")
        assert await server.get_message() == "größer"


async def test_a_compressed_part_is_sent_when_it_is_there() -> None:
    give, take = trio.open_memory_channel[str](0)
    async with connected_pair(compression=True) as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(client.send_fragments, take)
        await give.send("one")
        async with server.receive_fragments() as parts:
            assert await anext(parts) == "one"
            await give.send("two")
            assert await anext(parts) == "two"
            await give.aclose()
            assert [part async for part in parts] == []
