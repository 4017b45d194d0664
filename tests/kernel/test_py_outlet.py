"""The short way from tasks to sockets."""

from __future__ import annotations

import contextlib
import errno
import math
import socket
from collections.abc import Callable
from typing import Any

import pytest
from support import BINARY, MASK, TEXT, frame


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
    way.turns.will_flush = way.turns.is_corked = True
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
    turns.will_flush = turns.is_corked = True
    for way, data in (first, b"1"), (second, b"3"), (first, b"2"), (second, b"4"):
        assert send(way, data)
        turns.count += 1
    assert (sent_to(theirs), first.waits(), second.waits()) == (b"", b"12", b"34")
    turns.flush()
    assert (sent_to(theirs), first.waits(), second.waits()) == (b"1234", b"", b"")
    turns.flush()
    assert send(first, b"5")
    assert sent_to(theirs) == b""
    turns.will_flush = turns.is_corked = False
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
    way.turns.will_flush = way.turns.is_corked = True
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
    way.turns.will_flush = way.turns.is_corked = True
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
    way.turns.will_flush = way.turns.is_corked = True
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
    turns.will_flush = turns.is_corked = True
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
    turns.will_flush = turns.is_corked = True
    good = Out(kernel, ours.fileno(), turns=turns)
    assert Answering(kernel, -1, turns=turns).outlet.send(b"x")
    turns.flush()
    assert sent_to(theirs) == b""
    turns.flush()
    assert sent_to(theirs) == b"later"


def test_what_follows_in_a_turn_that_will_be_flushed_is_kept(kernel: Any, sockets: Any, send: Send) -> None:
    ours, theirs = sockets
    way = Out(kernel, ours.fileno())
    way.turns.will_flush = True
    for data in b"1", b"2", b"3":
        assert send(way, data)
    assert (sent_to(theirs), way.waits()) == (b"1", b"23")
    way.turns.flush()
    assert (sent_to(theirs), way.waits(), way.told) == (b"23", b"", [])


def test_turn_in_which_somebody_sends_more_than_once_is_a_burst(kernel: Any, sockets: Any) -> None:
    ours, _ = sockets
    turns = kernel.Turns()
    ways = [Out(kernel, ours.fileno(), turns=turns) for _ in range(2)]
    bursts = [turns.is_burst]
    turns.will_flush = True
    for is_corked, sends in (
        (False, (0, 1)),
        (False, (0, 1, 1)),
        (True, (1, 0)),
        (True, (0, 1, 0)),
        (True, ()),
    ):
        turns.count += 1
        turns.is_corked = is_corked
        for which in sends:
            assert ways[which].outlet.send(b"x")
        turns.flush()
        bursts.append(turns.is_burst)
    # Where nothing is kept, nothing is learnt.
    assert bursts == [False, False, True, False, True, True]


def test_owner_that_raises_does_not_keep_the_others_from_sending(kernel: Any, sockets: Any) -> None:
    ours, theirs = sockets

    class Raising(Out):
        def drain(self) -> None:
            raise ZeroDivisionError

    turns = kernel.Turns()
    turns.will_flush = turns.is_corked = True
    ways = Out(kernel, ours.fileno(), turns=turns), Raising(kernel, ours.fileno(), turns=turns, max_backlog=0)
    later = Out(kernel, ours.fileno(), turns=turns)
    for way in (*ways, later):
        assert way.outlet.send(b"x")
    with pytest.raises(ZeroDivisionError):
        turns.flush()
    assert (sent_to(theirs), later.waits()) == (b"x", b"x")
    turns.flush()
    assert (sent_to(theirs), later.waits()) == (b"x", b"")
