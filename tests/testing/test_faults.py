"""A stream that fails does so at the byte, in the direction and in the way that it was told."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from fakes import PlainStream, narrow_pair

from trio_websocket.testing import Cut, Fault, FaultyStream, Reset, Slow, Split, Stall

settle = trio.testing.wait_all_tasks_blocked


def pair(
    *, send: list[Fault] | None = None, receive: list[Fault] | None = None
) -> tuple[FaultyStream, trio.abc.HalfCloseableStream]:
    """A faulty end, and the other one."""
    ours, theirs = trio.testing.memory_stream_pair()
    return FaultyStream(ours, send=send or (), receive=receive or ()), theirs


async def read(stream: trio.abc.ReceiveStream) -> bytes:
    """All that comes until the end."""
    return b"".join([bytes(data) async for data in stream])


async def is_stuck(function: Callable[[], Awaitable[object]]) -> bool:
    """Whether a call does not end."""
    with trio.move_on_after(1000):
        await function()
        return False
    return True


# -------------------------------------------------------------------------------------------------------- as a stream


async def test_without_faults_it_is_a_stream_as_any_other() -> None:
    async def over_sockets() -> tuple[FaultyStream, FaultyStream]:
        ours, theirs = trio.socket.socketpair()
        return FaultyStream(trio.SocketStream(ours)), FaultyStream(trio.SocketStream(theirs))

    async def in_memory() -> tuple[FaultyStream, FaultyStream]:
        ours, theirs = trio.testing.lockstep_stream_pair()
        return FaultyStream(ours), FaultyStream(theirs)

    await trio.testing.check_half_closeable_stream(over_sockets, None)
    await trio.testing.check_two_way_stream(in_memory, in_memory)


async def test_it_counts_what_has_passed() -> None:
    stream, peer = pair()
    await stream.send_all(b"abc")
    await peer.send_all(b"hello")
    assert await stream.receive_some(3) == b"hel"
    assert (stream.bytes_sent, stream.bytes_received) == (3, 3)


async def test_its_repr_has_the_stream_below() -> None:
    ours, _ = trio.testing.memory_stream_pair()
    assert repr(FaultyStream(ours)) == f"<FaultyStream over {ours!r}>"


async def test_end_of_file_is_sent_where_the_stream_below_can() -> None:
    stream, peer = pair()
    await stream.send_eof()
    assert await peer.receive_some() == b""
    ours, theirs = trio.testing.memory_stream_pair()
    await FaultyStream(PlainStream(ours)).send_eof()
    await ours.send_all(b"more")
    assert await theirs.receive_some() == b"more"


# ---------------------------------------------------------------------------------------------------------------- cut


@pytest.mark.parametrize("after", [0, 1, 4, 5])
async def test_cut_while_receiving_is_the_end_of_file_after_so_many_bytes(after: int) -> None:
    stream, peer = pair(receive=[Cut(after=after)])
    await peer.send_all(b"hello")
    assert await read(stream) == b"hello"[:after]
    assert await stream.receive_some() == b""


@pytest.mark.parametrize("after", [0, 1, 4])
async def test_cut_while_sending_lets_so_many_bytes_pass_and_breaks(after: int) -> None:
    stream, peer = pair(send=[Cut(after=after)])
    for _ in range(2):
        with pytest.raises(trio.BrokenResourceError, match="cut"):
            await stream.send_all(b"hello")
    assert await read(peer) == b"hello"[:after]
    await stream.send_eof()


async def test_cut_behind_the_last_byte_is_seen_by_the_other_end_at_once() -> None:
    stream, peer = pair(send=[Cut(after=5)])
    await stream.send_all(b"hello")
    assert await read(peer) == b"hello"


async def test_cut_of_one_direction_leaves_the_other() -> None:
    stream, peer = pair(receive=[Cut()])
    assert await read(stream) == b""
    await stream.send_all(b"still there")
    assert await peer.receive_some() == b"still there"


async def test_cut_of_what_can_not_end_one_direction_closes_it() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = FaultyStream(PlainStream(ours))
    await stream.inject(send=[Cut()])
    assert await theirs.receive_some() == b""
    with pytest.raises(trio.BrokenResourceError, match="cut"):
        await stream.receive_some()


async def test_cut_ends_a_send_that_waits_for_the_peer() -> None:
    ours, theirs = (trio.SocketStream(trio.socket.from_stdlib_socket(each)) for each in narrow_pair())
    stream = FaultyStream(ours)
    async with theirs, trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError, match="cut"):
                await stream.send_all(bytes(10**6))

        nursery.start_soon(send)
        await settle()
        await stream.inject(send=[Cut()])
    await stream.aclose()


# -------------------------------------------------------------------------------------------------------------- reset


@pytest.mark.parametrize("after", [0, 3, 5])
async def test_reset_while_receiving_breaks_both_directions(after: int) -> None:
    stream, peer = pair(receive=[Reset(after=after)])
    await peer.send_all(b"hello")
    got = b""
    with pytest.raises(trio.BrokenResourceError, match="reset") as caught:
        while True:
            got += await stream.receive_some()
    assert got == b"hello"[:after]
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    with pytest.raises(trio.BrokenResourceError, match="reset"):
        await stream.send_all(b"x")
    assert await peer.receive_some() == b""


async def test_reset_while_sending_breaks_both_directions() -> None:
    stream, peer = pair(send=[Reset(after=3)])
    with pytest.raises(trio.BrokenResourceError, match="reset"):
        await stream.send_all(b"hello")
    assert await read(peer) == b"hel"
    for call in (stream.receive_some, stream.wait_send_all_might_not_block, stream.send_eof):
        with pytest.raises(trio.BrokenResourceError, match="reset"):
            await call()


async def test_reset_is_told_to_those_who_wait() -> None:
    ours, _peer = trio.testing.lockstep_stream_pair()
    stream = FaultyStream(ours)
    async with trio.open_nursery() as nursery:

        async def breaks(function: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(trio.BrokenResourceError, match="reset"):
                await function()

        nursery.start_soon(breaks, stream.receive_some)
        nursery.start_soon(breaks, lambda: stream.send_all(b"hello"))
        await settle()
        await stream.inject(receive=[Reset()])


async def test_closed_stream_says_so_after_a_reset() -> None:
    stream, _peer = pair(receive=[Reset()])
    await stream.aclose()
    for call in (stream.receive_some, stream.wait_send_all_might_not_block):
        with pytest.raises(trio.ClosedResourceError):
            await call()


# -------------------------------------------------------------------------------------------------------------- stall


async def test_stall_lets_nothing_pass_until_it_is_let_go(mock_clock: trio.testing.MockClock) -> None:
    stream, peer = pair(send=[Stall(after=2)], receive=[Stall(after=3)])
    await peer.send_all(b"hello")
    assert await stream.receive_some() == b"hel"
    assert await is_stuck(stream.receive_some)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, b"hello")
        await settle()
        assert await peer.receive_some() == b"he"
        assert await is_stuck(stream.wait_send_all_might_not_block)
        assert await is_stuck(peer.receive_some)
        stream.clear()
    assert await stream.receive_some() == b"lo"
    assert await peer.receive_some() == b"llo"


async def test_stalled_stream_can_be_closed() -> None:
    stream, _peer = pair(receive=[Stall()])
    async with trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await stream.receive_some()

        nursery.start_soon(receive)
        await settle()
        await stream.aclose()


async def test_stall_also_holds_who_waits_already(mock_clock: trio.testing.MockClock) -> None:
    stream, peer = pair()
    got = []
    async with trio.open_nursery() as nursery:

        async def receive() -> None:
            got.append(await stream.receive_some())

        nursery.start_soon(receive)
        await settle()
        await stream.inject(receive=[Stall()])
        await peer.send_all(b"hello")
        await settle()
        assert got == []
        stream.clear()
    assert got == [b"hello"]


@pytest.mark.parametrize("fault", [Cut(), Reset()])
async def test_stalled_line_can_be_cut(fault: Fault) -> None:
    stream, _peer = pair(receive=[Stall()])
    async with trio.open_nursery() as nursery:

        async def receive() -> None:
            try:
                assert await stream.receive_some() == b""
                assert fault == Cut()
            except trio.BrokenResourceError:
                assert fault == Reset()

        nursery.start_soon(receive)
        await settle()
        await stream.inject(receive=[fault])


# --------------------------------------------------------------------------------------------------------------- slow


async def test_slow_line_takes_its_time_in_each_direction(mock_clock: trio.testing.MockClock) -> None:
    stream, peer = pair(send=[Slow(rate=100)], receive=[Slow(rate=50)])
    start = trio.current_time()
    await stream.send_all(bytes(300))
    assert trio.current_time() - start == pytest.approx(3)
    await peer.send_all(bytes(200))
    await peer.send_eof()
    start = trio.current_time()
    assert await read(stream) == bytes(200)
    assert trio.current_time() - start == pytest.approx(4)


async def test_slow_line_delivers_ten_times_a_second(mock_clock: trio.testing.MockClock) -> None:
    stream, peer = pair(receive=[Slow(rate=1000)])
    await peer.send_all(bytes(500))
    assert len(await stream.receive_some()) == 100
    assert trio.current_time() == pytest.approx(0.1)


async def test_slow_line_may_take_seconds_for_a_byte(mock_clock: trio.testing.MockClock) -> None:
    stream, peer = pair(receive=[Slow(rate=0.5)])
    await peer.send_all(b"hi")
    assert await stream.receive_some() == b"h"
    assert trio.current_time() == pytest.approx(2)


async def test_cancelled_receive_on_a_slow_line_loses_nothing(mock_clock: trio.testing.MockClock) -> None:
    stream, peer = pair(receive=[Slow(rate=10)])
    await peer.send_all(b"hello")
    await peer.send_eof()
    with trio.move_on_after(0.05):
        await stream.receive_some()
    assert await stream.receive_some() == b"h"
    with trio.move_on_after(0.05):
        await stream.receive_some()
    await trio.sleep(10)
    assert await read(stream) == b"ello"


async def test_slow_line_that_is_cleared_lets_the_rest_pass_at_once(
    mock_clock: trio.testing.MockClock,
) -> None:
    stream, peer = pair(receive=[Slow(rate=10)])
    await peer.send_all(b"hello")
    await stream.receive_some()
    stream.clear()
    assert await stream.receive_some() == b"ello"
    assert trio.current_time() == pytest.approx(0.1)


# -------------------------------------------------------------------------------------------------------------- split


async def pieces(stream: trio.abc.ReceiveStream) -> list[bytes]:
    """What each call gives until the end."""
    return [bytes(data) async for data in stream]


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (Split(), [b"h", b"e", b"l", b"l", b"o", b"!"]),
        (Split(4), [b"hell", b"o!"]),
        (Split((1, 2)), [b"h", b"el", b"l", b"o!"]),
    ],
)
async def test_split_delivers_pieces_of_these_sizes(split: Split, expected: list[bytes]) -> None:
    stream, peer = pair(receive=[split])
    await peer.send_all(b"hello!")
    await peer.send_eof()
    assert await pieces(stream) == expected


async def test_split_cuts_at_the_same_places_however_the_bytes_come() -> None:
    stream, peer = pair(receive=[Split(4)])
    got = []
    for data in (b"ab", b"cdef", b"gh"):
        await peer.send_all(data)
        got.append(await stream.receive_some())
    assert got == [b"ab", b"cd", b"efgh"]


async def test_split_by_chance_does_the_same_for_the_same_seed() -> None:
    runs = []
    for _ in range(2):
        stream, peer = pair(receive=[Split(9, seed=1)])
        await peer.send_all(bytes(range(100)))
        await peer.send_eof()
        runs.append(await pieces(stream))
    chance = random.Random(1)
    assert runs[0] == runs[1]
    assert b"".join(runs[0]) == bytes(range(100))
    assert [len(piece) for piece in runs[0][:-1]] == [chance.randint(1, 9) for _ in runs[0][:-1]]


async def test_split_sends_piece_by_piece() -> None:
    sent = []

    class Noting(PlainStream):
        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            sent.append(bytes(data))
            await super().send_all(data)

    ours, _ = trio.testing.memory_stream_pair()
    await FaultyStream(Noting(ours), send=[Split(2)]).send_all(b"hello")
    assert sent == [b"he", b"ll", b"o"]


# ----------------------------------------------------------------------------------------------------------- together


async def test_faults_strike_in_the_order_of_their_bytes(mock_clock: trio.testing.MockClock) -> None:
    stream, peer = pair(receive=[Cut(after=5), Stall(after=3), Split(2)])
    await peer.send_all(b"hello world")
    assert await stream.receive_some() == b"he"
    assert await stream.receive_some() == b"l"
    assert await is_stuck(stream.receive_some)


async def test_positions_count_from_where_a_fault_is_given() -> None:
    stream, peer = pair()
    await peer.send_all(b"hello world")
    assert await stream.receive_some(5) == b"hello"
    await stream.inject(receive=[Cut(after=3)])
    assert await read(stream) == b" wo"


async def test_clear_takes_out_what_has_not_struck_and_leaves_what_has() -> None:
    stream, peer = pair(receive=[Cut(after=3)], send=[Cut()])
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")
    stream.clear()
    await peer.send_all(b"hello")
    assert await stream.receive_some() == b"hello"
    with pytest.raises(trio.BrokenResourceError):
        await stream.send_all(b"x")


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (lambda: Cut(after=-1), "after=-1"),
        (lambda: Reset(after=-1), "after=-1"),
        (lambda: Stall(after=-1), "after=-1"),
        (lambda: Slow(rate=0), "rate=0"),
        (lambda: Split(0), "size=0"),
        (lambda: Split(()), r"size=\(\)"),
        (lambda: Split((1, 0)), r"size=\(1, 0\)"),
    ],
)
def test_fault_that_can_not_be_is_refused(fault: Callable[[], Fault], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fault()
