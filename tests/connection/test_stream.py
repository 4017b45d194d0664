"""A byte stream over binary messages: what Trio asks of one, and how messages and closes look through it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from certificates import Certificates
from support import BINARY, CONT, TEXT, Frame, client_of_raw_peer, connected_pair

from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection, WebSocketStream

pytestmark = pytest.mark.usefixtures("transport")

Streams = tuple[WebSocketStream, WebSocketStream]


@asynccontextmanager
async def streams(**options: Any) -> AsyncIterator[Streams]:
    """The two ends of a connection, as streams."""
    async with connected_pair(**options) as (client, server):
        yield WebSocketStream(client), WebSocketStream(server)


async def clog(ws: WebSocketConnection) -> None:
    """Send until nothing goes any more."""
    sent = 1
    while sent:
        sent = 0
        try:
            while True:
                ws.send_message_nowait(b"x" * 1000)
                sent += 1
        except trio.WouldBlock:
            # What a socket has room for leaves when the scheduler turns.
            await trio.testing.wait_all_tasks_blocked()


async def receive_all(stream: WebSocketStream) -> bytes:
    return b"".join([part async for part in stream])


# ------------------------------------------------------------------------------------------------- as Trio has it


async def test_it_is_what_trio_calls_a_stream(mock_clock: trio.testing.MockClock) -> None:
    async with AsyncExitStack() as stack:

        async def make() -> Streams:
            return await stack.enter_async_context(streams())

        await trio.testing.check_two_way_stream(make, None)


@pytest.mark.slow
async def test_it_is_what_trio_calls_a_stream_also_if_the_peer_does_not_read(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with AsyncExitStack() as stack:

        async def make() -> Streams:
            return await stack.enter_async_context(streams())

        async def make_clogged() -> Streams:
            pair = connected_pair(is_tight=True, write_backlog=10_000, message_queue_bytes=1)
            client, server = await stack.enter_async_context(pair)
            await clog(client)
            await clog(server)
            return WebSocketStream(client), WebSocketStream(server)

        await trio.testing.check_two_way_stream(make, make_clogged)


async def test_tls_runs_over_it(certificates: Certificates, mock_clock: trio.testing.MockClock) -> None:
    data = bytes(range(256)) * 1000
    async with streams() as (client, server), trio.open_nursery() as nursery:
        ours = trio.SSLStream(client, certificates.client_context(), server_hostname="localhost")
        theirs = trio.SSLStream(server, certificates.server_context(), server_side=True)

        async def echo() -> None:
            async for part in theirs:
                await theirs.send_all(part)
            await theirs.aclose()

        nursery.start_soon(echo)
        nursery.start_soon(ours.send_all, data)
        received = b""
        while len(received) < len(data):
            received += await ours.receive_some()
        assert received == data
        await ours.aclose()
    assert client.connection.closed == CloseReason(1000, None)


# ------------------------------------------------------------------------------------------------------- messages


async def test_where_messages_begin_and_end_has_no_meaning() -> None:
    async with client_of_raw_peer() as (ws, peer):
        stream = WebSocketStream(ws)
        assert stream.connection is ws
        await peer.send_frame(BINARY, b"one")
        await peer.send_frame(BINARY, b"")
        await peer.send_frame(BINARY, b"", fin=False)
        await peer.send_frame(CONT, b"two", fin=False)
        received = b""
        while received != b"onetwo":
            received += await stream.receive_some(2)
        await peer.send_frame(CONT, b"three")
        assert await stream.receive_some() == b"three"


async def test_a_large_part_is_handed_out_in_pieces() -> None:
    async with streams() as (client, server):
        await server.send_all(b"0123456789")
        assert [await client.receive_some(4) for _ in range(3)] == [b"0123", b"4567", b"89"]


async def test_much_is_sent_in_several_messages_and_nothing_in_none() -> None:
    async with streams() as (client, server):
        await client.send_all(b"")
        await client.send_all(memoryview(b"x" * 140_000).cast("H"))
        sizes = [len(await server.connection.get_message()) for _ in range(3)]
        assert sizes == [65536, 65536, 140_000 - 2 * 65536]


async def test_a_message_over_the_limit_for_messages_is_received_in_parts() -> None:
    limits = {"max_message_size": 10, "max_streamed_size": 2**20}
    async with streams(**limits) as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, b"x" * 50_000)
        assert len(await server.receive_some()) > 10


async def test_a_text_message_is_an_error() -> None:
    async with client_of_raw_peer() as (ws, peer):
        stream = WebSocketStream(ws)
        await peer.send_frame(TEXT, b"text")
        with pytest.raises(trio.BrokenResourceError, match="the peer sent a text message"):
            await stream.receive_some()
        reason = b"a stream takes binary messages only"
        assert await peer.read_frame() == Frame(True, 8, b"\x03\xeb" + reason)
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError, match="binary messages only") as caught:
                await stream.receive_some()
            assert isinstance(caught.value.__cause__, ConnectionClosed)


async def test_a_text_message_behind_the_peers_close_is_an_error_too(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with client_of_raw_peer() as (ws, peer):
        stream = WebSocketStream(ws)
        await peer.send_frame(TEXT, b"text")
        await peer.send_close()
        await ws.wait_closed()
        with pytest.raises(trio.BrokenResourceError, match="the peer sent a text message"):
            await stream.receive_some()
        assert ws.closed == CloseReason(1000, None)


# ---------------------------------------------------------------------------------------------------------- closes


@pytest.mark.parametrize("code", [1000, 1001, 1005])
async def test_a_normal_close_is_the_end_of_the_stream(code: int) -> None:
    async with connected_pair() as (client, server):
        stream = WebSocketStream(client)
        await server.send_message(b"last")
        await server.aclose(code)
        assert await receive_all(stream) == b"last"
        assert await stream.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError, match=str(code)):
            await stream.send_all(b"x")


async def test_any_other_close_breaks_the_stream() -> None:
    async with connected_pair() as (client, server):
        stream = WebSocketStream(client)
        await server.send_message(b"last")
        await server.aclose(4000, "no more")
        assert await stream.receive_some() == b"last"
        with pytest.raises(trio.BrokenResourceError, match="no more") as caught:
            await stream.receive_some()
        assert isinstance(caught.value.__cause__, ConnectionClosed)


async def test_a_normal_close_inside_a_message_breaks_the_stream() -> None:
    async with client_of_raw_peer() as (ws, peer):
        stream = WebSocketStream(ws)
        await peer.send_frame(BINARY, b"half", fin=False)
        assert await stream.receive_some() == b"half"
        await peer.send_close()
        for _ in range(2):
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some()


async def test_closing_inside_a_message_forgets_the_rest() -> None:
    async with client_of_raw_peer() as (ws, peer):
        stream = WebSocketStream(ws)
        await peer.send_frame(BINARY, b"half", fin=False)
        assert await stream.receive_some(1) == b"h"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.aclose)
            await peer.read_frame()
            await peer.send_frame(CONT, b"whole")
            await peer.send_close()
            await peer.stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await stream.receive_some()
        await stream.aclose()


@pytest.mark.parametrize("max_bytes", [0, -1, 1.5])
async def test_receive_some_wants_a_positive_number(max_bytes: Any) -> None:
    async with streams() as (client, _):
        with pytest.raises((ValueError, TypeError), match="max_bytes"):
            await client.receive_some(max_bytes)
