"""Pings and pongs of a connection, over each transport."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from fakes import client_behind_valve, only_over_a_stream
from support import (
    BINARY,
    PING,
    PONG,
    TEXT,
    Frame,
    RawPeer,
    client_of_raw_peer,
    connected_pair,
    server_of_raw_peer,
)

from trio_websocket import CloseReason, ConnectionClosed
from trio_websocket.testing import Stall

pytestmark = pytest.mark.usefixtures("transport")

settle = trio.testing.wait_all_tasks_blocked


# ------------------------------------------------------------------------------------------------------------- pings


async def test_ping_waits_for_its_pong_and_returns_the_seconds(mock_clock: trio.testing.MockClock) -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        assert ws.latency is None

        async def answer() -> None:
            sent = await peer.read_frame()
            assert (sent.opcode, len(sent.payload)) == (PING, 4)
            await trio.sleep(3)
            await peer.send_frame(PONG, sent.payload)

        nursery.start_soon(answer)
        assert await ws.ping() == 3
        assert ws.latency == 3


@pytest.mark.parametrize("payload", [b"", b"hello", bytearray(b"hello"), memoryview(b"hello"), bytes(125)])
async def test_ping_has_the_payload_that_it_was_given(payload: bytes) -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.ping, payload)
        assert await peer.read_frame() == Frame(True, PING, bytes(payload))
        await peer.send_frame(PONG, bytes(payload))


async def test_both_ends_answer_pings() -> None:
    async with connected_pair() as (client, server):
        assert await client.ping() >= 0
        assert await server.ping() >= 0


async def test_pong_completes_all_earlier_pings() -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        for payload in (b"1", b"2", b"3"):
            nursery.start_soon(ws.ping, payload)
            assert (await peer.read_frame()).payload == payload
        await peer.send_frame(PONG, b"2")
        await settle()
        assert len(nursery.child_tasks) == 1
        await peer.send_frame(PONG, b"3")


async def test_payload_may_be_in_flight_only_once() -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.ping, b"\xff\n")
        await peer.read_frame()
        with pytest.raises(ValueError, match=r"b'\\xff\\n' is in flight already"):
            await ws.ping(b"\xff\n")
        await peer.send_frame(PONG, b"\xff\n")
        await settle()
        nursery.start_soon(ws.ping, b"\xff\n")
        assert (await peer.read_frame()).payload == b"\xff\n"
        await peer.send_frame(PONG, b"\xff\n")


@only_over_a_stream
async def test_payload_that_comes_into_flight_while_waiting_for_room_is_refused() -> None:
    async with client_behind_valve(write_backlog=10) as (ws, peer, valve), trio.open_nursery() as nursery:
        await valve.inject(send=[Stall()])
        await ws.send_message(bytes(20))
        outcomes: list[str] = []

        async def ping() -> None:
            try:
                await ws.ping(b"x")
                outcomes.append("answered")
            except ValueError:
                outcomes.append("refused")

        nursery.start_soon(ping)
        nursery.start_soon(ping)
        await settle()
        valve.clear()
        await peer.read_frame()
        await peer.read_frame()
        await peer.send_frame(PONG, b"x")
        await settle()
        assert sorted(outcomes) == ["answered", "refused"]


async def test_ping_with_a_payload_that_was_just_answered_gets_its_own_pong() -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.ping, b"x")
        await peer.read_frame()

        # The pong has come, and the task that waits for it has not run yet, when the same payload is sent again.
        ws._link.pings.receive_pong(b"x")
        with trio.CancelScope() as scope:
            nursery.start_soon(cancel_when_pinged, peer, scope)
            await ws.ping(b"x")
            raise AssertionError("nobody answered")
        ws._link.pings.receive_pong(b"x")
        nursery.start_soon(send_pong_later, peer)
        await ws.ping(b"x")


async def cancel_when_pinged(peer: RawPeer, scope: trio.CancelScope) -> None:
    await peer.read_frame()
    scope.cancel()


async def send_pong_later(peer: RawPeer) -> None:
    await peer.read_frame()
    await peer.send_frame(PONG, b"x")


@pytest.mark.parametrize("call", ["ping", "pong"])
async def test_control_payload_over_125_bytes_is_refused(call: str) -> None:
    async with connected_pair() as (client, server):
        with pytest.raises(ValueError, match="126"):
            await getattr(client, call)(bytes(126))
        await client.send_message("fine")
        assert await server.get_message() == "fine"
        assert len(client._link.pings) == 0


async def test_cancelled_ping_is_forgotten() -> None:
    async with client_of_raw_peer() as (ws, peer):
        with trio.move_on_after(0.001):
            await ws.ping(b"x")
        assert len(ws._link.pings) == 0
        await peer.read_frame()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.ping, b"x")
            await peer.read_frame()
            await peer.send_frame(PONG, b"x")


async def test_ping_hears_of_the_close() -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:

        async def ping() -> None:
            with pytest.raises(ConnectionClosed) as caught:
                await ws.ping()
            assert caught.value.reason == CloseReason(1001, "away")

        nursery.start_soon(ping)
        nursery.start_soon(ping)
        await settle()
        await peer.send_close(1001, b"away")


async def test_waiting_ping_reads_past_a_full_queue_up_to_its_bytes() -> None:
    async with client_of_raw_peer(message_queue_bytes=2000) as (ws, peer), trio.open_nursery() as nursery:
        for _ in range(3):
            await peer.send_frame(TEXT, b"small")
        nursery.start_soon(ws.ping, b"x")
        await peer.read_frame()
        await peer.send_frame(PONG, b"x")
        await settle()
        # The pong stood behind messages that nobody received.
        assert len(nursery.child_tasks) == 0
        nursery.start_soon(ws.ping, b"y")
        await peer.read_frame()
        await peer.send_frame(BINARY, bytes(2000))
        await peer.send_frame(PONG, b"y")
        await settle()
        assert len(nursery.child_tasks) == 1
        for _ in range(4):
            await ws.get_message()
        await settle()
        assert len(nursery.child_tasks) == 0


@pytest.mark.parametrize(("payload", "sent"), [(None, b""), (b"x", b"x"), (bytearray(b"x"), b"x")])
async def test_pong_is_sent_without_being_asked_for(payload: bytes | None, sent: bytes) -> None:
    async with server_of_raw_peer() as (ws, peer):
        await ws.pong(payload)
        assert await peer.read_frame() == Frame(True, PONG, sent)
