"""Cancelling a server at each point of its clients' lives: each is told, in bounded time, and nothing is left.

`checkpoints` tells how. The clients come over each transport.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
import trio.testing
from checkpoints import TIGHT, Attack, MakePair, assert_stream_closed, contained, torture
from support import HOST, RawPeer, echo, make_pair, request_head, url_of

import trio_websocket
from trio_websocket import (
    CloseReason,
    ConnectionClosed,
    HandshakeError,
    WebSocketRequest,
    WebSocketServer,
    open_websocket_url,
    serve_websocket,
)

pytestmark = pytest.mark.usefixtures("transport")


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """Gives a server the streams that `connect` makes."""

    def __init__(self, pair: MakePair = make_pair) -> None:
        self._pair = pair
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](math.inf)
        self.streams: list[trio.abc.Stream] = []

    def connect(self) -> trio.abc.Stream:
        """A new client's end; BrokenResourceError once nobody listens."""
        client, server = self._pair()
        self._send.send_nowait(server)
        self.streams.append(server)
        return client

    async def accept(self) -> trio.abc.Stream:
        return await self._receive.receive()

    async def aclose(self) -> None:
        # As a kernel does with those that nobody has accepted.
        with trio.CancelScope(shield=True), suppress(trio.WouldBlock):
            while True:
                await trio.aclose_forcefully(self._receive.receive_nowait())
        self._receive.close()


async def serve_until(over: trio.Event, server: WebSocketServer) -> None:
    """Run `server` until then, and cancel it."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run)
        await over.wait()
        nursery.cancel_scope.cancel()


async def talk(listener: MemoryListener, endings: list[CloseReason | None]) -> None:
    """A client's whole life; notes why its connection closed, None if it never opened."""
    async with trio.open_nursery() as nursery:
        try:
            ws = await trio_websocket.wrap_client_stream(nursery, listener.connect(), "test", "/")
        except (HandshakeError, trio.BrokenResourceError):
            endings.append(None)
            return
        try:
            for text in ("1", "2"):
                await ws.send_message(text)
                assert await ws.get_message() == text
        except ConnectionClosed:
            pass
        await ws.aclose()
        endings.append(ws.closed)


async def _say_goodbye(request: WebSocketRequest) -> None:
    ws = await request.accept()
    await ws.send_message(await ws.get_message())


async def _fail(request: WebSocketRequest) -> None:
    await request.accept()
    raise RuntimeError("the handler's own")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "codes"), [(echo, {1000, 1001}), (_say_goodbye, {1000, 1001}), (_fail, {1001, 1011})]
)
def test_server_cancelled_at_any_point_tells_its_clients(
    handler: Callable[[WebSocketRequest], Awaitable[None]], codes: set[int]
) -> None:
    async def scenario(attack: Attack) -> None:
        listener = MemoryListener()
        server = WebSocketServer(handler, [listener])
        endings: list[CloseReason | None] = []
        over = trio.Event()

        async def talk_till_the_end() -> None:
            await talk(listener, endings)
            over.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk_till_the_end)
            ending = await attack.run(lambda: serve_until(over, server))
            assert ending.delay <= 2
        assert all(ending is None or ending.code in codes for ending in endings), endings
        for stream in listener.streams:
            await assert_stream_closed(stream)

    torture(scenario)


async def _silent(peer: RawPeer) -> None:
    """A client that says nothing."""


async def _half_a_request(peer: RawPeer) -> None:
    await peer.stream.send_all(request_head()[:30])


async def _shaken_hands(peer: RawPeer) -> None:
    await peer.stream.send_all(request_head())
    assert (await peer.read_head()).startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize(
    ("reach_state", "seconds", "last_words"),
    [
        (_silent, 0, b""),
        (_half_a_request, 0, b""),
        (_shaken_hands, 2, b"\x88\x16\x03\xe9server is going away"),
    ],
)
async def test_cancelled_server_ends_within_its_grace_though_a_client_does_not_answer(
    reach_state: Callable[[RawPeer], Awaitable[None]],
    seconds: float,
    last_words: bytes,
    mock_clock: trio.testing.MockClock,
) -> None:
    listener = MemoryListener()
    over = trio.Event()
    async with contained():
        peer = RawPeer(listener.connect(), is_client=True)
        async with peer.stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve_until, over, WebSocketServer(echo, [listener]))
                await reach_state(peer)
                await trio.testing.wait_all_tasks_blocked()
                start = trio.current_time()
                over.set()
            assert trio.current_time() - start == seconds
            assert await peer.read_to_end() == last_words
        await assert_stream_closed(listener.streams[0])


async def test_cancelled_server_ends_within_its_grace_though_a_client_does_not_read(
    mock_clock: trio.testing.MockClock,
) -> None:
    async def flood(request: WebSocketRequest) -> None:
        ws = await request.accept()
        while True:
            await ws.send_message("x" * 1000)

    listener = MemoryListener(TIGHT)
    over = trio.Event()
    async with contained():
        async with listener.connect() as stream, trio.open_nursery() as nursery:
            nursery.start_soon(serve_until, over, WebSocketServer(flood, [listener]))
            await _shaken_hands(RawPeer(stream, is_client=True))
            await trio.testing.wait_all_tasks_blocked()
            start = trio.current_time()
            over.set()
        assert trio.current_time() - start == 2
        await assert_stream_closed(listener.streams[0])


@pytest.mark.slow
def test_cancelled_nursery_of_a_connection_says_goodbye_within_its_grace() -> None:
    async def scenario(attack: Attack) -> None:
        ours, theirs = make_pair()
        said: list[str] = []
        closed: list[CloseReason] = []

        async def live() -> None:
            async with trio.open_nursery() as nursery:
                ws = await trio_websocket.wrap_client_stream(nursery, ours, "test", "/")
                said.append("opened")
                await ws.send_message("1")
                await ws.get_message()
                await ws.get_message()
                said.append("goodbye")
                # A close that is cancelled itself is none that waits for anything.
                await ws.aclose()

        async def answer() -> None:
            async with trio.open_nursery() as nursery:
                with suppress(HandshakeError, ConnectionClosed):
                    request = await trio_websocket.wrap_server_stream(nursery, theirs)
                    ws = await request.accept()
                    with suppress(ConnectionClosed):
                        await ws.send_message(await ws.get_message())
                        await trio.testing.wait_all_tasks_blocked()
                        await ws.send_message("2")
                    closed.append(await ws.wait_closed())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            ending = await attack.run(live)
            assert ending.delay <= 2
        if ending.returned:
            assert closed == [CloseReason(1000, None)]
        elif said == ["opened"]:
            assert closed == [CloseReason(1001, "cancelled")]
        await assert_stream_closed(ours)
        await assert_stream_closed(theirs)

    torture(scenario)


async def _serve(task_status: trio.TaskStatus[WebSocketServer]) -> None:
    await serve_websocket(echo, HOST, 0, None, task_status=task_status)


def test_server_cancelled_while_it_starts_leaves_no_socket() -> None:
    async def scenario(attack: Attack) -> None:
        async with trio.open_nursery() as nursery:
            ending = await attack.run(lambda: nursery.start(_serve))
            if ending.returned:
                assert ending.value is not None
                async with open_websocket_url(url_of(ending.value)) as ws:
                    await ws.send_message("1")
                    assert await ws.get_message() == "1"
            nursery.cancel_scope.cancel()

    torture(scenario, real_time=True)


async def test_server_that_cannot_be_made_leaves_no_socket() -> None:
    async with contained():
        with pytest.raises(ValueError, match="max_message_size"):
            await serve_websocket(echo, HOST, 0, None, max_message_size=-1)
