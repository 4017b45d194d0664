"""The transport over a plain socket: how it writes."""

from __future__ import annotations

import errno
import logging
import socket

import pytest
import trio
import trio.testing
from fakes import (
    Owner,
    SocketPair,
    narrow_pair,
    over_socket,
    receive,
    reset,
    stuff,
    tcp_pair,
    unix_pair,
    until,
)

from trio_websocket._transports import SocketTransport

settle = trio.testing.wait_all_tasks_blocked


def stuffed_pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = narrow_pair()
    stuff(ours)
    return ours, theirs


class Drained(Owner):
    """Notes also when all has left."""

    def backlog_drained(self) -> None:
        self.told.append(("drained", None))


# --------------------------------------------------------------------------------------------------- at once or later


async def test_first_write_goes_out_at_once_and_what_follows_in_the_turn_goes_out_together() -> None:
    async with over_socket(owner=Drained()) as (transport, owner, theirs):
        transport.write(b"a")
        assert receive(theirs) == b"a"
        transport.write(b"b")
        transport.write(b"c")
        assert receive(theirs) == b""
        assert transport.backlog == 2
        await settle()
        assert receive(theirs) == b"bc"
        assert transport.backlog == 0
        assert owner.told == [("drained", None)]
        transport.write(b"d")
        assert receive(theirs) == b"d"


async def test_more_than_is_worth_collecting_goes_out_before_the_turn() -> None:
    async with over_socket() as (transport, _, theirs):
        transport.write(b"a")
        transport.write(b"b" * 65536)
        assert receive(theirs) == b"a"
        transport.write(b"c")
        assert receive(theirs) == b"b" * 65536 + b"c"
        assert transport.backlog == 0
        await settle()
        assert receive(theirs) == b""


async def test_parts_go_out_at_once_behind_what_waits() -> None:
    async with over_socket() as (transport, _, theirs):
        transport.writelines([b"a", b"b"])
        assert receive(theirs) == b"ab"
        transport.write(b"c")
        transport.write(b"d")
        transport.writelines([b"e", b"", b"f" * 70_000])
        assert receive(theirs) == b"cde" + b"f" * 70_000


async def test_more_parts_than_one_call_may_send_go_out_in_order() -> None:
    parts = [bytes([number]) * 1024 for number in range(200)]
    async with over_socket(tcp_pair) as (transport, _, theirs):
        transport.writelines(list(parts))
        received = bytearray()

        def is_complete() -> bool:
            received.extend(receive(theirs))
            return len(received) == 200 * 1024

        await until(is_complete)
        assert bytes(received) == b"".join(parts)
        assert transport.backlog == 0


async def test_empty_data_is_no_trouble() -> None:
    async with over_socket(narrow_pair) as (transport, _, theirs):
        transport.write(b"")
        transport.writelines([])
        transport.writelines([b"", b""])
        transport.write(b"x")
        await settle()
        assert receive(theirs) == b"x"


# ------------------------------------------------------------------------------------------------ under back-pressure


@pytest.mark.parametrize("pair", [narrow_pair, tcp_pair], ids=["unix", "tcp"])
async def test_long_message_goes_out_as_the_peer_reads(pair: SocketPair) -> None:
    message = bytes(range(256)) * 65536
    received = bytearray()
    seen: list[int] = []
    async with over_socket(pair, owner=Drained()) as (transport, owner, theirs):
        transport.write(b"head")
        transport.write(message)
        transport.writelines([b"ta", b"il"])

        def is_complete() -> bool:
            received.extend(receive(theirs))
            seen.append(transport.backlog)
            return len(received) == len(message) + 8

        assert transport.backlog > 0
        await until(is_complete)
        await until(lambda: bool(owner.told))
        assert received == b"head" + message + b"tail"
        assert seen == sorted(seen, reverse=True)
        assert len(set(seen)) > 2
        assert transport.backlog == 0
        assert owner.told == [("drained", None)]


async def test_write_never_waits_and_never_fails() -> None:
    async with over_socket(stuffed_pair) as (transport, _, theirs):
        for number in range(200):
            transport.write(bytes([number]) * 1000)
        await settle()
        assert transport.backlog == 200_000
        received = bytearray()

        def is_complete() -> bool:
            received.extend(receive(theirs))
            return not transport.backlog

        await until(is_complete)
        received += receive(theirs)
        assert received.lstrip(b"~") == b"".join(bytes([number]) * 1000 for number in range(200))


async def test_first_write_of_a_turn_may_find_no_room() -> None:
    async with over_socket(stuffed_pair) as (transport, _, theirs):
        transport.write(b"x")
        assert transport.backlog == 1
        receive(theirs)
        await settle()
        assert transport.backlog == 0
        assert receive(theirs) == b"x"


async def test_what_waits_for_the_turn_may_find_no_room() -> None:
    async with over_socket(narrow_pair) as (transport, _, theirs):
        transport.write(b"x")
        transport.write(b"y")
        stuff(transport._sock)
        await settle()
        assert transport.backlog == 1
        assert receive(theirs)[0] == ord("x")
        await settle()
        assert receive(theirs) == b"y"


async def test_owner_hears_when_all_has_left_and_may_write_at_once() -> None:
    class Answering(Drained):
        def backlog_drained(self) -> None:
            super().backlog_drained()
            if len(self.told) == 1:
                transport.write(b"more")

    async with over_socket(stuffed_pair, owner=Answering()) as (transport, owner, theirs):
        transport.write(b"x")
        await settle()
        assert owner.told == []
        receive(theirs)
        await settle()
        assert owner.told[0] == ("drained", None)
        assert receive(theirs) == b"xmore"


async def test_bytes_come_and_go_while_there_is_no_room() -> None:
    async with over_socket(stuffed_pair) as (transport, owner, theirs):
        transport.write(b"x")
        theirs.send(b"hello")
        await settle()
        assert owner.data == b"hello"
        receive(theirs)
        # Room and bytes, told at once.
        theirs.send(b", again")
        await settle()
        assert owner.data == b"hello, again"
        assert receive(theirs) == b"x"


async def test_waiting_for_room_ends_when_there_is_room() -> None:
    async with over_socket(stuffed_pair) as (transport, _, theirs), trio.open_nursery() as nursery:
        transport.write(bytes(11))
        await transport.wait_backlog(11)
        nursery.start_soon(transport.wait_backlog, 10)
        nursery.start_soon(transport.wait_backlog, 0)
        await settle()
        assert len(nursery.child_tasks) == 2
        receive(theirs)
        await settle()
        assert len(nursery.child_tasks) == 0


@pytest.mark.parametrize("wake", ["wake_waiters", "abort"])
async def test_waiting_for_room_ends_when_it_has_become_pointless(wake: str) -> None:
    async with over_socket(stuffed_pair) as (transport, _, _theirs), trio.open_nursery() as nursery:
        transport.wake_waiters()
        transport.write(b"x")
        nursery.start_soon(transport.wait_backlog, 0)
        await settle()
        assert len(nursery.child_tasks) == 1
        getattr(transport, wake)()
        await settle()
        assert len(nursery.child_tasks) == 0


async def test_cancelled_wait_for_room_leaves_the_others_waiting() -> None:
    async with over_socket(stuffed_pair) as (transport, _, theirs), trio.open_nursery() as nursery:
        transport.write(b"x")
        nursery.start_soon(transport.wait_backlog, 0)
        with trio.move_on_after(0) as scope:
            await transport.wait_backlog(0)
        assert scope.cancelled_caught
        assert len(nursery.child_tasks) == 1
        receive(theirs)


# ------------------------------------------------------------------------------------------------------- at the end


async def test_write_after_the_end_is_dropped() -> None:
    async with over_socket() as (transport, owner, theirs):
        transport.write(b"before")
        transport.close(timeout=10, linger=0, shutdown=False)
        transport.write(b"after")
        transport.writelines([b"after"])
        await owner.lost.wait()
        transport.write(b"long after")
        assert transport.backlog == 0
        await transport.wait_backlog(0)
        assert receive(theirs) == b"before"


async def test_write_without_an_owner_is_dropped() -> None:
    ours, theirs = unix_pair()
    transport = SocketTransport(ours)
    transport.write(b"x")
    transport.writelines([b"x"])
    transport.wake_waiters()
    assert not transport.can_read_in_person()
    transport.close(timeout=1, linger=0, shutdown=True)
    assert theirs.recv(1) == b""
    theirs.close()


@pytest.mark.parametrize("how", ["at once", "in the turn", "in parts"])
async def test_write_error_is_told_behind_the_peers_last_words(how: str) -> None:
    async with over_socket(owner=Drained()) as (transport, owner, theirs):
        transport.pause_reading()
        if how == "in the turn":
            transport.write(b"first")
            transport.write(b"second")
        receive(theirs)
        theirs.send(b"goodbye")
        theirs.close()
        if how == "at once":
            transport.write(b"x")
        elif how == "in parts":
            transport.writelines([b"x", b"y"])
        await settle()
        assert transport.backlog == 0
        transport.write(b"nobody takes it")
        transport.resume_reading()
        await owner.lost.wait()
        assert [what for what, _ in owner.told] == ["data", "eof", "lost"]
        assert owner.data == b"goodbye"
        assert isinstance(owner.error, trio.BrokenResourceError)
        assert isinstance(owner.error.__cause__, BrokenPipeError)


async def test_peer_that_takes_no_more_and_says_nothing_is_left_soon(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with over_socket() as (transport, owner, theirs):
        theirs.shutdown(socket.SHUT_RD)
        transport.write(b"x")
        await owner.lost.wait()
        assert isinstance(owner.error, trio.BrokenResourceError)
        assert trio.current_time() == 1


async def test_sender_that_waits_is_let_out_by_a_reset() -> None:
    async with over_socket(tcp_pair) as (transport, owner, theirs), trio.open_nursery() as nursery:
        transport.write(bytes(1 << 24))
        nursery.start_soon(transport.wait_backlog, 0)
        await settle()
        assert len(nursery.child_tasks) == 1
        reset(theirs)
        await owner.lost.wait()
        assert isinstance(owner.error, trio.BrokenResourceError)
        await settle()
        assert len(nursery.child_tasks) == 0


async def test_error_in_the_turn_before_the_owner_hears_of_room_is_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bug = RuntimeError("ours")

    class Broken(Owner):
        def backlog_drained(self) -> None:
            raise bug

    async with over_socket(stuffed_pair, owner=Broken()) as (transport, owner, theirs):
        transport.write(b"x")
        receive(theirs)
        # Both are told in one event: the error comes first, and nothing is read behind it.
        theirs.send(b"unheard")
        await owner.lost.wait()
        assert owner.told == [("lost", bug)]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_poller_that_cannot_tell_of_room_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(fd: int) -> None:
        raise OSError(errno.ENOSPC, "no more can be watched")

    async with over_socket(stuffed_pair) as (transport, owner, _):
        assert transport._hub is not None
        monkeypatch.setattr(transport._hub._poller, "add_writable", fail)
        transport.write(b"x")
        await owner.lost.wait()
        assert "no more can be watched" in str(owner.error)
