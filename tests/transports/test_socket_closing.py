"""The transport over a plain socket: closing has a bound, whatever the peer does."""

from __future__ import annotations

import math
import socket

import pytest
import trio
import trio.testing
from fakes import Owner, narrow_pair, over_socket, reset, tcp_pair, unix_pair, until

from trio_websocket._transports import SocketTransport

settle = trio.testing.wait_all_tasks_blocked


def close(
    transport: SocketTransport, *, timeout: float = 10, linger: float = 1, shutdown: bool = False
) -> None:
    transport.close(timeout=timeout, linger=linger, shutdown=shutdown)


def is_readable(sock: socket.socket) -> bool:
    """Whether there is something to receive, or the end."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True


async def test_closing_sends_what_is_left_first() -> None:
    message = bytes(range(256)) * 4096
    async with over_socket(narrow_pair) as (transport, owner, theirs):
        transport.write(message)
        transport.write(b"tail")
        close(transport, linger=0)
        received = bytearray()

        def has_ended() -> bool:
            if is_readable(theirs):
                received.extend(theirs.recv(1 << 20))
            return owner.lost.is_set()

        await until(has_ended)
        while data := theirs.recv(1 << 20):
            received += data
        assert received == message + b"tail"
        assert owner.error is None


async def test_closing_ends_with_the_peers_end_of_file(mock_clock: trio.testing.MockClock) -> None:
    async with over_socket() as (transport, owner, theirs):
        close(transport, linger=5)
        await trio.sleep(3)
        assert owner.told == []
        theirs.send(b"still told")
        theirs.shutdown(socket.SHUT_WR)
        await owner.lost.wait()
        assert owner.told == [("data", b"still told"), ("eof", None), ("lost", None)]
        assert trio.current_time() == 3


async def test_closing_waits_no_longer_than_it_lingers(mock_clock: trio.testing.MockClock) -> None:
    async with over_socket() as (transport, owner, _):
        close(transport, linger=5)
        await owner.lost.wait()
        assert trio.current_time() == 5


@pytest.mark.parametrize("shutdown", [False, True])
async def test_closing_has_a_bound_if_the_peer_does_not_read(
    mock_clock: trio.testing.MockClock, shutdown: bool
) -> None:
    async with over_socket(narrow_pair) as (transport, owner, _):
        transport.write(bytes(1 << 20))
        close(transport, timeout=7, linger=math.inf, shutdown=shutdown)
        # Only the first counts.
        close(transport, timeout=math.inf)
        await owner.lost.wait()
        assert trio.current_time() == 7
        assert owner.error is None


async def test_closing_has_a_bound_if_the_peer_never_ends(mock_clock: trio.testing.MockClock) -> None:
    async with over_socket() as (transport, owner, _):
        close(transport, timeout=7, linger=math.inf, shutdown=True)
        await owner.lost.wait()
        assert trio.current_time() == 7


async def test_closing_reads_on_if_reading_was_paused(mock_clock: trio.testing.MockClock) -> None:
    async with over_socket() as (transport, owner, theirs):
        transport.pause_reading()
        theirs.close()
        await settle()
        assert owner.told == []
        close(transport)
        await owner.lost.wait()
        assert owner.told == [("eof", None), ("lost", None)]
        assert trio.current_time() == 0


async def test_shutdown_ends_our_direction_alone(mock_clock: trio.testing.MockClock) -> None:
    async with over_socket() as (transport, owner, theirs):
        transport.write(b"last")
        close(transport, linger=5, shutdown=True)
        await settle()
        assert theirs.recv(100) == b"last"
        assert theirs.recv(100) == b""
        theirs.send(b"reply")
        theirs.shutdown(socket.SHUT_WR)
        await owner.lost.wait()
        assert owner.data == b"reply"
        assert trio.current_time() == 0


async def test_without_shutdown_the_peer_ends_first(mock_clock: trio.testing.MockClock) -> None:
    async with over_socket() as (transport, owner, theirs):
        close(transport, linger=5)
        await trio.sleep(4)
        assert not is_readable(theirs)
        theirs.close()
        await owner.lost.wait()
        assert trio.current_time() == 4


@pytest.mark.parametrize("peer_has_ended", [False, True])
async def test_with_nothing_to_wait_for_the_socket_is_closed_at_once(peer_has_ended: bool) -> None:
    async with over_socket() as (transport, owner, theirs):
        if peer_has_ended:
            theirs.shutdown(socket.SHUT_WR)
            await settle()
        tasks = trio.lowlevel.current_statistics().tasks_living
        close(transport, linger=5 if peer_has_ended else 0, shutdown=True)
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert theirs.recv(1) == b""
        await owner.lost.wait()
        assert owner.error is None


async def test_peer_that_has_gone_before_the_shutdown_is_no_news() -> None:
    async with over_socket(tcp_pair) as (transport, owner, theirs):
        transport.pause_reading()
        reset(theirs)
        await until(lambda: transport._is_readable)
        transport._is_readable = False  # as if the reset had come only now
        close(transport, linger=5, shutdown=True)
        await owner.lost.wait()
        assert owner.told == [("lost", None)]


async def test_write_error_while_closing_is_no_news(mock_clock: trio.testing.MockClock) -> None:
    async with over_socket(narrow_pair) as (transport, owner, theirs):
        transport.write(bytes(1 << 20))
        close(transport, linger=5)
        await settle()
        while is_readable(theirs):
            theirs.recv(4096)
        # Takes no more, and may still have something to say: we linger, and don't wait for room that never comes.
        theirs.shutdown(socket.SHUT_RD)
        await owner.lost.wait()
        assert owner.told == [("lost", None)]
        assert trio.current_time() == 5


@pytest.mark.parametrize("is_before_the_start", [False, True])
async def test_aborting_drops_what_is_left(is_before_the_start: bool) -> None:
    async with over_socket() as (transport, owner, theirs):
        transport.write(b"x")
        transport.write(bytes(1000))
        if is_before_the_start:
            transport.abort()
            transport.abort()
            await owner.lost.wait()
            assert theirs.recv(1000) == b"x"
        else:
            await settle()
            transport.abort()
            assert len(theirs.recv(2000)) == 1001
        assert theirs.recv(1) == b""


@pytest.mark.parametrize("waits_for", ["room", "the end"])
async def test_aborting_cuts_a_close_short(mock_clock: trio.testing.MockClock, waits_for: str) -> None:
    async with over_socket(narrow_pair) as (transport, owner, _):
        if waits_for == "room":
            transport.write(bytes(1 << 20))
        close(transport, linger=5, shutdown=True)
        await trio.sleep(2)
        transport.abort()
        await owner.lost.wait()
        await settle()
        assert trio.current_time() == 2


@pytest.mark.parametrize("is_closing", [False, True])
def test_end_of_the_run_closes_the_socket(is_closing: bool) -> None:
    ours, theirs = unix_pair()
    owner = Owner()

    async def main() -> None:
        transport = SocketTransport(ours)
        transport.set_owner(owner)
        if is_closing:
            close(transport, timeout=math.inf, linger=math.inf)
        await settle()

    trio.run(main)
    assert owner.told == [("lost", None)]
    assert theirs.recv(1) == b""
    theirs.close()


async def test_error_that_the_user_is_handling_keeps_its_traceback() -> None:
    async with over_socket(tcp_pair) as (transport, owner, theirs):
        reset(theirs)  # which the hub has not seen yet
        handled = None
        try:
            raise ZeroDivisionError
        except ZeroDivisionError as error:
            transport.write(b"x")
            handled = error
        assert handled.__traceback__ is not None
        await owner.lost.wait()
        assert isinstance(owner.error, trio.BrokenResourceError)
        assert owner.error.__cause__ is not None
        assert owner.error.__cause__.__context__ is None
        assert owner.error.__cause__.__traceback__ is None
