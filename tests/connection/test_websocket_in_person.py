"""A connection over a plain socket whose receiver waits for the socket in person, as it may while the hub is quiet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import support
import trio
import trio.testing
from checkpoints import Attack, torture
from support import (
    BINARY,
    CLOSE,
    MASK,
    PING,
    PONG,
    TEXT,
    Pair,
    RawPeer,
    client_of_raw_peer,
    connected_pair,
    frame,
    server_of_raw_peer,
)

from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection

settle = trio.testing.wait_all_tasks_blocked


@pytest.fixture(autouse=True)
def over_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "over_sockets", True)


def is_in_person(ws: WebSocketConnection) -> bool:
    """Whether a task waits for its socket."""
    transport: Any = ws._link.transport
    return bool(transport._is_in_person)


class Receivers:
    """Tasks that receive one message each, in the order in which they are started."""

    def __init__(self, ws: WebSocketConnection, nursery: trio.Nursery) -> None:
        self.got: dict[str, str | bytes] = {}
        self.errors: dict[str, ConnectionClosed] = {}
        self._ws = ws
        self._nursery = nursery

    async def start(self, *names: str) -> None:
        """Start one after the other; the first waits in person."""
        for name in names:
            self._nursery.start_soon(self._receive, name)
            await settle()
        assert is_in_person(self._ws)

    async def _receive(self, name: str) -> None:
        try:
            self.got[name] = await self._ws.get_message()
        except ConnectionClosed as error:
            self.errors[name] = error


@asynccontextmanager
async def server_in_person(
    *names: str, **options: Any
) -> AsyncIterator[tuple[WebSocketConnection, RawPeer, Receivers]]:
    """A server's end, a raw client, and receivers that wait; all of them have ended at the end of the block."""
    async with server_of_raw_peer(**options) as (ws, peer), trio.open_nursery() as nursery:
        receivers = Receivers(ws, nursery)
        await receivers.start(*names)
        yield ws, peer, receivers


def texts(*messages: str) -> bytes:
    """Text messages as a client sends them, to be sent as one."""
    return b"".join(frame(TEXT, message.encode(), mask=MASK) for message in messages)


async def send_together(peer: RawPeer, *messages: str) -> None:
    """Have all of them there when the first is looked at."""
    await peer.stream.send_all(texts(*messages))


# -------------------------------------------------------------------------------------------------------- receiving


async def test_both_ends_talk_in_person() -> None:
    async with connected_pair() as (client, server):

        async def answer() -> None:
            async for message in server:
                await server.send_message(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            for number in range(50):
                await client.send_message(str(number))
                assert await client.get_message() == str(number)
            assert is_in_person(server)
            await client.aclose()


async def test_receivers_are_served_in_the_order_in_which_they_came() -> None:
    async with server_in_person("in person", "second", "third") as (_, peer, receivers):
        for message in ("1", "2", "3"):
            await peer.send_frame(TEXT, message.encode())
            await settle()
        assert list(receivers.got.items()) == [("in person", "1"), ("second", "2"), ("third", "3")]


@pytest.mark.parametrize("queue_size", [0, 1, 10])
async def test_receivers_are_served_in_order_also_if_all_comes_at_once(queue_size: int) -> None:
    async with server_in_person("in person", "second", "third", "fourth", message_queue_size=queue_size) as (
        ws,
        peer,
        receivers,
    ):
        await send_together(peer, *"123456")
        await settle()
        assert receivers.got == {"in person": "1", "second": "2", "third": "3", "fourth": "4"}
        assert [await ws.get_message() for _ in range(2)] == ["5", "6"]


async def test_receivers_are_served_in_order_also_if_each_message_fills_the_queue() -> None:
    async with server_in_person("in person", "second", "third", message_queue_bytes=100) as (
        ws,
        peer,
        receivers,
    ):
        await send_together(peer, *(letter * 200 for letter in "1234"))
        await settle()
        assert receivers.got == {"in person": "1" * 200, "second": "2" * 200, "third": "3" * 200}
        assert await ws.get_message() == "4" * 200


async def test_cancelled_receiver_in_person_hands_its_place_on() -> None:
    async with server_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as first:
                await Receivers(ws, first).start("cancelled")
                others = Receivers(ws, nursery)
                await others.start("second", "third")
                scope.cancel()
        assert not is_in_person(ws)
        await send_together(peer, "1", "2")
        await settle()
        assert others.got == {"second": "1", "third": "2"}


def test_cancellation_at_any_moment_around_a_message_loses_none() -> None:
    async def scenario(attack: Attack) -> None:
        async with server_of_raw_peer() as (ws, peer):

            async def speak() -> None:
                await settle()
                await send_together(peer, "1", "2")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(speak)
                ending = await attack.run(ws.get_message)
            received = [ending.value] if ending.returned else []
            while len(received) < 2:
                received.append(await ws.get_message())
            assert received == ["1", "2"]

    torture(scenario)


def test_cancellation_at_any_moment_leaves_the_messages_to_those_that_came_later() -> None:
    async def scenario(attack: Attack) -> None:
        async with server_of_raw_peer(message_queue_size=0) as (ws, peer):
            later: dict[int, str | bytes] = {}

            async def receive(number: int) -> None:
                later[number] = await ws.get_message()

            async def come_later(nursery: trio.Nursery) -> None:
                for number in range(2):
                    await settle()
                    nursery.start_soon(receive, number)
                await settle()
                await send_together(peer, "1", "2", "3")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(come_later, nursery)
                ending = await attack.run(ws.get_message)
            got = [*([ending.value] if ending.returned else []), *(later[number] for number in range(2))]
            while len(got) < 3:
                got.append(await ws.get_message())
            assert got == ["1", "2", "3"]

    torture(scenario)


async def test_large_message_comes_whole() -> None:
    message = bytes(range(256)) * 4000
    async with connected_pair() as (client, server), trio.open_nursery() as nursery:
        receivers = Receivers(server, nursery)
        await receivers.start("in person")
        await client.send_message(message)
        await client.send_message("behind it")
        assert await server.get_message() == "behind it"
        await settle()
        assert receivers.got == {"in person": message}


# ----------------------------------------------------------------------------------------------------- other tasks


async def test_large_message_goes_out_while_somebody_waits() -> None:
    message = bytes(range(256)) * 4000
    async with connected_pair() as (client, server), trio.open_nursery() as nursery:
        receivers = Receivers(server, nursery)
        await receivers.start("in person")
        await server.send_message(message)
        await server.send_message("behind it")
        assert [await client.get_message(), await client.get_message()] == [message, "behind it"]
        # It goes on waiting.
        await client.send_message("at last")
        await settle()
        assert receivers.got == {"in person": "at last"}


async def test_ping_of_another_task_is_answered() -> None:
    async with connected_pair() as (client, server), trio.open_nursery() as nursery:
        await Receivers(server, nursery).start("in person")
        assert await server.ping() >= 0
        assert await client.ping() >= 0
        assert is_in_person(server)
        await client.send_message("x")


async def test_peers_ping_is_answered_and_the_wait_goes_on() -> None:
    async with server_in_person("in person") as (ws, peer, receivers):
        await peer.send_frame(PING, b"hi")
        assert await peer.read_frame() == (True, PONG, b"hi")
        await settle()
        assert is_in_person(ws)
        await peer.send_frame(BINARY, b"x")
        await settle()
        assert receivers.got == {"in person": b"x"}


async def _close_by_raw(pair: Pair) -> None:
    await pair.client.aclose(4000, "enough")


async def _close_by_us(pair: Pair) -> None:
    await pair.server.aclose(4000, "enough")


@pytest.mark.parametrize("close", [_close_by_raw, _close_by_us], ids=["the peer", "another task"])
async def test_close_wakes_all_who_wait(close: Callable[[Pair], Any]) -> None:
    async with connected_pair() as pair, trio.open_nursery() as nursery:
        receivers = Receivers(pair.server, nursery)
        await receivers.start("in person", "second")
        await close(pair)
        await settle()
        assert [receivers.errors[name].reason for name in ("in person", "second")] == [
            CloseReason(4000, "enough")
        ] * 2
        assert receivers.errors["in person"] is not receivers.errors["second"]


async def test_messages_before_the_peers_close_are_still_received() -> None:
    async with server_in_person("in person") as (ws, peer, receivers):
        await peer.stream.send_all(texts("1", "2") + frame(CLOSE, b"\x03\xe9", mask=MASK))
        await settle()
        assert receivers.got == {"in person": "1"}
        assert await ws.get_message() == "2"
        with pytest.raises(ConnectionClosed, match="1001"):
            await ws.get_message()


@pytest.mark.parametrize("is_client", [False, True], ids=["server", "client"])
async def test_peer_that_leaves_without_a_word_is_noticed(is_client: bool) -> None:
    pair = client_of_raw_peer if is_client else server_of_raw_peer
    async with pair() as (ws, peer), trio.open_nursery() as nursery:
        receivers = Receivers(ws, nursery)
        await receivers.start("in person", "second")
        await peer.stream.aclose()
        await settle()
        assert {name: error.reason for name, error in receivers.errors.items()} == dict.fromkeys(
            ("in person", "second"), CloseReason(1006, None)
        )


async def test_peer_that_breaks_a_rule_is_noticed() -> None:
    async with server_in_person("in person", "second") as (_, peer, receivers):
        await peer.stream.send_all(frame(TEXT, b"unmasked"))
        await settle()
        assert {name: error.reason and error.reason.code for name, error in receivers.errors.items()} == {
            "in person": 1002,
            "second": 1002,
        }


async def test_flood_of_pings_hands_the_wait_back_to_the_hub() -> None:
    async with server_in_person("in person", "second", write_backlog=2**30) as (_, peer, receivers):
        flood = 1000 * frame(PING, mask=MASK)
        await peer.stream.send_all(flood + texts("1", "2"))
        for _ in range(1000):
            assert (await peer.read_frame()).opcode == PONG
        await settle()
        assert receivers.got == {"in person": "1", "second": "2"}
