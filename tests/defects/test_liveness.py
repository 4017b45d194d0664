"""A heartbeat ends the connections whose peer is gone, and no others.

Keepalives used to kill connections that were healthy and busy: the pong came behind messages that the program had not
fetched, or the ping behind a message that was still going out; what had been received was lost with the connection. And
peers that really had gone were not noticed, or nobody was told.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import support
import trio
import trio.testing
from certificates import Certificates
from hostile import count_open_files
from support import (
    HOST,
    PING,
    PONG,
    TEXT,
    client_of_raw_peer,
    connected_pair,
    make_pair,
    serving,
    url_of,
)

from trio_websocket import (
    CloseReason,
    ConnectionClosed,
    Heartbeat,
    PeerSilent,
    WebSocketConnection,
    WebSocketRequest,
    open_websocket_url,
)

both_transports = pytest.mark.usefixtures("transport")
settle = trio.testing.wait_all_tasks_blocked

# ------------------------------------------------------------------------------------------------ busy, and not dead


@both_transports
@pytest.mark.parametrize("size", [10, 10_000])
async def test_receiver_that_pauses_for_seconds_loses_nothing(
    mock_clock: trio.testing.MockClock, size: int
) -> None:
    # Either end pings each second, and one does not fetch anything for four.
    async with (
        connected_pair(heartbeat=Heartbeat(interval=1, timeout=1)) as (client, server),
        trio.open_nursery() as nursery,
    ):

        async def send() -> None:
            for number in range(200):
                await server.send_message(number.to_bytes(size, "big"))

        nursery.start_soon(send)
        await trio.sleep(4)
        for number in range(200):
            assert await client.get_message() == number.to_bytes(size, "big")
        assert client.closed is server.closed is None


@both_transports
@pytest.mark.parametrize("pause", [5, 600])
async def test_pong_that_stands_behind_unfetched_messages_does_no_harm(
    mock_clock: trio.testing.MockClock, pause: float
) -> None:
    async with client_of_raw_peer(heartbeat=Heartbeat(1, 1)) as (ws, peer):
        ping = await peer.read_frame()
        for number in b"12345":
            await peer.send_frame(TEXT, bytes([number]))
        await peer.send_frame(PONG, ping.payload)
        await trio.sleep(pause + 0.5)
        assert [await ws.get_message() for _ in range(5)] == list("12345")
        # Meanwhile something went out that nobody has to answer, so that nothing on the way forgets the connection.
        pongs = 0
        while (beat := await peer.read_frame()).opcode == PONG:
            assert beat.payload == b""
            pongs += 1
        assert pongs == pytest.approx(pause, abs=1)
        # From now on, there is a ping again, and the peer has its whole time to answer it.
        pinged = trio.current_time()
        assert beat.opcode == PING
        assert ws.closed is None
        await ws.wait_closed()
        assert trio.current_time() - pinged == pytest.approx(1)


@both_transports
async def test_ping_behind_a_message_that_is_still_going_out_does_no_harm(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support, "make_pair", lambda: make_pair(is_tight=True))
    async with client_of_raw_peer(heartbeat=Heartbeat(interval=10, timeout=10)) as (ws, peer):
        await ws.send_message(bytes(2_000_000))
        start = trio.current_time()
        # It says nothing, and takes a little now and then.
        data = bytearray()
        while len(data) < 2_000_000:
            for _ in range(4):
                data += await peer.stream.receive_some(65536)
            await trio.sleep(4)
        assert trio.current_time() - start > 3 * 10
        assert ws.closed is None
        # Now it is stuck.
        await ws.send_message(bytes(2_000_000))
        start = trio.current_time()
        await ws.wait_closed()
        assert trio.current_time() - start <= 20


@both_transports
async def test_standstill_of_our_own_program_does_no_harm(mock_clock: trio.testing.MockClock) -> None:
    async with connected_pair(heartbeat=Heartbeat(interval=1, timeout=1)) as (client, server):
        for _ in range(10):
            await trio.sleep(0.7)
            # A call that blocks: no task runs, and nothing is read, sent or answered.
            mock_clock.jump(30)
        await settle()
        assert client.closed is server.closed is None
        assert await client.ping() == 0


# ------------------------------------------------------------------------------------------------------ really gone


class Silencer:
    """A TCP proxy that can stop to forward, and keeps its connections open: what a lost network looks like."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.is_silent = False

    @asynccontextmanager
    async def run(self) -> AsyncIterator[int]:
        """Listen on the port that this gives."""
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host=HOST)
            nursery.start_soon(trio.serve_listeners, self._serve, listeners)
            yield listeners[0].socket.getsockname()[1]
            nursery.cancel_scope.cancel()

    async def _serve(self, near: trio.SocketStream) -> None:
        async with near, await trio.open_tcp_stream(HOST, self.target) as far, trio.open_nursery() as nursery:
            nursery.start_soon(self._forward, near, far)
            nursery.start_soon(self._forward, far, near)

    async def _forward(self, source: trio.SocketStream, target: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                if not self.is_silent:
                    await target.send_all(data)


@pytest.mark.slow
@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "TLS"])
async def test_either_end_notices_a_network_that_is_lost(certificates: Certificates, is_secure: bool) -> None:
    heartbeat = Heartbeat(interval=0.2, timeout=0.2)
    ended = {}
    server_ended = trio.Event()

    async def fail_to_receive(name: str, ws: WebSocketConnection) -> None:
        with pytest.raises(ConnectionClosed) as caught:
            await ws.get_message()
        ended[name] = trio.current_time(), caught.value

    async def handle(request: WebSocketRequest) -> None:
        ws = await request.accept()
        await ws.send_message(await ws.get_message())
        await fail_to_receive("server", ws)
        server_ended.set()

    before = count_open_files()
    server_context = certificates.server_context() if is_secure else None
    client_context = certificates.client_context() if is_secure else None
    with trio.fail_after(30):
        async with serving(handle, server_context, heartbeat=heartbeat) as server:
            silencer = Silencer(server.port)
            async with silencer.run() as port:
                url = url_of(server).replace(str(server.port), str(port))
                async with open_websocket_url(url, client_context, heartbeat=heartbeat) as ws:
                    await ws.send_message("hello")
                    assert await ws.get_message() == "hello"
                    silencer.is_silent = True
                    lost = trio.current_time()
                    await fail_to_receive("client", ws)
                    await server_ended.wait()
    for when, error in ended.values():
        assert error.reason == CloseReason(1006, None)
        assert isinstance(error.__cause__, PeerSilent)
        # Not before the timeout; and the machine that runs this may be busy.
        assert 0.15 < when - lost < 0.4 + 5
    assert count_open_files() == before


@both_transports
async def test_peer_that_reads_and_never_answers_is_gone(mock_clock: trio.testing.MockClock) -> None:
    start = trio.current_time()
    async with client_of_raw_peer(heartbeat=Heartbeat(interval=5, timeout=3)) as (ws, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.read_to_end)
            # Whoever talks all the time learns it as well.
            with pytest.raises(ConnectionClosed) as caught:
                while True:
                    await ws.send_message("are you there?")
                    await trio.sleep(0.1)
        assert isinstance(caught.value.__cause__, PeerSilent)
        assert trio.current_time() - start < 5 + 3 + 0.2
