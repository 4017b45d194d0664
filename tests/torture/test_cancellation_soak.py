"""Senders and receivers whose calls are cancelled at random, over a network that is slow: the books must balance."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from checkpoints import contained, seed_scheduler
from support import TEXT, RawPeer, make_pair, request_head

import trio_websocket
from trio_websocket import WebSocketConnection

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("transport")]


class SlowStream(trio.abc.Stream):
    """A stream that takes and gives a few bytes at a time, and its time for each.

    Args:
        stream: The stream below.
        dice: How much and how long.
    """

    def __init__(self, stream: trio.abc.Stream, dice: random.Random) -> None:
        self.stream = stream
        self.dice = dice

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            await trio.sleep(self.dice.expovariate(10))
            size = self.dice.randint(1, 2000)
            await self.stream.send_all(bytes(rest[:size]))
            rest = rest[size:]

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        await trio.sleep(self.dice.expovariate(10))
        return await self.stream.receive_some(self.dice.randint(1, 2000))

    async def aclose(self) -> None:
        await self.stream.aclose()


@asynccontextmanager
async def slow_pair(dice: random.Random) -> AsyncIterator[tuple[trio.abc.Stream, trio.abc.Stream]]:
    """Two ends of a slow network. They are plain streams or sockets, so it is slow between the two."""
    ours, near = make_pair(is_tight=True)
    far, theirs = make_pair(is_tight=True)
    async with near, far, trio.open_nursery() as nursery:
        nursery.start_soon(_carry, near, SlowStream(far, dice))
        nursery.start_soon(_carry, far, SlowStream(near, dice))
        yield ours, theirs
        nursery.cancel_scope.cancel()


async def _carry(source: trio.abc.Stream, sink: SlowStream) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await source.receive_some(2000):
            await sink.send_all(data)
        await sink.aclose()


class Ledger:
    """What was sent and what was received, in one direction, with every call cancelled after a random time.

    Args:
        dice: How long each call may take, and how large each message is.
        senders: The names of those who will send.
    """

    def __init__(self, dice: random.Random, senders: str) -> None:
        self.dice = dice
        self.sent: list[str] = []
        self.received: list[str] = []
        self.cancelled = 0
        self._senders = set(senders)

    async def send(self, ws: WebSocketConnection, name: str, count: int) -> None:
        """Try to send so many messages; those that a cancellation withdraws are gone."""
        for number in range(count):
            message = f"{name} {number} " + "x" * self.dice.choice([0, 10, 1000, 5000])
            with trio.move_on_after(self.dice.expovariate(1)) as scope:
                await ws.send_message(message)
                self.sent.append(message)
            self.cancelled += scope.cancelled_caught
        self._senders.remove(name)

    async def receive(self, ws: WebSocketConnection) -> None:
        """Receive until all that was sent has come."""
        while self._senders or len(self.received) < len(self.sent):
            with trio.move_on_after(self.dice.expovariate(1)) as scope:
                message = await ws.get_message()
                assert isinstance(message, str)
                self.received.append(message)
            self.cancelled += scope.cancelled_caught

    async def ping(self, ws: WebSocketConnection, count: int) -> None:
        """Ping, as the others send."""
        for _ in range(count):
            with trio.move_on_after(self.dice.expovariate(1)) as scope:
                await ws.ping()
            self.cancelled += scope.cancelled_caught

    def balance(self, *, keeps_order: bool) -> None:
        """Nothing is lost, torn, withdrawn and sent all the same, or there twice."""
        assert Counter(self.received) == Counter(self.sent)
        # Whoever receives in several tasks gives up the order.
        for sender in {message[0] for message in self.sent} if keeps_order else ():
            assert _of(sender, self.received) == _of(sender, self.sent)
        assert self.cancelled > 10


def _of(sender: str, messages: list[str]) -> list[str]:
    return [message for message in messages if message[0] == sender]


@pytest.mark.parametrize("seed", range(4))
async def test_books_of_both_ends_balance(seed: int, mock_clock: trio.testing.MockClock) -> None:
    seed_scheduler(seed)
    dice = random.Random(seed)
    options: dict[str, Any] = {"write_backlog": 3000, "message_queue_size": dice.choice([1, 3])}
    upward, downward = Ledger(dice, "abc"), Ledger(dice, "abc")
    async with contained(), slow_pair(dice) as streams, trio.open_nursery() as nursery:
        ends: dict[str, WebSocketConnection] = {}

        async def accept() -> None:
            request = await trio_websocket.wrap_server_stream(nursery, streams[1], **options)
            ends["server"] = await request.accept()

        async with trio.open_nursery() as opening:
            opening.start_soon(accept)
            client = await trio_websocket.wrap_client_stream(nursery, streams[0], "test", "/", **options)
        server = ends["server"]
        async with trio.open_nursery() as work:
            for name in "abc":
                work.start_soon(upward.send, client, name, 25)
                work.start_soon(downward.send, server, name, 25)
            work.start_soon(upward.receive, server)
            for _ in range(2):
                work.start_soon(downward.receive, client)
            work.start_soon(upward.ping, client, 25)
            work.start_soon(downward.ping, server, 25)
        upward.balance(keeps_order=True)
        downward.balance(keeps_order=False)
        await client.aclose()
        assert (await server.wait_closed()).code == 1000


@pytest.mark.parametrize("seed", range(4))
async def test_raw_peer_finds_every_frame_whole_and_none_of_a_withdrawn_message(
    seed: int, mock_clock: trio.testing.MockClock
) -> None:
    seed_scheduler(seed)
    dice = random.Random(seed)
    ours, theirs = make_pair(is_tight=True)
    peer = RawPeer(SlowStream(theirs, dice), is_client=True)
    ledger = Ledger(dice, "abcde")

    async def read() -> None:
        while True:
            frame = await peer.read_frame()
            assert frame.fin and frame.opcode == TEXT
            ledger.received.append(frame.payload.decode())

    async with contained(), theirs, trio.open_nursery() as nursery:
        nursery.start_soon(partial(theirs.send_all, request_head()))
        ws = await (await trio_websocket.wrap_server_stream(nursery, ours, write_backlog=3000)).accept()
        await peer.read_head()
        nursery.start_soon(read)
        async with trio.open_nursery() as work:
            for name in "abcde":
                work.start_soon(ledger.send, ws, name, 25)
        # More than what is under way can take.
        await trio.sleep(1000)
        ledger.balance(keeps_order=True)
        nursery.cancel_scope.cancel()
