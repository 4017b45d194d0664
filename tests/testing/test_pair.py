"""Two ends in memory: what a test gets, and that it leaves nothing behind."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_websocket import CloseReason, ConnectionClosed, Heartbeat
from trio_websocket.testing import Cut, Fault, Reset, Slow, Stall, WebSocketPair, open_websocket_pair


async def test_messages_pass_both_ways(mock_clock: trio.testing.MockClock) -> None:
    async with open_websocket_pair("/chat?room=1", extra_headers=[(b"X-Token", b"t")]) as (client, server):
        await client.send_message("hello")
        assert await server.get_message() == "hello"
        await server.send_message(b"\x00\xff")
        assert await client.get_message() == b"\x00\xff"
        assert (client.is_client, server.is_server) == (True, True)
        assert client.path == server.path == "/chat?room=1"
        assert (b"x-token", b"t") in server.handshake_headers


async def test_server_takes_the_first_subprotocol() -> None:
    async with open_websocket_pair(subprotocols=["v2", "v1"]) as (client, server):
        assert client.subprotocol == server.subprotocol == "v2"
    async with open_websocket_pair() as (client, server):
        assert client.subprotocol is server.subprotocol is None


async def test_options_hold_for_both_ends() -> None:
    async with open_websocket_pair(max_message_size=3) as (client, server):
        await client.send_message("four")
        with pytest.raises(ConnectionClosed) as caught:
            await server.get_message()
        assert caught.value.sent is not None
        assert caught.value.sent.code == 1009
    async with open_websocket_pair(compression=True) as (client, server):
        assert client.compression is not None
        assert server.compression is not None


async def test_leaving_closes_both_ends_and_leaves_no_task() -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_websocket_pair() as pair:
        pass
    assert pair.client.closed == pair.server.closed == CloseReason(1000, None)
    assert trio.lowlevel.current_statistics().tasks_living == tasks


@pytest.mark.parametrize("fault", [Stall(), Slow(1), Cut(), Reset()], ids=repr)
@pytest.mark.parametrize("direction", ["send", "receive"])
async def test_leaving_takes_no_time_whatever_was_injected(
    fault: Fault, direction: str, mock_clock: trio.testing.MockClock
) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    async with open_websocket_pair() as pair:
        for stream in (pair.client_stream, pair.server_stream):
            await stream.inject(**{direction: [fault]})
        # Nobody reads these, so the ends are behind.
        for end in pair:
            if end.closed is None:
                for _ in range(5):
                    await end.send_message("x")
        start = trio.current_time()
    assert trio.current_time() - start <= 1
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_error_of_the_block_comes_out_as_it_is() -> None:
    pair: WebSocketPair | None = None
    with pytest.raises(KeyError):
        async with open_websocket_pair() as pair:
            raise KeyError
    assert pair is not None
    assert pair.client.closed == pair.server.closed == CloseReason(1000, None)


async def test_block_can_be_cancelled(mock_clock: trio.testing.MockClock) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(5) as scope:
        async with open_websocket_pair() as (client, _):
            await client.get_message()
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(5)
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_cancelled_opening_leaves_nothing() -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    for turns in range(20):
        async with trio.open_nursery() as nursery:

            async def open_and_close() -> None:
                async with open_websocket_pair():
                    pass

            nursery.start_soon(open_and_close)
            for _ in range(turns):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_wrong_option_is_refused() -> None:
    with pytest.raises(ValueError, match="max_message_size"):
        await open_websocket_pair(max_message_size=-1).__aenter__()


async def test_fault_is_what_the_ends_see() -> None:
    async with open_websocket_pair() as pair:
        await pair.client_stream.inject(receive=[Reset()])
        with pytest.raises(ConnectionClosed) as caught:
            await pair.client.get_message()
        assert caught.value.reason == CloseReason(1006, None)
        assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
        assert await pair.server.wait_closed() == CloseReason(1006, None)


@pytest.mark.parametrize("size", range(0, 60, 7))
async def test_message_that_is_cut_in_the_middle_is_not_received(size: int) -> None:
    async with open_websocket_pair() as pair:
        await pair.server_stream.inject(receive=[Cut(after=size)])
        await pair.client.send_message("x" * 60)
        with pytest.raises(ConnectionClosed):
            await pair.server.get_message()


async def test_clock_jumps_while_both_ends_wait(mock_clock: trio.testing.MockClock) -> None:
    async with open_websocket_pair() as (client, server):
        await trio.sleep(86400)
        await client.send_message("a day later")
        assert await server.get_message() == "a day later"


async def test_heartbeat_ends_a_stalled_connection(mock_clock: trio.testing.MockClock) -> None:
    async with open_websocket_pair(heartbeat=Heartbeat(interval=20, timeout=10)) as pair:
        await trio.sleep(1000)
        assert pair.client.closed is None
        await pair.client_stream.inject(receive=[Stall()])
        start = trio.current_time()
        with pytest.raises(ConnectionClosed):
            await pair.client.get_message()
        assert trio.current_time() - start <= 31


async def test_close_that_the_peer_does_not_answer_takes_disconnect_timeout(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with open_websocket_pair(disconnect_timeout=7) as pair:
        await pair.client_stream.inject(receive=[Stall()])
        start = trio.current_time()
        await pair.client.aclose()
        assert trio.current_time() - start == pytest.approx(7)
