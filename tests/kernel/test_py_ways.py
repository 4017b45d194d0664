"""The short ways between sockets and tasks."""

from __future__ import annotations

import contextlib
import errno
import math
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support import BINARY, MASK, PING, TEXT, frame

# ------------------------------------------------------------------------------------------------- the short way in


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends; neither blocks."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


class In:
    """An intake of masked messages, what comes through it, and an inlet from a socket."""

    def __init__(
        self, kernel: Any, *receivers: str | None, max_size: int = 10, fd: int = -1, room: int = 64
    ) -> None:
        self.decoder = kernel.FrameDecoder()
        self.receivers = list(receivers)
        self.got: list[tuple[str | None, Any]] = []
        self.intake = kernel.Intake(self.decoder, True, max_size, self.receivers, self.wake, self.take)
        self.buffer = memoryview(bytearray(100))
        self.use(kernel.Inlet(fd, room, 20))
        self.told: list[Any] = []

    def use(self, inlet: Any) -> None:
        self.inlet = inlet
        inlet.owner, inlet.intake = self, self.intake

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

    way.inlet.intake = kernel.Intake(way.decoder, True, 100, way.receivers, wake, way.take)
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
    way.inlet.intake = kernel.Intake(way.decoder, True, 10, [], way.wake, way.take)
    assert kernel.read_ready([(0, READABLE), (1, READABLE)], served, READABLE, way.buffer) == []
    assert unread_of(ours) == b"2"


def test_what_the_owner_of_one_socket_raises_passes_through(kernel: Any, sockets: Any) -> None:
    way = In(kernel, fd=sockets[0].fileno())
    del way.told
    with pytest.raises(AttributeError, match="told"):
        read_ready(kernel, [(0, READABLE)], way)


# ------------------------------------------------------------------------------------------------ the short way out


class Out:
    """An outlet, and what it told of what did not go out at once."""

    def __init__(
        self, kernel: Any, fd: int, *, max_size: int = 10, max_backlog: float = 1000, turns: Any = None
    ) -> None:
        self.turns = turns or kernel.Turns()
        self.told: list[str] = []
        self.rest: list[bytes] = []
        self.error: OSError | None = None
        self.outlet = kernel.Outlet(fd, self.turns, self)
        self.outlet.max_size = max_size
        self.outlet.max_backlog = max_backlog

    def put_off(self) -> None:
        self.told.append("put off")

    def drain(self) -> None:
        self.told.append("drain")

    def send_outgoing(self) -> None:
        self.told.append("send outgoing")

    def keep_rest(self, data: bytes, sent: int) -> None:
        self.rest.append(data[sent:])

    def send_failed(self, error: OSError) -> None:
        self.error = error

    def waits(self) -> bytes:
        """What waits, without the headers of messages of one byte."""
        data = b"".join(self.outlet.outgoing)
        assert self.outlet.backlog == len(data)
        return data.replace(b"\x82\x01", b"")


def sent_to(sock: socket.socket) -> bytes:
    """What has come, without the headers of messages of one byte."""
    try:
        return sock.recv(2**20).replace(b"\x82\x01", b"")
    except BlockingIOError:
        return b""


Send = Callable[[Out, bytes], bool]


@pytest.fixture(params=["bytes", "message"])
def send(request: pytest.FixtureRequest) -> Send:
    """Both ways to send bytes: as they are, and as a message's frame."""
    return lambda way, data: getattr(way.outlet, "send" if request.param == "bytes" else "send_message")(data)


def test_socket_is_sent_a_message_in_a_frame(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    way = Out(kernel, ours.fileno())
    for message, opcode in ("gr\xfcn", TEXT), (b"", BINARY), (b"x" * 10, BINARY), ("y" * 300, TEXT):
        assert way.outlet.send_message(message)
        payload = message if isinstance(message, bytes) else message.encode()
        assert theirs.recv(1000) == frame(opcode, payload)
        way.turns.count += 1
    way.outlet.random_bytes = {4: MASK}.__getitem__
    assert way.outlet.send_message("masked")
    assert theirs.recv(1000) == frame(TEXT, b"masked", mask=MASK)
    assert way.rest == []


def test_socket_is_sent_bytes_as_they_are(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    way = Out(kernel, ours.fileno(), max_size=-1)
    assert way.outlet.send(b"as they are")
    assert theirs.recv(100) == b"as they are"


@pytest.mark.parametrize("message", [b"x" * 11, bytearray(b"x"), memoryview(b"x"), None])
def test_other_messages_are_not_taken(kernel: Any, sockets: Any, message: object) -> None:
    ours, theirs = sockets
    way = Out(kernel, ours.fileno())
    assert not way.outlet.send_message(message)
    way.outlet.max_size = -1
    assert not way.outlet.send_message("text")
    assert sent_to(theirs) == way.waits() == b""


def test_text_without_utf8_is_an_error_and_nothing_has_happened(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    way = Out(kernel, ours.fileno())
    with pytest.raises(UnicodeEncodeError):
        way.outlet.send_message("\ud800")
    assert way.outlet.send_message("x")
    assert theirs.recv(100) == frame(TEXT, b"x")


def test_what_follows_in_a_turn_waits_for_the_next(kernel: Any, sockets: Any, send: Send) -> None:
    ours, theirs = sockets
    way = Out(kernel, ours.fileno())
    for data in b"1", b"2", b"3":
        assert send(way, data)
    assert (sent_to(theirs), way.waits(), way.told) == (b"1", b"23", ["put off"])
    way.turns.count += 1
    # Nothing overtakes what waits.
    assert send(way, b"4")
    assert (sent_to(theirs), way.waits(), way.told) == (b"", b"234", ["put off"])
    way.outlet.flush()
    assert (sent_to(theirs), way.waits()) == (b"234", b"")
    assert send(way, b"5")
    assert sent_to(theirs) == b"5"


def test_more_than_is_worth_keeping_is_told(kernel: Any, sockets: Any) -> None:
    way = Out(kernel, sockets[0].fileno())
    for size in 1, 1, 65534, 1:
        assert way.outlet.send(bytes(size))
    assert way.told == ["put off"]
    assert way.outlet.send(b"x")
    assert way.told == ["put off", "send outgoing"]
    assert way.outlet.backlog == 65537


def test_message_is_not_taken_while_too_much_waits(kernel: Any, sockets: Any) -> None:
    way = Out(kernel, sockets[0].fileno())
    way.outlet.outgoing.append(b"first")
    for max_backlog, backlog in ((0, 1), (10, 11)):
        way.outlet.max_backlog, way.outlet.backlog = max_backlog, backlog
        assert not way.outlet.send_message(b"x")
        way.outlet.backlog -= 1
        assert way.outlet.send_message(b"x")
    way.outlet.max_backlog, way.outlet.backlog = math.inf, 2**62
    assert way.outlet.send_message(b"x")


def test_nothing_goes_out_of_a_closed_outlet(kernel: Any, sockets: Any, send: Send) -> None:
    ours, theirs = sockets
    way = Out(kernel, ours.fileno())
    way.turns.is_corked = True
    assert send(way, b"1")
    way.outlet.close()
    assert not send(way, b"x")
    # That is the owner's.
    way.turns.flush()
    assert (sent_to(theirs), way.waits(), way.told) == (b"", b"1", [])


def test_what_a_socket_does_not_take_is_left(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    way = Out(kernel, ours.fileno(), max_size=2**21)
    data = bytes(range(256)) * 4000
    assert way.outlet.send_message(data)
    taken = theirs.recv(2**21)
    assert 0 < len(taken) < len(data)
    assert taken + way.rest[0] == frame(BINARY, data)


def fill(sock: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(2**16))


@pytest.mark.parametrize("size", [1, 2**17])
def test_socket_that_takes_nothing_leaves_everything(kernel: Any, sockets: Any, size: int) -> None:
    ours, _ = sockets
    way = Out(kernel, ours.fileno())
    fill(ours)
    assert way.outlet.send(bytes(size))
    assert (way.rest, way.error) == ([bytes(size)], None)


def test_socket_that_does_not_send_is_told(kernel: Any, sockets: Any, send: Send) -> None:
    ours, theirs = sockets
    theirs.close()
    way = Out(kernel, ours.fileno())
    assert send(way, b"x")
    assert isinstance(way.error, BrokenPipeError)
    way = Out(kernel, -1)
    assert send(way, b"x")
    assert way.error is not None
    assert way.error.errno == errno.EBADF
    assert way.rest == []


# ----------------------------------------------------------------------------------------------- many send together


def test_corked_outlets_keep_what_they_are_given_until_they_are_flushed(
    kernel: Any, sockets: Any, send: Send
) -> None:
    ours, theirs = sockets
    turns = kernel.Turns()
    first, second, idle = (Out(kernel, ours.fileno(), turns=turns) for _ in range(3))
    assert not turns.is_corked
    assert (turns.count, send(idle, b"0"), sent_to(theirs)) == (0, True, b"0")
    turns.is_corked = True
    for way, data in (first, b"1"), (second, b"3"), (first, b"2"), (second, b"4"):
        assert send(way, data)
        turns.count += 1
    assert (sent_to(theirs), first.waits(), second.waits()) == (b"", b"12", b"34")
    turns.flush()
    assert (sent_to(theirs), first.waits(), second.waits()) == (b"1234", b"", b"")
    turns.flush()
    assert send(first, b"5")
    assert sent_to(theirs) == b""
    turns.is_corked = False
    assert send(second, b"6")
    assert sent_to(theirs) == b"6"
    # Nothing overtakes what waits.
    assert send(first, b"7")
    turns.flush()
    assert sent_to(theirs) == b"57"
    assert first.told == second.told == idle.told == []


@pytest.mark.parametrize(("max_backlog", "size"), [(0, 1), (1, 2), (2**20, 65537)])
def test_owner_sends_what_somebody_may_wait_for_and_what_is_much(
    kernel: Any, sockets: Any, max_backlog: int, size: int
) -> None:
    ours, theirs = sockets
    way = Out(kernel, ours.fileno(), max_backlog=max_backlog)
    way.turns.is_corked = True
    assert way.outlet.send(bytes(size - 1) or b"x")
    if size > 1:
        way.turns.flush()
        assert len(sent_to(theirs)) == size - 1
        assert way.outlet.send(bytes(size))
    way.told.clear()
    way.turns.flush()
    assert (way.told, way.outlet.backlog, sent_to(theirs)) == (["drain"], size, b"")


def test_flushing_leaves_alone_what_is_blocked_and_what_was_sent_meanwhile(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets
    way = Out(kernel, ours.fileno())
    way.turns.is_corked = True
    assert way.outlet.send(b"1")
    way.outlet.is_blocked = True
    way.turns.flush()
    assert (sent_to(theirs), way.waits()) == (b"", b"1")
    way.outlet.is_blocked = False
    way.outlet.flush()
    assert sent_to(theirs) == b"1"
    assert way.outlet.send(b"2")
    way.outlet.outgoing.clear()
    way.outlet.backlog = 0
    way.turns.flush()
    assert (sent_to(theirs), way.told, way.rest) == (b"", [], [])


def test_what_a_socket_does_not_take_when_it_is_flushed_is_left(kernel: Any, sockets: Any) -> None:
    ours, _ = sockets
    way = Out(kernel, ours.fileno())
    way.turns.is_corked = True
    assert way.outlet.send(b"1")
    assert way.outlet.send(memoryview(b"-2").tobytes())
    fill(ours)
    way.turns.flush()
    assert (way.rest, way.waits(), way.error) == ([b"1-2"], b"", None)


def test_socket_that_does_not_send_when_it_is_flushed_is_told_and_the_others_send(
    kernel: Any, sockets: Any
) -> None:
    ours, theirs = sockets
    turns = kernel.Turns()
    turns.is_corked = True
    broken, good = Out(kernel, -1, turns=turns), Out(kernel, ours.fileno(), turns=turns)
    for way in broken, good:
        assert way.outlet.send(b"x")
    turns.flush()
    assert isinstance(broken.error, OSError)
    assert (broken.waits(), good.error, sent_to(theirs)) == (b"", None, b"x")


def test_what_an_owner_sends_when_it_is_flushed_waits_for_the_next_time(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets

    class Answering(Out):
        def send_failed(self, error: OSError) -> None:
            assert good.outlet.send(b"later")

    turns = kernel.Turns()
    turns.is_corked = True
    good = Out(kernel, ours.fileno(), turns=turns)
    assert Answering(kernel, -1, turns=turns).outlet.send(b"x")
    turns.flush()
    assert sent_to(theirs) == b""
    turns.flush()
    assert sent_to(theirs) == b"later"
