"""`examples/heartbeat.py`: the function on a clock that jumps, the program with a real server."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
import trio.testing
from example_process import running, running_server
from heartbeat import heartbeat

from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    wrap_client_stream,
    wrap_server_stream,
)


@dataclass
class Pair:
    """A client and a server, connected in memory."""

    client: WebSocketConnection
    server: WebSocketConnection
    server_stream: trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]

    async def silence_server(self, delay: float) -> None:
        """After `delay` seconds, have all that the server sends end in the void."""
        await trio.sleep(delay)
        self.server_stream.send_stream = trio.testing.MemorySendStream()

    async def close_server(self, delay: float) -> None:
        await trio.sleep(delay)
        await self.server.aclose(4000, "enough")


@asynccontextmanager
async def connected_pair() -> AsyncIterator[tuple[Pair, trio.Nursery]]:
    client_stream, server_stream = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        accepted: list[WebSocketConnection] = []

        async def accept() -> None:
            request = await wrap_server_stream(nursery, server_stream)
            accepted.append(await request.accept())

        async with trio.open_nursery() as opening:
            opening.start_soon(accept)
            client = await wrap_client_stream(nursery, client_stream, "example.org", "/")
        yield Pair(client, accepted[0], server_stream), nursery
        nursery.cancel_scope.cancel()


async def test_heartbeat_keeps_on_while_the_peer_answers(mock_clock: trio.testing.MockClock) -> None:
    async with connected_pair() as (pair, _):
        with trio.move_on_after(100) as scope:
            await heartbeat(pair.client, timeout=5, interval=1)
        assert scope.cancelled_caught
        assert pair.client.closed is None


async def test_heartbeat_raises_too_slow_error_when_the_peer_goes_silent(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with connected_pair() as (pair, nursery):
        nursery.start_soon(pair.silence_server, 10.5)
        start = trio.current_time()
        with pytest.raises(trio.TooSlowError):
            await heartbeat(pair.client, timeout=5, interval=1)
        # The ping after 11 seconds is the first without an answer.
        assert trio.current_time() - start == pytest.approx(11 + 5)


async def test_heartbeat_raises_connection_closed_when_the_peer_closes(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with connected_pair() as (pair, nursery):
        nursery.start_soon(pair.close_server, 10.5)
        start = trio.current_time()
        with pytest.raises(ConnectionClosed) as caught:
            await heartbeat(pair.client, timeout=5, interval=1)
        assert trio.current_time() - start <= 11
        assert caught.value.reason is not None
        assert (caught.value.reason.code, caught.value.reason.reason) == (4000, "enough")


@pytest.mark.slow
async def test_program_tells_that_the_server_is_alive_and_when_it_is_not() -> None:
    async with running_server() as (server, url):
        async with running("heartbeat.py", "--timeout", "0.2", "--interval", "0.01", url) as program:
            await program.expect(r"alive, round trip \d+\.\d ms\n")
            server.signal(signal.SIGSTOP)
            await program.expect(r"No answer within 0\.2 s: the peer is gone\.\n")
            assert await program.exit_code() == 1
            assert program.errors == ""
        server.signal(signal.SIGCONT)


@pytest.mark.slow
async def test_program_tells_that_the_server_closed() -> None:
    async with (
        running_server() as (server, url),
        running("heartbeat.py", "--interval", "0.01", url) as program,
    ):
        await program.expect("alive")
        server.signal(signal.SIGTERM)
        await program.expect("The connection was closed: .*1001")
        assert await program.exit_code() == 1
