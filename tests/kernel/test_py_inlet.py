"""The short way from sockets to tasks."""

from __future__ import annotations

import contextlib
import errno
import math
import random
import socket
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
from support import BINARY, MASK, PING, TEXT, frame


class In:
    """An intake of masked messages, what comes through it, and an inlet from a socket."""

    def __init__(
        self, kernel: Any, *receivers: str | None, max_size: int = 10, fd: int = -1, room: int = 64
    ) -> None:
        self.decoder = kernel.FrameDecoder()
        self.kernel = kernel
        self.messages = kernel.MessageQueue(1, math.inf)
        self.receivers = list(receivers)
        self.got: list[tuple[str | None, Any]] = []
        self.intake = self.make_intake(max_size, self.wake, self.take)
        self.buffer = memoryview(bytearray(100))
        self.use(kernel.Inlet(fd, room, 20))
        self.told: list[Any] = []

    def use(self, inlet: Any) -> None:
        self.inlet = inlet
        inlet.owner, inlet.intake = self, self.intake

    def make_intake(self, max_size: int, wake: Callable[..., None], take: Callable[..., None]) -> Any:
        return self.kernel.Intake(self.decoder, True, max_size, self.messages, self.receivers, wake, take)

    def wake(self, receiver: str, message: str | bytes) -> None:
        self.got.append((receiver, message))

    def take(self, message: str | bytes | None) -> None:
        self.got.append((None, message))

    def read(self) -> bool:
        self.told.append("read")
        return len(self.told) > 1

    def read_on(self, size: int) -> None:
        self.told.append(size)

    def read_failed(self, error: Exception) -> None:
        self.told.append(error)

    def receive(self) -> bool:
        """Have the inlet read."""
        result = self.inlet.read(self.buffer)
        # What is kept was copied.
        self.buffer[:] = bytes(len(self.buffer))
        assert isinstance(result, bool)
        return result


@pytest.fixture(params=["data", "socket"])
def give(request: pytest.FixtureRequest, kernel: Any, sockets: Any) -> Callable[[In, bytes], None]:
    """Both ways to give bytes to an intake."""
    ours, theirs = sockets

    def give(way: In, wire: bytes) -> None:
        if request.param == "data":
            way.intake.receive_data(wire)
        else:
            way.use(kernel.Inlet(ours.fileno(), 64, 65))
            theirs.send(wire)
            way.receive()
            for told in way.told:
                raise told

    return give


Give = Callable[[In, bytes], None]


def test_message_goes_to_who_has_waited_longest(kernel: Any, give: Give) -> None:
    way = In(kernel, "first", "second", "third", "fourth")
    for message in "gr\xfcn", "one", "":
        give(way, frame(TEXT, message.encode(), mask=MASK))
    give(way, frame(BINARY, b"two", mask=MASK))
    assert way.got == [("first", "gr\xfcn"), ("second", "one"), ("third", ""), ("fourth", b"two")]
    assert (way.receivers, way.decoder.unread) == ([], 0)


@pytest.mark.parametrize("receivers", [[], [None], [None, "second"]])
def test_message_for_which_nobody_can_be_woken_is_left(
    kernel: Any, give: Give, receivers: list[str | None]
) -> None:
    way = In(kernel, *receivers)
    give(way, frame(TEXT, b"one", mask=MASK))
    assert (way.got, way.receivers, way.decoder.unread) == ([(None, "one")], receivers, 0)


@pytest.mark.parametrize("receivers", [[], ["first"], ["first", "second"]])
def test_what_comes_behind_a_message_is_told(kernel: Any, give: Give, receivers: list[str]) -> None:
    way = In(kernel, *receivers)
    give(way, frame(TEXT, b"one", mask=MASK) + frame(TEXT, b"two", mask=MASK))
    first = [("first", "one"), (None, None)] if receivers else [(None, "one")]
    assert (way.got, way.receivers) == (first, receivers[1:])
    assert way.decoder.read_message(True, 10) == "two"


@pytest.mark.parametrize(
    ("wire", "max_size"),
    [
        pytest.param(frame(PING, b"p", mask=MASK), 10, id="ping"),
        pytest.param(frame(TEXT, b"x"), 10, id="unmasked"),
        pytest.param(frame(TEXT, b"\xff", mask=MASK), 10, id="no UTF-8"),
        pytest.param(frame(BINARY, b"12", mask=MASK), 1, id="too large"),
        pytest.param(frame(BINARY, b"12", mask=MASK), -1, id="none wanted"),
        pytest.param(frame(BINARY, b"12", mask=MASK)[:-1], 10, id="not whole"),
        pytest.param(b"\x81", 10, id="half a header"),
    ],
)
def test_what_is_no_message_is_kept_and_told(kernel: Any, give: Give, wire: bytes, max_size: int) -> None:
    way = In(kernel, "first", max_size=max_size)
    give(way, wire)
    assert (way.got, way.receivers, way.decoder.unread) == ([(None, None)], ["first"], len(wire))
    expected = kernel.FrameDecoder()
    expected.receive_data(wire)
    assert way.decoder.read_header() == expected.read_header()
    assert way.decoder.read_part() == expected.read_part()


def test_message_behind_what_is_unread_does_not_overtake_it(kernel: Any, give: Give) -> None:
    way = In(kernel, "first")
    way.decoder.receive_data(frame(PING, b"p", mask=MASK))
    give(way, frame(TEXT, b"x", mask=MASK))
    assert way.got == [(None, None)]
    assert way.decoder.read_header().opcode == PING
    assert way.decoder.read_part() == b"p"
    assert way.decoder.read_message(True, 10) == "x"


def test_rest_of_a_message_goes_the_short_way(kernel: Any, give: Give) -> None:
    way = In(kernel, "first")
    wire = frame(TEXT, b"abc", mask=MASK)
    for part in wire[:1], wire[1:7], wire[7:]:
        give(way, part)
    assert way.got == [(None, None), (None, None), ("first", "abc")]


def test_payload_that_was_begun_goes_on(kernel: Any, give: Give) -> None:
    way = In(kernel, "first")
    wire = frame(BINARY, b"12345", mask=MASK)
    way.decoder.receive_data(wire[:8])
    assert way.decoder.read_header().length == 5
    assert way.decoder.read_part() == b"12"
    give(way, wire[8:] + frame(TEXT, b"x", mask=MASK))
    assert way.got == [(None, None)]
    assert way.decoder.read_part() == b"345"
    assert way.decoder.read_message(True, 10) == "x"


def test_nothing_goes_the_short_way_while_somebody_takes_frames_apart(kernel: Any, give: Give) -> None:
    way = In(kernel, "first")
    way.decoder.is_plain = False
    give(way, frame(TEXT, b"x", mask=MASK))
    assert (way.got, way.decoder.unread) == ([(None, None)], 7)


def test_nothing_comes_out_of_a_closed_decoder(kernel: Any, give: Give) -> None:
    way = In(kernel, "first")
    way.decoder.close()
    give(way, frame(TEXT, b"x", mask=MASK))
    assert (way.got, way.decoder.unread) == ([(None, None)], 0)


def test_what_an_intake_calls_may_raise(kernel: Any, give: Give) -> None:
    way = In(kernel, "first")
    del way.got
    for _ in range(2):
        with pytest.raises(AttributeError, match="got"):
            give(way, frame(TEXT, b"x", mask=MASK))
    assert (way.receivers, way.decoder.unread) == ([], 0)


# --------------------------------------------------------------------------------------------- from socket to intake


def unread_of(ours: socket.socket) -> bytes:
    """What is left to read."""
    with contextlib.suppress(BlockingIOError):
        return ours.recv(1000, socket.MSG_PEEK)
    return b""


def test_what_a_socket_has_is_received_up_to_the_largest_size(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    way = In(kernel, "first", "second", "third", max_size=16, fd=ours.fileno(), room=9)
    theirs.send(frame(TEXT, b"one", mask=MASK) + frame(BINARY, b"two", mask=MASK))
    theirs.send(frame(BINARY, b"sixteen bytes...", mask=MASK))
    for left in (31, 22, 13, 4, 0):
        assert way.receive()
        assert len(unread_of(ours)) == left
    assert [message for _, message in way.got] == ["one", b"two", None, None, b"sixteen bytes..."]
    assert (way.inlet.is_alive, way.told) == (True, [])


def test_no_more_is_read_than_the_buffer_takes(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    way = In(kernel, "first", fd=ours.fileno())
    theirs.send(frame(BINARY, b"12345", mask=MASK))
    way.inlet.read(way.buffer[:6])
    assert (way.got, way.decoder.unread) == ([(None, None)], 6)


@pytest.mark.parametrize(("size", "told"), [(13, []), (14, [20]), (58, [64])])
def test_read_that_is_not_short_is_told_behind_what_it_took(
    kernel: Any, sockets: Any, size: int, told: list[int]
) -> None:
    ours, theirs = sockets
    way = In(kernel, "first", max_size=100, fd=ours.fileno())
    way.told = way.got  # one behind the other
    theirs.send(frame(BINARY, bytes(size), mask=MASK))
    way.receive()
    assert way.told == [("first", bytes(size)), *told]


def test_every_read_is_told_where_none_is_short(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    way = In(kernel, fd=ours.fileno())
    way.inlet.short_size = 0
    theirs.send(b"x")
    way.receive()
    assert (way.told, way.decoder.unread) == ([1], 1)


def test_end_of_a_socket_is_told_and_nothing_taken_in(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    way = In(kernel, "first", fd=ours.fileno())
    way.decoder.receive_data(frame(TEXT, b"x", mask=MASK))
    theirs.close()
    assert way.receive()
    assert (way.told, way.got, way.inlet.is_alive) == ([0], [], True)


def test_socket_that_does_not_receive_is_an_error_of_the_system_and_told(kernel: Any, sockets: Any) -> None:
    for fd, expected in ((sockets[0].fileno(), errno.EAGAIN), (-1, errno.EBADF)):
        way = In(kernel, "first", fd=fd)
        assert not way.receive()
        [error] = way.told
        assert isinstance(error, OSError)
        assert error.errno == expected
        assert (way.got, way.decoder.unread, way.inlet.is_alive) == ([], 0, False)


def test_error_of_an_intake_is_told(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    way = In(kernel, fd=ours.fileno())
    del way.got
    theirs.send(frame(TEXT, b"x", mask=MASK))
    assert not way.receive()
    [error] = way.told
    assert isinstance(error, AttributeError)
    assert not way.inlet.is_alive


def test_owner_reads_itself_while_there_is_no_intake(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    way = In(kernel, "first", fd=ours.fileno())
    theirs.send(frame(TEXT, b"x", mask=MASK))
    way.inlet.intake = None
    assert [way.receive(), way.receive()] == [False, True]  # as the owner says
    assert (way.told, way.got, way.inlet.is_alive) == (["read", "read"], [], False)
    way.inlet.intake = way.intake
    assert way.receive()
    assert (way.told, way.got) == (["read", "read"], [("first", "x")])


def test_nothing_is_read_for_nobody(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    way = In(kernel, "first", fd=ours.fileno())
    theirs.send(b"x")
    way.inlet.owner = None
    assert not way.receive()
    way.inlet.intake = None
    assert not way.receive()
    assert (way.told, way.got, unread_of(ours)) == ([], [], b"x")


def test_inlet_belongs_to_nobody_at_first_and_reads_at_least_a_byte(kernel: Any) -> None:
    inlet = kernel.Inlet(-1, 1, 0)
    assert (inlet.owner, inlet.intake, inlet.max_size, inlet.is_alive) == (None, None, 1, False)
    for size in (0, -1):
        with pytest.raises(ValueError, match=f"at least one byte, not {size}"):
            kernel.Inlet(-1, size, 0)


def test_inlet_may_be_closed_by_whom_it_wakes(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    way = In(kernel, "first", max_size=100, fd=ours.fileno())

    def wake(receiver: str, message: bytes) -> None:
        way.got.append((receiver, message))
        way.inlet.intake = way.inlet.owner = None

    way.inlet.intake = way.make_intake(100, wake, way.take)
    theirs.send(frame(BINARY, bytes(30), mask=MASK))
    way.receive()
    assert (way.got, way.told) == ([("first", bytes(30))], [36])


@pytest.mark.parametrize("method", ["read", "read_on", "read_failed"])
def test_what_an_inlets_owner_raises_passes_through(kernel: Any, sockets: Any, method: str) -> None:
    ours, theirs = sockets
    way = In(kernel, fd=ours.fileno())
    del way.told
    if method == "read":
        way.inlet.intake = None
    elif method == "read_on":
        theirs.close()
    with pytest.raises(AttributeError, match="told"):
        way.receive()


# ------------------------------------------------------------------------------------------------ from many sockets


READABLE = 1


def read_ready(kernel: Any, told: list[tuple[int, int]], *ways: In) -> list[tuple[int, int]]:
    """Read those of the sockets, which are numbered from 0."""
    sockets = dict(enumerate(ways))
    others: list[tuple[int, int]] = kernel.read_ready(told, sockets, READABLE, memoryview(bytearray(100)))
    return others


def test_sockets_are_read_in_turn_that_are_readable_and_no_more(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    ways = [In(kernel, fd=ours.fileno(), room=1) for _ in range(4)]
    theirs.send(b"123456")
    told = [(2, READABLE), (0, 5), (3, READABLE), (1, 4), (0, READABLE), (9, READABLE), (9, 4)]
    assert read_ready(kernel, told, *ways) == [(0, 5), (1, 4), (9, 4)]
    assert [way.decoder.unread for way in ways] == [1, 0, 1, 1]
    assert unread_of(ours) == b"456"
    assert read_ready(kernel, [], *ways) == []


def test_socket_that_goes_while_others_are_read_is_left_out(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    theirs.send(b"12")
    way = In(kernel, fd=ours.fileno(), room=1)
    served = {0: way, 1: way}
    way.take = lambda message: served.clear()  # type: ignore[method-assign]
    way.inlet.intake = way.make_intake(10, way.wake, way.take)
    assert kernel.read_ready([(0, READABLE), (1, READABLE)], served, READABLE, way.buffer) == []
    assert unread_of(ours) == b"2"


def test_what_the_owner_of_one_socket_raises_passes_through(kernel: Any, sockets: Any) -> None:
    way = In(kernel, fd=sockets[0].fileno())
    del way.told
    with pytest.raises(AttributeError, match="told"):
        read_ready(kernel, [(0, READABLE)], way)


# ----------------------------------------------------------------------------------------------- messages that wait


def queue_of(
    kernel: Any, *messages: str | bytes, max_messages: float = 10, max_size: float = math.inf
) -> Any:
    queue = kernel.MessageQueue(max_messages, max_size)
    for message in messages:
        queue.put(message)
    return queue


def test_messages_come_out_in_their_order(kernel: Any) -> None:
    queue = queue_of(kernel)
    assert (bool(queue), len(queue)) == (False, 0)
    for message in ("two", b"three"):
        queue.put(message)
    queue.put_back("one")
    assert (bool(queue), len(queue)) == (True, 3)
    assert [queue.take() for _ in range(3)] == ["one", "two", b"three"]
    assert len(queue) == 0
    with pytest.raises(IndexError, match="no message waits"):
        queue.take()
    with pytest.raises(IndexError, match="no message waits"):
        queue_of(kernel).take()


@pytest.mark.parametrize("max_messages", [0, 1, 2])
def test_number_of_messages_is_bounded_with_one_more_beside_the_queue(kernel: Any, max_messages: int) -> None:
    queue = queue_of(kernel, max_messages=max_messages)
    for _ in range(max_messages + 1):
        assert not queue.is_full
        queue.put("x")
    assert (queue.is_full, queue.is_heavy) == (True, False)
    queue.take()
    assert not queue.is_full


@pytest.mark.parametrize(
    "message", [b"", "", bytes(1000), "x" * 1000, "\xfc" * 1000, "\u6771" * 1000, "\U0001f40d" * 1000]
)
def test_memory_of_messages_is_bounded_and_given_back(kernel: Any, message: str | bytes) -> None:
    size = message.__sizeof__()
    queue = queue_of(kernel, message, max_size=size + 1)
    assert (queue.size, queue.is_full, queue.is_heavy) == (size, False, False)
    queue.put_back(message)
    assert (queue.size, queue.is_full, queue.is_heavy) == (2 * size, True, True)
    queue.take()
    assert (queue.size, queue.is_full, queue.is_heavy) == (size, False, False)
    # What else is held counts.
    queue.size += 1
    assert (queue.is_full, queue.is_heavy) == (True, True)
    queue.clear()
    assert (queue.size, queue.is_full, len(queue)) == (1, False, 0)
    queue.put(message)
    assert queue.take() == message


def test_messages_keep_their_order_however_many_come_and_go(kernel: Any) -> None:
    queue, expected = queue_of(kernel), deque[str]()
    chance = random.Random(7)
    for number in range(5000):
        # It grows to hundreds, and shrinks again.
        step = chance.random() - (0.05 if number // 1000 % 2 else -0.05)
        if step > 0.5:
            queue.put(str(number))
            expected.append(str(number))
        elif step > 0.48:
            queue.put_back(str(number))
            expected.appendleft(str(number))
        elif expected:
            assert queue.take() == expected.popleft()
        assert len(queue) == len(expected)
    assert [queue.take() for _ in expected] == list(expected)
    assert queue.size == 0


def test_one_out_one_in(kernel: Any) -> None:
    way = In(kernel)
    for message in b"one", b"two":
        way.messages.put(message)
    way.decoder.receive_data(b"".join(frame(BINARY, data, mask=MASK) for data in (b"three", b"four")))
    assert [way.intake.exchange() for _ in range(2)] == [b"one", b"two"]
    assert way.intake.exchange() is None
    assert [way.messages.take() for _ in range(2)] == [b"three", b"four"]
    assert way.got == []


def test_who_exchanges_a_message_for_a_smaller_one_hears_of_the_room(kernel: Any) -> None:
    way = In(kernel)
    way.messages.put(b"one")
    way.decoder.receive_data(frame(BINARY, b"two", mask=MASK))
    assert way.intake.exchange() == b"one"
    assert way.got == [(None, None)]


@pytest.mark.parametrize(
    "data", [b"", frame(BINARY, b"x", mask=MASK)[:-1], frame(PING, b"", mask=MASK), frame(TEXT, b"x")]
)
def test_nothing_is_exchanged_for_what_is_no_whole_message(kernel: Any, data: bytes) -> None:
    way = In(kernel)
    way.messages.put(b"one")
    way.decoder.receive_data(data)
    assert way.intake.exchange() is None
    assert (way.decoder.unread, len(way.messages), way.got) == (len(data), 1, [])


def test_closed_intake_forgets_whom_to_tell(kernel: Any) -> None:
    way = In(kernel)
    others = sys.getrefcount(way)
    way.intake.close()
    assert sys.getrefcount(way) == others - 2
    assert way.intake.exchange() is None
