"""The transport over any stream: closing has a bound, whatever the peer does."""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable

import pytest
import trio
import trio.testing
from certificates import Certificates
from fakes import Owner, PlainStream, over

from trio_websocket._transports import StreamTransport
from trio_websocket.testing import FaultyStream, Stall

settle = trio.testing.wait_all_tasks_blocked


def close(
    transport: StreamTransport, *, timeout: float = 10, linger: float = 1, shutdown: bool = False
) -> None:
    transport.close(timeout=timeout, linger=linger, shutdown=shutdown)


# ---------------------------------------------------------------------------------------------------------- closing


async def test_closing_sends_what_is_left_first() -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    async with over(ours) as (transport, _):
        transport.write(b"all")
        transport.write(b" of it")
        close(transport, linger=0)
        received = bytearray()
        while data := await theirs.receive_some(1):
            received += data
        assert received == b"all of it"


async def test_closing_ends_with_the_peers_end_of_file(mock_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with over(ours) as (transport, owner):
        close(transport, linger=5)
        await trio.sleep(3)
        assert owner.told == []
        await theirs.send_all(b"still told")
        await theirs.aclose()
        await owner.lost.wait()
        assert owner.told == [("data", b"still told"), ("eof", None), ("lost", None)]
        assert trio.current_time() == 3


async def test_closing_waits_no_longer_than_it_lingers(mock_clock: trio.testing.MockClock) -> None:
    async with over(trio.testing.memory_stream_pair()[0]) as (transport, owner):
        close(transport, linger=5)
        await owner.lost.wait()
        assert trio.current_time() == 5


@pytest.mark.parametrize("shutdown", [False, True])
async def test_closing_has_a_bound_if_the_peer_does_not_read(
    mock_clock: trio.testing.MockClock, shutdown: bool
) -> None:
    valve = FaultyStream(trio.testing.memory_stream_pair()[0], send=[Stall()])
    async with over(valve) as (transport, owner):
        transport.write(b"x" * (not shutdown))
        close(transport, timeout=7, linger=math.inf, shutdown=shutdown)
        # Only the first counts.
        close(transport, timeout=math.inf)
        await owner.lost.wait()
        assert trio.current_time() == 7
        assert owner.error is None


async def test_closing_reads_on_if_reading_was_paused(mock_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with over(ours) as (transport, owner):
        transport.pause_reading()
        await theirs.aclose()
        close(transport)
        await owner.lost.wait()
        assert trio.current_time() == 0


async def test_shutdown_ends_our_direction_alone(mock_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with over(ours) as (transport, owner):
        transport.write(b"last")
        close(transport, linger=5, shutdown=True)
        assert await theirs.receive_some() == b"last"
        assert await theirs.receive_some() == b""
        await theirs.send_all(b"reply")
        await theirs.send_eof()
        await owner.lost.wait()
        assert owner.data == b"reply"
        assert trio.current_time() == 0


async def test_without_shutdown_the_peer_ends_first(mock_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with over(ours) as (transport, owner):
        close(transport, linger=5)
        with trio.move_on_after(4) as scope:
            await theirs.receive_some()
        assert scope.cancelled_caught
        await theirs.aclose()
        await owner.lost.wait()


async def test_stream_that_cannot_end_one_direction_alone_lingers_all_the_same(
    mock_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with over(PlainStream(ours)) as (transport, owner):
        transport.write(b"last")
        close(transport, linger=5, shutdown=True)
        assert await theirs.receive_some() == b"last"
        await trio.sleep(4)
        assert owner.told == []
        assert await theirs.receive_some() == b""
        assert trio.current_time() == 5


async def test_without_lingering_the_stream_is_closed_once_all_has_left(
    mock_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with over(PlainStream(ours)) as (transport, owner):
        transport.write(b"last")
        close(transport, linger=0, shutdown=True)
        await owner.lost.wait()
        assert trio.current_time() == 0
        assert await theirs.receive_some() == b"last"
        assert await theirs.receive_some() == b""


async def test_tls_error_is_told(certificates: Certificates) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    server = trio.SSLStream(ours, certificates.server_context(), server_side=True)
    async with over(server) as (_, owner):
        await theirs.send_all(b"GET / HTTP/1.1\r\n\r\n")
        await owner.lost.wait()
        assert isinstance(owner.error, trio.BrokenResourceError)
        assert isinstance(owner.error.__cause__, ssl.SSLError)


async def test_error_while_closing_is_no_news() -> None:
    class Stream(FaultyStream):
        async def send_eof(self) -> None:
            raise trio.BrokenResourceError("gone")

    async with over(Stream(trio.testing.memory_stream_pair()[0])) as (transport, owner):
        close(transport, shutdown=True)
        await owner.lost.wait()
        assert owner.told == [("lost", None)]


async def test_stream_that_fails_to_close_is_told_as_the_error() -> None:
    error = ValueError("cannot close")

    class Stream(PlainStream):
        async def aclose(self) -> None:
            raise error

    async with over(Stream(trio.testing.memory_stream_pair()[0])) as (transport, owner):
        transport.abort()
        await owner.lost.wait()
        assert owner.error is error


@pytest.mark.parametrize("is_before_the_start", [False, True])
async def test_aborting_drops_what_is_left(is_before_the_start: bool) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    valve = FaultyStream(ours, send=[Stall()])
    async with over(valve) as (transport, owner):
        transport.write(bytes(1000))
        if not is_before_the_start:
            await settle()
        transport.abort()
        transport.abort()
        await owner.lost.wait()
        assert await theirs.receive_some() == b""


async def test_aborting_cuts_a_close_short(mock_clock: trio.testing.MockClock) -> None:
    async with over(trio.testing.memory_stream_pair()[0]) as (transport, owner):
        close(transport, linger=5)
        await trio.sleep(2)
        transport.abort()
        await owner.lost.wait()
        assert trio.current_time() == 2


def test_end_of_the_run_closes_the_stream() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    owner = Owner()

    async def main() -> None:
        StreamTransport(ours).set_owner(owner)
        await settle()

    trio.run(main)
    assert owner.told == [("lost", None)]

    async def look() -> bytes | bytearray:
        return await theirs.receive_some()

    assert trio.run(look) == b""


@pytest.mark.parametrize("use", [str, repr])
async def test_ends_are_texts_where_there_is_no_address(use: Callable[[object], str]) -> None:
    stream, _ = trio.testing.memory_stream_pair()
    transport = StreamTransport(stream)
    assert transport.local == transport.remote == use(stream)


class Failing(trio.abc.Stream):
    """A stream that raises what it is given, in place of receiving or of closing."""

    def __init__(self, receiving: Callable[[], bytes], closing: Callable[[], None]) -> None:
        self.receiving = receiving
        self.closing = closing

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        return self.receiving()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        self.closing()
        await trio.lowlevel.checkpoint()


def fail_for_itself() -> bytes:
    error = trio.BrokenResourceError("for itself")
    raise error from error


def fail_with_a_bug() -> bytes:
    try:
        raise ZeroDivisionError
    except ZeroDivisionError as error:
        raise trio.BrokenResourceError("for a bug") from error


async def test_error_that_is_its_own_cause_does_no_harm() -> None:
    owner = Owner()
    StreamTransport(Failing(fail_for_itself, lambda: None)).set_owner(owner)
    await owner.lost.wait()
    assert str(owner.error) == "for itself"


async def test_bug_behind_a_lost_stream_keeps_its_traceback() -> None:
    owner = Owner()
    StreamTransport(Failing(fail_with_a_bug, lambda: None)).set_owner(owner)
    await owner.lost.wait()
    assert owner.error is not None
    assert owner.error.__traceback__ is None
    assert isinstance(owner.error.__cause__, ZeroDivisionError)
    assert owner.error.__cause__.__traceback__ is not None


def divide() -> None:
    raise ZeroDivisionError


async def test_bug_in_closing_a_stream_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    owner = Owner()
    transport = StreamTransport(Failing(lambda: b"", divide))
    transport.set_owner(owner)
    transport.abort()
    await owner.lost.wait()
    assert isinstance(owner.error, ZeroDivisionError)
    assert "in divide" in caplog.text
