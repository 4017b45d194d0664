"""The transport over any stream: what it tells its owner, and how it writes."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from fakes import Owner, PlainStream, over

from trio_websocket._kernel import Buffer
from trio_websocket._transports import StreamTransport
from trio_websocket.testing import FaultyStream, Stall

settle = trio.testing.wait_all_tasks_blocked


def close(
    transport: StreamTransport, *, timeout: float = 10, linger: float = 1, shutdown: bool = False
) -> None:
    transport.close(timeout=timeout, linger=linger, shutdown=shutdown)


# ---------------------------------------------------------------------------------------------------------- reading


async def test_what_comes_is_told_in_order_and_then_the_end() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with over(ours) as (_, owner):
        await theirs.send_all(b"one")
        await settle()
        await theirs.send_all(b"two")
        await theirs.aclose()
        await settle()
        assert owner.told == [("data", b"one"), ("data", b"two"), ("eof", None)]


async def test_no_more_than_receive_size_is_asked_for() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with over(ours, receive_size=3) as (_, owner):
        await theirs.send_all(b"abcdefgh")
        await settle()
        assert [data for _, data in owner.told] == [b"abc", b"def", b"gh"]


async def test_nothing_is_read_while_reading_is_paused() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with over(ours, receive_size=1) as (transport, owner):
        transport.pause_reading()
        await theirs.send_all(b"abc")
        await settle()
        # The read that was under way can't be taken back.
        assert owner.data in {b"", b"a"}
        transport.resume_reading()
        transport.resume_reading()
        await settle()
        assert owner.data == b"abc"


async def test_pausing_and_resuming_at_once_loses_nothing() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with over(ours) as (transport, owner):
        transport.pause_reading()
        transport.resume_reading()
        transport.pause_reading()
        transport.resume_reading()
        await theirs.send_all(b"abc")
        await settle()
        assert owner.data == b"abc"


async def test_new_owner_is_told_from_then_on() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with over(ours) as (transport, first):
        await theirs.send_all(b"one")
        await settle()
        second = Owner()
        transport.set_owner(second)
        await theirs.send_all(b"two")
        await settle()
        assert (first.data, second.data) == (b"one", b"two")
        transport.set_owner(first)


async def test_error_of_an_owner_ends_this_connection_and_no_more() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    error = RuntimeError("ours")

    class Broken(Owner):
        def data_received(self, data: Buffer) -> None:
            raise error

    owner = Broken()
    StreamTransport(ours).set_owner(owner)
    await theirs.send_all(b"x")
    await owner.lost.wait()
    assert owner.error is error
    assert await theirs.receive_some() == b""


async def test_broken_stream_ends_the_connection_with_its_error() -> None:
    error = trio.BrokenResourceError("reset")

    class Stream(PlainStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            raise error

    async with over(Stream(trio.testing.memory_stream_pair()[0])) as (_, owner):
        await owner.lost.wait()
        assert owner.told == [("lost", error)]


async def test_stream_that_raises_when_it_is_cancelled_harms_nobody() -> None:
    class Stream(PlainStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            async def fail() -> None:
                try:
                    await trio.sleep_forever()
                finally:
                    raise KeyError("at the end")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
            raise AssertionError

    async with over(Stream(trio.testing.memory_stream_pair()[0])) as (transport, owner):
        await settle()
        transport.abort()
        await owner.lost.wait()
        assert owner.error is None


@pytest.mark.parametrize("_attempt", range(20))
async def test_stream_is_not_closed_under_a_reader_that_has_been_woken(_attempt: int) -> None:
    # Which of two tasks Trio runs first is chance; of twenty pairs, some run the writer first.
    came = trio.Event()
    calls = []

    class Stream(PlainStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            await came.wait()
            calls.append("read")
            await trio.sleep_forever()
            raise AssertionError

        async def aclose(self) -> None:
            calls.append("close")

    async with over(Stream(trio.testing.memory_stream_pair()[0])) as (transport, owner):
        await settle()
        came.set()
        transport.abort()
        await owner.lost.wait()
        assert calls == ["read", "close"]


async def test_nothing_is_told_after_connection_lost() -> None:
    came = trio.Event()

    class Stream(PlainStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            with trio.CancelScope(shield=True):
                await came.wait()
            return b"at the last moment"

        async def aclose(self) -> None:
            came.set()

    async with over(Stream(trio.testing.memory_stream_pair()[0])) as (transport, owner):
        await settle()
        transport.abort()
        await owner.lost.wait()
        assert owner.told == [("data", b"at the last moment"), ("lost", None)]


# ---------------------------------------------------------------------------------------------------------- writing


async def test_what_is_written_goes_out_in_order_and_together() -> None:
    sent: list[bytes] = []

    class Stream(PlainStream):
        async def send_all(self, data: Buffer) -> None:
            sent.append(bytes(data))
            await super().send_all(data)

    async with over(Stream(trio.testing.memory_stream_pair()[0])) as (transport, _):
        transport.write(b"a")
        transport.write(b"b")
        await settle()
        transport.write(b"c")
        await settle()
    assert sent == [b"ab", b"c"]


async def test_long_backlog_is_seen_to_shrink() -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    message = bytes(range(256)) * 4096
    received = bytearray()
    seen: list[int] = []
    async with over(ours) as (transport, _):
        transport.write(b"head")
        transport.write(message)
        transport.write(b"tail")
        while len(received) < len(message) + 8:
            received += await theirs.receive_some(2**20)
            await settle()
            seen.append(transport.backlog)
    assert bytes(received) == b"head" + message + b"tail"
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) > 3
    assert seen[-1] == 0


async def test_write_never_waits_and_never_fails() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    valve = FaultyStream(ours, send=[Stall()])
    async with over(valve) as (transport, _):
        for _ in range(100):
            transport.write(bytes(1000))
        await settle()
        assert transport.backlog == 100_000
        valve.clear()
        await settle()
        assert transport.backlog == 0
        assert await theirs.receive_some() == bytes(100_000)


async def test_write_after_the_end_is_dropped() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with over(ours) as (transport, owner):
        transport.write(b"before")
        close(transport, linger=0)
        transport.write(b"after")
        assert transport.backlog == 6
        await owner.lost.wait()
        transport.write(b"long after")
        assert transport.backlog == 0
        assert await theirs.receive_some() == b"before"
        assert await theirs.receive_some() == b""


async def test_owner_hears_when_all_has_left() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    valve = FaultyStream(ours, send=[Stall()])

    class Answering(Owner):
        def backlog_drained(self) -> None:
            self.told.append(("drained", transport.backlog))
            if len(self.told) == 1:
                # An owner may write at once.
                transport.write(b"more")

    transport, owner = StreamTransport(valve), Answering()
    transport.write(b"x")
    transport.set_owner(owner)
    await settle()
    assert owner.told == []
    valve.clear()
    await settle()
    assert owner.told == [("drained", 0), ("drained", 0)]
    assert await theirs.receive_some() == b"xmore"
    transport.abort()
    await owner.lost.wait()


async def test_waiting_for_room_ends_when_there_is_room() -> None:
    ours, _ = trio.testing.memory_stream_pair()
    valve = FaultyStream(ours, send=[Stall()])
    async with over(valve) as (transport, _), trio.open_nursery() as nursery:
        transport.write(bytes(11))
        await transport.wait_backlog(11)
        nursery.start_soon(transport.wait_backlog, 10)
        nursery.start_soon(transport.wait_backlog, 0)
        await settle()
        assert len(nursery.child_tasks) == 2
        valve.clear()
        await settle()
        assert len(nursery.child_tasks) == 0


@pytest.mark.parametrize("wake", ["wake_waiters", "abort"])
async def test_waiting_for_room_ends_when_it_has_become_pointless(wake: str) -> None:
    valve = FaultyStream(trio.testing.memory_stream_pair()[0], send=[Stall()])
    async with over(valve) as (transport, _), trio.open_nursery() as nursery:
        transport.write(b"x")
        nursery.start_soon(transport.wait_backlog, 0)
        await settle()
        assert len(nursery.child_tasks) == 1
        getattr(transport, wake)()
        await settle()
        assert len(nursery.child_tasks) == 0


async def test_waiting_for_room_on_a_closed_transport_ends_at_once() -> None:
    async with over(trio.testing.memory_stream_pair()[0]) as (transport, owner):
        transport.abort()
        await owner.lost.wait()
        await transport.wait_backlog(0)


async def test_cancelled_wait_for_room_leaves_the_others_waiting() -> None:
    valve = FaultyStream(trio.testing.memory_stream_pair()[0], send=[Stall()])
    async with over(valve) as (transport, _), trio.open_nursery() as nursery:
        transport.write(b"x")
        nursery.start_soon(transport.wait_backlog, 0)
        with trio.move_on_after(0) as scope:
            await transport.wait_backlog(0)
        assert scope.cancelled_caught
        assert len(nursery.child_tasks) == 1
        valve.clear()


async def test_write_error_is_told_behind_the_peers_last_words() -> None:
    error = trio.BrokenResourceError("the peer takes no more")

    class Stream(PlainStream):
        async def send_all(self, data: Buffer) -> None:
            await theirs.send_all(b"goodbye")
            await theirs.aclose()
            raise error

    ours, theirs = trio.testing.memory_stream_pair()
    async with over(Stream(ours)) as (transport, owner):
        await settle()
        transport.write(b"x")
        await owner.lost.wait()
        assert owner.told == [("data", b"goodbye"), ("eof", None), ("lost", error)]


async def test_peer_that_takes_no_more_and_says_nothing_is_left_soon(
    mock_clock: trio.testing.MockClock,
) -> None:
    error = OSError("not even Trio's")

    class Stream(PlainStream):
        async def send_all(self, data: Buffer) -> None:
            raise error

    async with over(Stream(trio.testing.memory_stream_pair()[0])) as (transport, owner):
        transport.write(b"x")
        await owner.lost.wait()
        assert owner.told == [("lost", error)]
        assert trio.current_time() == 1
