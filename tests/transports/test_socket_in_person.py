"""The transport over a plain socket, when a task waits for the socket itself while the hub is quiet."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing
from fakes import Owner, narrow_pair, over_socket, reset, tcp_pair, until

from trio_websocket._kernel import Buffer
from trio_websocket._transports import SocketTransport

settle = trio.testing.wait_all_tasks_blocked


def hub_of(transport: SocketTransport) -> Any:
    return transport._hub


async def wait_in_person(transport: SocketTransport) -> None:
    """Read in person, as who has looked in vain already."""
    hub_of(transport)._waits_left += 1
    await transport.read_in_person()


async def test_one_waits_in_person_and_the_hub_takes_the_socket_back() -> None:
    async with over_socket() as (transport, owner, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(wait_in_person, transport)
        await settle()
        assert not transport.can_read_in_person()
        turns = hub_of(transport).turns.count
        theirs.send(b"in person")
        await settle()
        assert owner.data == b"in person"
        assert not nursery.child_tasks
        # To read is a turn as well: what is written from it goes out at once.
        assert hub_of(transport).turns.count > turns
        theirs.send(b", by the hub")
        await settle()
        assert owner.data == b"in person, by the hub"
        assert transport.can_read_in_person()


async def test_what_comes_while_nobody_waits_is_told_by_the_hub() -> None:
    async with over_socket() as (transport, owner, theirs):
        for round_ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_in_person, transport)
                await settle()
                theirs.send(b"a")
            # Before the hub has looked again.
            theirs.send(b"b")
            await settle()
            assert owner.data == b"ab" * (round_ + 1)


@pytest.mark.parametrize("delay", range(5))
async def test_cancelled_wait_leaves_what_comes_to_the_hub(delay: int) -> None:
    async with over_socket() as (transport, owner, theirs):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_in_person, transport)
            await settle()
            theirs.send(b"x")
            for _ in range(delay):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        await settle()
        assert owner.data == b"x"


async def test_socket_that_is_soon_waited_for_again_stays_out_of_the_poller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with over_socket() as (transport, owner, theirs), trio.open_nursery() as nursery:
        hub = hub_of(transport)
        added: list[int] = []
        monkeypatch.setattr(hub._poller, "add", added.append)

        async def read_twice() -> None:
            await wait_in_person(transport)
            await wait_in_person(transport)

        nursery.start_soon(read_twice)
        await settle()
        theirs.send(b"a")
        await settle()
        assert owner.data == b"a"
        assert added == []
        theirs.send(b"b")
        await settle()
        assert owner.data == b"ab"
        assert added == [transport.fd]


@pytest.mark.parametrize("does", ["abort", "write"])
async def test_socket_that_was_just_left_may_be_closed_or_written_to(does: str) -> None:
    message = bytes(range(256)) * 1024
    async with over_socket(narrow_pair) as (transport, owner, theirs):
        async with trio.open_nursery() as nursery:

            async def read_and_go_on() -> None:
                await wait_in_person(transport)
                if does == "abort":
                    transport.abort()
                else:
                    transport.write(message)

            nursery.start_soon(read_and_go_on)
            await settle()
            theirs.send(b"x")
        if does == "abort":
            await owner.lost.wait()
            return
        received = bytearray()

        def is_complete() -> bool:
            try:
                received.extend(theirs.recv(1 << 20))
            except BlockingIOError:
                pass
            return len(received) == len(message)

        await until(is_complete)
        assert received == message


async def test_cancelled_wait_gives_the_socket_back() -> None:
    async with over_socket() as (transport, owner, theirs):
        with trio.move_on_after(0) as scope:
            await wait_in_person(transport)
        assert scope.cancelled_caught
        assert transport.can_read_in_person()
        theirs.send(b"x")
        await settle()
        assert owner.data == b"x"


@pytest.mark.parametrize(
    "why", ["no owner", "not quiet", "backlog", "paused", "closing", "readable", "two already"]
)
async def test_nobody_waits_in_person_where_it_would_miss_something(why: str) -> None:
    async with over_socket() as (transport, _, theirs), trio.open_nursery() as nursery:
        assert transport.can_read_in_person()
        if why == "no owner":
            ours, theirs_too = socket.socketpair()
            other = SocketTransport(ours)
            assert not other.can_read_in_person()
            other.abort()
            theirs_too.close()
            return
        if why == "not quiet":
            hub_of(transport).pace.is_quiet = False
        elif why == "backlog":
            transport.write(b"a")
            transport.write(b"b")
        elif why == "paused":
            transport.pause_reading()
        elif why == "closing":
            transport.close(timeout=1, linger=1, shutdown=False)
        elif why == "readable":
            transport.pause_reading()
            theirs.send(b"x")
            await settle()
            transport.resume_reading()
        else:
            await _two_in_person(transport, nursery)
            return
        assert not transport.can_read_in_person()


async def _two_in_person(transport: SocketTransport, nursery: trio.Nursery) -> None:
    async with over_socket() as (second, _, _), over_socket() as (third, _, _):
        nursery.start_soon(wait_in_person, second)
        await settle()
        assert transport.can_read_in_person()
        nursery.start_soon(wait_in_person, third)
        await settle()
        assert not transport.can_read_in_person()
        second.wake_waiters()
        await settle()
        assert transport.can_read_in_person()


async def test_write_that_finds_no_room_drains_all_the_same() -> None:
    message = bytes(range(256)) * 1024
    async with over_socket(narrow_pair) as (transport, _, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(wait_in_person, transport)
        await settle()
        transport.write(message)
        transport.write(b"tail")
        assert transport.backlog > 0
        await settle()
        # Back in the poller, which tells of room.
        assert not nursery.child_tasks
        received = bytearray()

        def is_complete() -> bool:
            try:
                received.extend(theirs.recv(1 << 20))
            except BlockingIOError:
                pass
            return len(received) == len(message) + 4

        await until(is_complete)
        assert received == message + b"tail"
        assert transport.can_read_in_person()


async def test_write_that_finds_no_room_when_the_wait_is_over_drains_all_the_same() -> None:
    message = bytes(range(256)) * 1024

    class Answering(Owner):
        def data_received(self, data: Buffer) -> None:
            super().data_received(data)
            transport.write(message)

    async with over_socket(narrow_pair, owner=Answering()) as (transport, _, theirs):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_in_person, transport)
            await settle()
            theirs.send(b"?")
        received = bytearray()

        def is_complete() -> bool:
            try:
                received.extend(theirs.recv(1 << 20))
            except BlockingIOError:
                pass
            return len(received) == len(message)

        await until(is_complete)
        assert received == message


@pytest.mark.parametrize("wake", ["wake_waiters", "abort", "close"])
async def test_wait_ends_when_it_has_become_pointless(wake: str) -> None:
    async with over_socket() as (transport, owner, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(wait_in_person, transport)
        await settle()
        if wake == "close":
            transport.close(timeout=1, linger=0, shutdown=False)
        else:
            getattr(transport, wake)()
        await settle()
        assert not nursery.child_tasks
        if wake == "wake_waiters":
            theirs.send(b"x")
            await settle()
            assert owner.data == b"x"
        else:
            assert owner.told == [("lost", None)]


def end(theirs: socket.socket) -> None:
    theirs.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("does", [end, socket.socket.close, reset])
async def test_peers_end_is_told_once(does: Callable[[socket.socket], None]) -> None:
    async with over_socket(tcp_pair) as (transport, owner, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(wait_in_person, transport)
        await settle()
        does(theirs)
        await until(lambda: bool(owner.told))
        await settle()
        assert not nursery.child_tasks
        if does is reset:
            assert isinstance(owner.error, trio.BrokenResourceError)
        else:
            assert owner.told == [("eof", None)]


async def test_data_and_end_that_come_together_are_both_told() -> None:
    async with over_socket() as (transport, owner, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(wait_in_person, transport)
        await settle()
        theirs.send(b"goodbye")
        theirs.close()
        await settle()
        assert owner.told == [("data", b"goodbye"), ("eof", None)]


async def test_more_than_one_read_is_read_on_by_the_hub() -> None:
    async with over_socket(receive_size=2) as (transport, owner, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(wait_in_person, transport)
        await settle()
        theirs.send(b"abcde")
        await settle()
        assert owner.data == b"abcde"
        assert not nursery.child_tasks


async def test_error_of_the_owner_ends_the_connection_and_not_the_task(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bug = RuntimeError("ours")

    class Broken(Owner):
        def data_received(self, data: Buffer) -> None:
            raise bug

    async with over_socket(owner=Broken()) as (transport, owner, theirs):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_in_person, transport)
            await settle()
            theirs.send(b"x")
        await owner.lost.wait()
        assert owner.error is bug
    assert len(caplog.records) == 1


async def test_poller_that_does_not_take_the_socket_back_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with over_socket() as (transport, owner, theirs), trio.open_nursery() as nursery:
        nursery.start_soon(wait_in_person, transport)
        await settle()

        def refuse(sock: object) -> None:
            raise OSError("no more watches")

        monkeypatch.setattr(hub_of(transport), "take_back", refuse)
        theirs.send(b"last")
        await owner.lost.wait()
        assert owner.data == b"last"
        assert "no more watches" in str(owner.error)


# ------------------------------------------------------------------------------------------- looks before the wait


@pytest.mark.parametrize("turns", range(3))
async def test_what_comes_within_a_few_turns_is_read_without_a_wait(
    turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    wait_readable = trio.lowlevel.wait_readable

    async def wait(fd: int) -> None:
        waited.append(fd)
        await wait_readable(fd)

    monkeypatch.setattr(trio.lowlevel, "wait_readable", wait)
    async with over_socket() as (transport, owner, theirs):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.read_in_person)
            for _ in range(1 + turns):
                await trio.lowlevel.checkpoint()
            theirs.send(b"x")
        assert owner.data == b"x"
        assert transport.fd not in waited


async def count_waits(transport: SocketTransport, theirs: socket.socket, looks: int) -> list[int]:
    """How many waits there are before each of so many looks, where the peer only answers who waits."""
    counts: list[int] = []
    count = 0
    while len(counts) < looks:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.read_in_person)
            await settle()
            if nursery.child_tasks:
                count += 1
                theirs.send(b"x")
            else:
                counts.append(count)
                count = 0
    return counts


async def test_looks_in_vain_get_few_and_one_that_is_not_brings_them_back() -> None:
    async with over_socket() as (transport, _, theirs):
        assert await count_waits(transport, theirs, 8) == [0, 1, 3, 7, 15, 31, 31, 31]
        hub_of(transport)._waits_left = 0
        theirs.send(b"x")
        await transport.read_in_person()
        assert await count_waits(transport, theirs, 3) == [0, 1, 3]


class Filling(Owner):
    """Awaits the last bytes of a large message."""

    left = 4

    @property
    def is_filling(self) -> bool:
        return self.left > 0

    def fill(self, receive: Callable[[memoryview], int]) -> int:
        size = receive(memoryview(bytearray(self.left)))
        self.left -= size
        return size


@pytest.mark.parametrize(("data", "left"), [(b"ab", 2), (b"abcd", 0), (b"abcde", 0)])
async def test_look_is_not_in_vain_if_it_gets_a_part_of_a_large_message(data: bytes, left: int) -> None:
    owner = Filling()
    async with over_socket(owner=owner) as (transport, _, theirs):
        transport.read_on(2**16 - 1)  # as if much had come
        theirs.send(data)
        await transport.read_in_person()
        assert (owner.left, owner.data) == (left, data[4:])
        assert hub_of(transport)._waits == 0


async def test_look_at_a_large_message_that_does_not_go_on_is_in_vain() -> None:
    async with over_socket(owner=Filling()) as (transport, owner, theirs):
        transport.read_on(2**16 - 1)
        await transport.read_in_person()
        assert hub_of(transport)._waits == 1
        theirs.close()
        await wait_in_person(transport)
        assert owner.told == [("eof", None)]


async def test_look_is_no_sign_of_life_unless_something_came() -> None:
    async with over_socket() as (transport, _, theirs):
        await transport.read_in_person()
        assert not transport.take_sign_of_life()
        hub_of(transport)._waits_left = 0
        theirs.send(b"x")
        await transport.read_in_person()
        assert transport.take_sign_of_life()


async def test_who_is_cancelled_already_takes_nothing() -> None:
    async with over_socket() as (transport, owner, theirs):
        theirs.send(b"x")
        with trio.move_on_after(0) as scope:
            await transport.read_in_person()
        assert scope.cancelled_caught
        assert owner.data == b""
        await settle()
        assert owner.data == b"x"


@pytest.mark.parametrize("does", ["abort", "pause", "wake", "write"])
@pytest.mark.parametrize("turns", range(2))
async def test_what_happens_during_a_look_is_not_missed(does: str, turns: int) -> None:
    async with over_socket(narrow_pair) as (transport, owner, theirs):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.read_in_person)
            for _ in range(2 + turns):  # it has begun
                await trio.lowlevel.checkpoint()
            if does == "abort":
                transport.abort()
            elif does == "pause":
                transport.pause_reading()
            elif does == "wake":
                transport.wake_waiters()
            else:
                transport.write(bytes(2**18))
        # It did not begin to wait.
        if does == "abort":
            assert owner.told in ([], [("lost", None)])
            return
        assert transport.can_read_in_person() == (does == "wake")
        theirs.send(b"x")
        await settle()
        assert owner.data == (b"" if does == "pause" else b"x")
        if does == "pause":
            transport.resume_reading()
            await settle()
            assert owner.data == b"x"
        elif does == "write":
            assert transport.backlog
            while transport.backlog:
                theirs.recv(1 << 20)
                await settle()
