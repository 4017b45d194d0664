"""A deadline around any call holds, though the peer is dead: it neither reads, nor answers, nor hangs up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from checkpoints import TIGHT, Stage, assert_stream_closed, contained, fill, stage
from support import HOST, RawPeer, raw_server

import trio_websocket
from trio_websocket import connect_websocket, open_websocket, open_websocket_url

pytestmark = pytest.mark.usefixtures("transport")

CALLS: dict[str, Callable[[Stage], Awaitable[object]]] = {
    "send_message": lambda it: it.ws.send_message("late"),
    "get_message": lambda it: it.ws.get_message(),
    "anext": lambda it: it.ws.__anext__(),
    "ping": lambda it: it.ws.ping(),
    "pong": lambda it: it.ws.pong(b"late"),
    "wait_closed": lambda it: it.ws.wait_closed(),
}


@pytest.mark.parametrize("name", CALLS)
async def test_call_with_a_dead_peer_ends_at_its_deadline_and_the_connection_lives(
    name: str, is_client: bool, mock_clock: trio.testing.MockClock
) -> None:
    async with (
        contained(),
        stage(is_client=is_client, pair=TIGHT, write_backlog=200) as it,
    ):
        sent = await fill(it.ws)
        start = trio.current_time()
        with trio.move_on_after(5) as scope:
            await CALLS[name](it)
        assert scope.cancelled_caught
        assert trio.current_time() - start == 5
        # It was not dead after all.
        it.tasks.start_soon(it.read)
        await it.exchange()
        assert it.payloads() == sent


async def test_close_with_a_dead_peer_ends_at_its_deadline_and_the_connection_is_closed(
    is_client: bool, mock_clock: trio.testing.MockClock
) -> None:
    async with (
        contained(),
        stage(is_client=is_client, pair=TIGHT, write_backlog=200) as it,
    ):
        await fill(it.ws)
        start = trio.current_time()
        with trio.move_on_after(5) as scope:
            await it.ws.aclose()
        assert scope.cancelled_caught
        assert trio.current_time() - start == 5
        await it.assert_closed()


@pytest.mark.parametrize("wrap", ["wrap_client_stream", "wrap_server_stream"])
async def test_handshake_with_a_dead_peer_ends_at_its_deadline_and_the_stream_is_closed(
    wrap: str, mock_clock: trio.testing.MockClock
) -> None:
    ours, theirs = TIGHT()
    async with contained(), theirs, trio.open_nursery() as nursery:
        start = trio.current_time()
        with trio.move_on_after(5) as scope:
            if wrap == "wrap_client_stream":
                await trio_websocket.wrap_client_stream(nursery, ours, "test", "/")
            else:
                await trio_websocket.wrap_server_stream(nursery, ours)
        assert scope.cancelled_caught
        assert trio.current_time() - start == 5
        await assert_stream_closed(ours)


async def _sleep(peer: RawPeer) -> None:
    await trio.sleep_forever()


async def _open(port: int) -> None:
    async with open_websocket(HOST, port, "/", use_ssl=False):
        pass


async def _open_url(port: int) -> None:
    async with open_websocket_url(f"ws://{HOST}:{port}"):
        pass


async def _connect(port: int) -> None:
    async with trio.open_nursery() as nursery:
        await (await connect_websocket(nursery, HOST, port, "/", use_ssl=False)).aclose()


@pytest.mark.parametrize("shake_hands", [False, True], ids=["before the handshake", "after it"])
@pytest.mark.parametrize("use", [_open, _open_url, _connect])
async def test_client_of_a_dead_server_ends_at_its_deadline(
    use: Callable[[int], Awaitable[None]], shake_hands: bool, mock_clock: trio.testing.MockClock
) -> None:
    async with contained(), raw_server(_sleep, shake_hands=shake_hands) as port:
        start = trio.current_time()
        with trio.move_on_after(5) as scope:
            await use(port)
        assert scope.cancelled_caught
        # The block of `open_websocket` is left with a grace of two seconds.
        grace = 2 if shake_hands and use is not _connect else 0
        assert trio.current_time() - start == 5 + grace
