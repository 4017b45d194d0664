"""A server in memory: code that opens its connections itself is served, and its outages are played."""

from __future__ import annotations

import errno

import pytest
import trio
import trio.testing
from support import check_echo, echo

from trio_websocket import (
    CloseReason,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionTimeout,
    HandshakeError,
    WebSocketRequest,
    connect_websocket,
    open_websocket,
    open_websocket_url,
)
from trio_websocket.testing import Cut, FaultyStream, Stall, serve_in_memory


async def test_whatever_opens_a_connection_is_served(mock_clock: trio.testing.MockClock) -> None:
    async with serve_in_memory(echo) as server, trio.open_nursery() as nursery:
        async with open_websocket_url("ws://no.such.name.invalid/") as ws:
            await check_echo(ws)
        async with open_websocket_url("wss://no.such.name.invalid/") as ws:
            await check_echo(ws)
        async with open_websocket("127.0.0.1", 9, "/", use_ssl=True) as ws:
            await check_echo(ws)
        async with await connect_websocket(nursery, "127.0.0.1", 9, "/", use_ssl=False) as ws:
            await check_echo(ws)
        assert len(server.streams) == 4


async def test_handler_sees_the_request(mock_clock: trio.testing.MockClock) -> None:
    async def handler(request: WebSocketRequest) -> None:
        assert request.path == "/chat"
        ws = await request.accept(subprotocol="v1")
        assert await ws.get_message() == "hello"

    async with (
        serve_in_memory(handler),
        open_websocket_url("ws://test/chat", subprotocols=["v1"]) as ws,
    ):
        assert ws.subprotocol == "v1"
        await ws.send_message("hello")
        assert await ws.wait_closed() == CloseReason(1000, None)


async def test_on_connect_may_refuse(mock_clock: trio.testing.MockClock) -> None:
    async def refuse(stream: FaultyStream) -> None:
        raise OSError(errno.ECONNREFUSED, "Connection refused")

    async with serve_in_memory(echo, on_connect=refuse):
        with pytest.raises(ConnectionFailed, match=r"cannot connect to test port 80: .*Connection refused"):
            await open_websocket_url("ws://test/").__aenter__()


async def test_on_connect_may_take_its_time(mock_clock: trio.testing.MockClock) -> None:
    async def wait(stream: FaultyStream) -> None:
        await trio.sleep_forever()

    async with serve_in_memory(echo, on_connect=wait):
        with pytest.raises(ConnectionTimeout):
            await open_websocket_url("ws://test/", connect_timeout=3).__aenter__()
    assert trio.current_time() == pytest.approx(3)


async def test_on_connect_may_inject_faults_into_the_handshake(mock_clock: trio.testing.MockClock) -> None:
    async def cut(stream: FaultyStream) -> None:
        await stream.inject(receive=[Cut(after=20)])

    async with serve_in_memory(echo, on_connect=cut):
        with pytest.raises(HandshakeError, match="in the middle of its response"):
            await open_websocket_url("ws://test/").__aenter__()


async def test_connection_can_be_cut_while_it_is_open(mock_clock: trio.testing.MockClock) -> None:
    async with serve_in_memory(echo) as server, open_websocket_url("ws://test/") as ws:
        await check_echo(ws)
        await server.streams[-1].inject(receive=[Cut()])
        with pytest.raises(ConnectionClosed):
            await ws.get_message()


async def test_options_hold_for_the_server(mock_clock: trio.testing.MockClock) -> None:
    async with serve_in_memory(echo, max_message_size=3), open_websocket_url("ws://test/") as ws:
        await ws.send_message("four")
        assert (await ws.wait_closed()).code == 1009


async def test_leaving_ends_the_server_and_gives_the_network_back(mock_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with serve_in_memory(echo) as server:
            ws = await connect_websocket(nursery, "test", 80, "/", use_ssl=False)
            await server.streams[-1].inject(receive=[Stall()])
        assert (await ws.wait_closed()).code == 1001
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        with pytest.raises(ConnectionFailed):
            await open_websocket_url("ws://127.0.0.1:9/").__aenter__()


async def test_inner_of_two_blocks_counts(mock_clock: trio.testing.MockClock) -> None:
    async with serve_in_memory(echo) as outer:
        async with serve_in_memory(echo) as inner, open_websocket_url("ws://test/") as ws:
            await check_echo(ws)
        assert (len(outer.streams), len(inner.streams)) == (0, 1)
        async with open_websocket_url("ws://test/") as ws:
            await check_echo(ws)
        assert len(outer.streams) == 1


@pytest.mark.parametrize("error", [KeyError(), KeyboardInterrupt(), SystemExit()], ids=repr)
async def test_error_of_the_block_comes_out_as_it_is(
    error: BaseException, mock_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(type(error)) as caught:
        async with serve_in_memory(echo), open_websocket_url("ws://test/"):
            raise error
    assert caught.value is error


async def test_block_can_be_cancelled(mock_clock: trio.testing.MockClock) -> None:
    tasks = trio.lowlevel.current_statistics().tasks_living
    with trio.move_on_after(5) as scope:
        async with serve_in_memory(echo), open_websocket_url("ws://test/") as ws:
            await ws.get_message()
    assert scope.cancelled_caught
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_wrong_option_is_refused() -> None:
    with pytest.raises(ValueError, match="max_message_size"):
        await serve_in_memory(echo, max_message_size=-1).__aenter__()
