"""A hub with many busy sockets sends what they answer together, before it looks again, and loses nothing of it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from fakes import Owner, SocketPair, narrow_pair, over_socket, receive, stuff, unix_pair

from trio_websocket._kernel import Buffer
from trio_websocket._transports import SocketTransport
from trio_websocket._transports._hub import hub_of_this_run

settle = trio.testing.wait_all_tasks_blocked

BUSY = b"."
# More of them are answered together.
MANY = 9


class Echo(Owner):
    """Sends back what it is told, but not what keeps the hub busy, and notes when all has left."""

    transport: SocketTransport

    def data_received(self, data: Buffer) -> None:
        if not bytes(data).strip(BUSY):
            return
        super().data_received(data)
        self.transport.write(bytes(data))

    def backlog_drained(self) -> None:
        self.told.append(("drained", None))


Opened = list[tuple[SocketTransport, Echo, socket.socket]]


@contextlib.asynccontextmanager
async def busy_sockets(count: int = MANY, pair: SocketPair = unix_pair) -> AsyncIterator[Opened]:
    """So many sockets of a hub that is busy for this turn and the next."""
    async with contextlib.AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            owner = Echo()
            owner.transport, _, theirs = await stack.enter_async_context(over_socket(pair, owner=owner))
            owner.transport.set_max_backlog(1000)
            opened.append((owner.transport, owner, theirs))
        await settle()
        hub = hub_of_this_run()
        while not hub.turns.will_flush:
            send_all(opened, BUSY)
            await trio.lowlevel.checkpoint()
        send_all(opened, BUSY)
        await trio.lowlevel.checkpoint()
        yield opened


def send_all(opened: Opened, data: bytes) -> None:
    for _, _, theirs in opened:
        theirs.send(data)


async def test_busy_hub_sends_what_was_answered_in_a_turn_before_it_looks_again() -> None:
    async with busy_sockets() as opened:
        transport, owner, theirs = opened[0]
        transport.write(b"1")
        transport.write(b"2")
        assert transport.backlog
        assert receive(theirs) == b""
        send_all(opened, b"x")
        await trio.lowlevel.checkpoint()
        assert receive(theirs) == b"12"
        assert owner.data == b"x"
        # And what was answered after the look.
        assert transport.backlog == 1
        await settle()
        assert receive(theirs) == b"x"
        assert transport.backlog == 0
        # No longer busy, it keeps nothing.
        transport.write(b"3")
        assert receive(theirs) == b"3"


async def test_hub_that_is_busy_no_more_sends_what_it_kept() -> None:
    async with busy_sockets() as opened:
        hub = hub_of_this_run()
        transport, _, theirs = opened[0]
        written = b""
        while hub.turns.is_corked:
            transport.write(b"x")
            written += b"x"
            await trio.lowlevel.checkpoint()
        assert transport.backlog == 0
        assert receive(theirs) == written


def test_what_a_busy_hub_kept_is_sent_when_the_run_ends() -> None:
    ends: list[socket.socket] = []

    async def leave() -> None:
        opened = []
        for _ in range(MANY):
            owner = Echo()
            ours, theirs = unix_pair()
            owner.transport = SocketTransport(ours)
            owner.transport.set_owner(owner)
            opened.append((owner.transport, owner, theirs))
            ends.append(theirs)
        await settle()
        while not hub_of_this_run().turns.is_corked:
            send_all(opened, BUSY)
            await trio.lowlevel.checkpoint()
        for transport, _, _ in opened:
            transport.write(b"goodbye")
        assert [receive(theirs) for theirs in ends] == [b""] * MANY

    trio.run(leave)
    for theirs in ends:
        assert receive(theirs) == b"goodbye"
        theirs.close()


async def test_sender_that_waits_for_a_busy_hub_goes_on() -> None:
    async with busy_sockets() as opened:
        transport, owner, theirs = opened[0]
        transport.set_max_backlog(1)
        transport.write(b"12")
        with trio.fail_after(5):
            await transport.wait_backlog(1)
        assert transport.backlog == 0
        assert receive(theirs) == b"12"
        assert ("drained", None) in owner.told


async def test_much_is_sent_at_once_though_the_hub_is_busy() -> None:
    async with busy_sockets() as opened:
        transport, _, theirs = opened[0]
        transport.write(b"a")
        transport.write(b"b" * 65536)
        assert transport.backlog == 0
        transport.write(b"c")
        transport.writelines([b"d", b"e"])
        assert receive(theirs) == b"a" + b"b" * 65536 + b"cde"


async def test_what_finds_no_room_in_a_busy_turn_follows_when_there_is_some() -> None:
    async with busy_sockets(pair=narrow_pair) as opened:
        transport, owner, theirs = opened[0]
        stuff(transport._sock)
        transport.write(b"1")
        transport.write(b"2")
        await settle()
        assert transport.backlog == 2
        assert ("drained", None) not in owner.told
        assert receive(theirs).strip(b"~") == b""
        await settle()
        assert receive(theirs) == b"12"
        assert transport.backlog == 0
        assert ("drained", None) in owner.told


@pytest.mark.parametrize("how", ["gone", "aborted", "closed"])
async def test_connection_that_ends_in_a_busy_turn_leaves_the_others_alone(how: str) -> None:
    async with busy_sockets() as opened:
        for transport, _, _ in opened:
            transport.write(b"x")
        transport, owner, theirs = opened[0]
        if how == "gone":
            theirs.close()
        elif how == "aborted":
            transport.abort()
        else:
            transport.close(timeout=1, linger=0, shutdown=True)
        await owner.lost.wait()
        if how == "gone":
            assert isinstance(owner.error, trio.BrokenResourceError)
        else:
            assert receive(theirs) == (b"x" if how == "closed" else b"")
        for _, _, peer in opened[1:]:
            assert receive(peer) == b"x"


async def test_bug_in_who_hears_that_all_has_left_ends_its_connection_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bug = RuntimeError("ours")

    def fail() -> None:
        raise bug

    async with busy_sockets() as opened:
        transport, owner, _ = opened[0]
        transport.set_max_backlog(0)
        owner.backlog_drained = fail  # type: ignore[method-assign]
        for other, _, _ in opened:
            other.write(b"x")
        await owner.lost.wait()
        assert owner.error is bug
        for _, _, peer in opened[1:]:
            assert receive(peer) == b"x"
    assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_a_few_are_answered_one_by_one_and_together_if_they_say_much() -> None:
    async with busy_sockets(3) as opened:
        turns = hub_of_this_run().turns
        transport, _, theirs = opened[0]
        transport.write(b"1")
        assert receive(theirs) == b"1"
        transport.write(b"2")
        transport.write(b"3")
        assert receive(theirs) == b""
        send_all(opened, b"x")
        await trio.lowlevel.checkpoint()
        assert [receive(peer) for _, _, peer in opened] == [b"23x", b"x", b"x"]
        send_all(opened, b"y")
        await trio.lowlevel.checkpoint()
        assert [receive(peer) for _, _, peer in opened] == [b""] * 3
        await settle()
        assert [receive(peer) for _, _, peer in opened] == [b"y"] * 3
        assert not turns.is_corked


async def test_instrument_stays_for_a_while_and_goes_with_the_hub() -> None:
    async with busy_sockets(3):
        hub: Any = hub_of_this_run()
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        assert hub._around_looking is not None
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        assert hub._around_looking is None
    async with busy_sockets(3):
        hub = hub_of_this_run()
        # As Trio does with one that raises.
        trio.lowlevel.remove_instrument(hub._around_looking)
    assert hub._around_looking is None
