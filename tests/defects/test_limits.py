"""Limits hold for what really costs: bytes, fragments, and what waits for a peer that does not read.

A limit used to count characters; a message of a million empty fragments passed every limit; large messages came in 4 KiB at a
time, each read with a dispatch of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from hostile import drain
from support import (
    BINARY,
    CLOSE,
    CONT,
    MASK,
    PING,
    PONG,
    TEXT,
    RawPeer,
    client_of_raw_peer,
    frame,
    response_head,
    server_of_raw_peer,
)

from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection, wrap_client_stream
from trio_websocket.testing import FaultyStream, Stall, open_websocket_pair

CONNECT = [client_of_raw_peer, server_of_raw_peer]


async def refusal(ws: WebSocketConnection, peer: RawPeer) -> tuple[CloseReason | None, bytes]:
    """Why a connection failed, and the close code that the peer got."""
    with pytest.raises(ConnectionClosed) as caught:
        await drain(ws)
    while (close := await peer.read_frame()).opcode != CLOSE:
        pass
    return caught.value.reason, close.payload[:2]


# -------------------------------------------------------------------------------------------------- what is received


@pytest.mark.parametrize("connect", CONNECT)
async def test_max_message_size_counts_the_bytes_of_a_text(
    connect: Callable[..., Any], mock_clock: trio.testing.MockClock
) -> None:
    async with connect(max_message_size=1000) as (ws, peer):
        await peer.send_frame(TEXT, ("é" * 500).encode())
        assert await ws.get_message() == "é" * 500
        await peer.send_frame(TEXT, ("é" * 500 + "!").encode())
        reason, code = await refusal(ws, peer)
    assert code == b"\x03\xf1"
    assert reason == CloseReason(1009, "message of 1001 bytes exceeds max_message_size=1000")


@pytest.mark.parametrize("connect", CONNECT)
async def test_max_message_size_counts_all_fragments(
    connect: Callable[..., Any], mock_clock: trio.testing.MockClock
) -> None:
    async with connect(max_message_size=1000) as (ws, peer):
        await peer.send_frame(BINARY, bytes(600), fin=False)
        await peer.send_frame(CONT, bytes(401), fin=False)
        assert (await refusal(ws, peer))[1] == b"\x03\xf1"


@pytest.mark.parametrize("connect", CONNECT)
@pytest.mark.parametrize("declared", [1001, 2**20, 2**63 - 1])
async def test_too_large_message_is_refused_by_its_frames_header_alone(
    connect: Callable[..., Any], declared: int, mock_clock: trio.testing.MockClock
) -> None:
    async with connect(max_message_size=1000) as (ws, peer):
        bit = 0x80 if peer.is_client else 0
        form, width = (126, 2) if declared < 65536 else (127, 8)
        size = bytes([bit | form]) + declared.to_bytes(width, "big")
        await peer.stream.send_all(bytes([0x82]) + size + (MASK if peer.is_client else b""))
        assert (await refusal(ws, peer))[1] == b"\x03\xf1"


@pytest.mark.slow
@pytest.mark.parametrize("connect", CONNECT)
async def test_message_of_a_million_empty_fragments_is_refused(
    connect: Callable[..., Any], mock_clock: trio.testing.MockClock
) -> None:
    async with connect() as (ws, peer):
        mask = MASK if peer.is_client else None
        await peer.send_frame(TEXT, b"", fin=False)
        await peer.stream.send_all(1_000_000 * frame(CONT, fin=False, mask=mask))
        reason, code = await refusal(ws, peer)
    assert code == b"\x03\xf1"
    assert reason == CloseReason(1009, "message exceeds max_fragments=65536")


@pytest.mark.parametrize("connect", CONNECT)
async def test_compressed_message_that_was_not_agreed_on_is_refused(
    connect: Callable[..., Any], mock_clock: trio.testing.MockClock
) -> None:
    async with connect() as (ws, peer):
        mask = MASK if peer.is_client else None
        # A few bytes of DEFLATE that would become many.
        await peer.stream.send_all(frame(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00", mask=mask, rsv=4))
        assert (await refusal(ws, peer))[1] == b"\x03\xea"


@pytest.mark.parametrize("connect", CONNECT)
async def test_flood_of_tiny_frames_takes_turns_with_other_tasks(
    connect: Callable[..., Any], mock_clock: trio.testing.MockClock
) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with connect() as (_, peer), trio.open_nursery() as nursery:
        mask = MASK if peer.is_client else None
        nursery.start_soon(count_turns)
        # All of it is there with one read.
        await peer.stream.send_all(8000 * frame(PONG, mask=mask) + frame(PING, b"end", mask=mask))
        before = turns
        assert await peer.read_frame() == (True, PONG, b"end")
        nursery.cancel_scope.cancel()
    assert turns - before >= 8000 // 256


@pytest.mark.slow
@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_flood_of_control_frames_lets_other_connections_have_their_turns(
    opcode: int, mock_clock: trio.testing.MockClock
) -> None:
    async with open_websocket_pair() as flooded, open_websocket_pair() as other:
        before = flooded.server_stream.bytes_received
        flood = 30_000 * frame(opcode, mask=MASK) + frame(PING, b"end", mask=MASK)
        await flooded.client_stream.send_all(flood)
        for _ in range(10):
            await other.client.send_message("hello")
            assert await other.server.get_message() == "hello"
        # Ten messages have passed while a part of the flood was handled, which goes on.
        assert flooded.server_stream.bytes_received - before <= 2 * 65536 < len(flood)
        while flooded.server_stream.bytes_received - before < len(flood):
            await trio.lowlevel.checkpoint()
        assert flooded.server.closed is None


@pytest.mark.slow
async def test_flood_of_pings_takes_bounded_memory_while_the_peer_reads(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with server_of_raw_peer() as (ws, peer):
        most = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.stream.send_all, 20_000 * frame(PING, bytes(100), mask=MASK))
            for _ in range(20_000):
                assert (await peer.read_frame()).opcode == PONG
                most = max(most, ws._link.transport.backlog)
        # A pull's worth of answers, and what was too much to send at once.
        assert most <= 2 * 2**16


# ------------------------------------------------------------------------------------------------------ how it is read


class CountingStream(trio.abc.Stream):
    """Notes how much it was asked for, and how much it gave."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.asked: list[int | None] = []
        self.gave: list[int] = []

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.asked.append(max_bytes)
        data = await self._stream.receive_some(max_bytes)
        self.gave.append(len(data))
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()


@pytest.mark.parametrize("options", [{}, {"receive_buffer_size": 4096}, {"receive_buffer_size": None}])
async def test_megabyte_is_read_in_large_pieces(
    options: dict[str, Any], mock_clock: trio.testing.MockClock
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = CountingStream(ours)
    peer = RawPeer(theirs, is_client=False)
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await theirs.send_all(response_head(await peer.read_head()))
            await peer.send_frame(BINARY, bytes(2**20))

        nursery.start_soon(serve)
        ws = await wrap_client_stream(nursery, stream, "test", "/", **options)
        assert await ws.get_message() == bytes(2**20)
        nursery.cancel_scope.cancel()
    # At least 64 KiB at once; so 1 MiB, the frame's header and the handshake take 18 reads, not 257.
    assert all(size is None or size >= 65536 for size in stream.asked)
    assert len([size for size in stream.gave if size]) <= 18


async def test_messages_that_came_together_are_handed_on_without_a_read_between_them(
    mock_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = CountingStream(ours)
    peer = RawPeer(theirs, is_client=False)
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await theirs.send_all(response_head(await peer.read_head()))

        nursery.start_soon(serve)
        ws = await wrap_client_stream(nursery, stream, "test", "/")
        await trio.testing.wait_all_tasks_blocked()
        before = len(stream.gave)
        await theirs.send_all(b"".join(frame(TEXT, b"%d" % number) for number in range(1000)))
        assert [await ws.get_message() for _ in range(1000)] == [str(number) for number in range(1000)]
        assert len(stream.gave) - before == 1
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------- what waits for the peer


@pytest.mark.slow
@pytest.mark.parametrize("connect", CONNECT)
async def test_flood_of_pings_from_a_peer_that_does_not_read_takes_bounded_memory(
    connect: Callable[..., Any], mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = FaultyStream(ours)
    monkeypatch.setattr(trio.testing, "memory_stream_pair", lambda: (stream, theirs))
    async with connect() as (ws, peer):
        mask = MASK if peer.is_client else None
        await stream.inject(send=[Stall()])
        for _ in range(10):
            await theirs.send_all(2000 * frame(PING, bytes(100), mask=mask))
            await trio.testing.wait_all_tasks_blocked()
            # 2 MB of answers in all; what waits is a fixed amount.
            assert ws._link.transport.backlog <= 3 * 2**16
        await theirs.send_all(frame(PING, b"last", mask=mask))
        await trio.testing.wait_all_tasks_blocked()
        # A peer that reads again gets the answer to its last ping, and is served.
        stream.clear()
        while (pong := await peer.read_frame()).payload != b"last":
            assert pong == (True, PONG, bytes(100))
        await ws.send_message("hello")
        assert await peer.read_frame() == (True, TEXT, b"hello")
