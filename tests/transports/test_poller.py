"""The system's poller: what it tells, and when."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from fakes import unix_pair

from trio_websocket._transports import _poller
from trio_websocket._transports._poller import (
    HANG_UP,
    READABLE,
    WRITABLE,
    Poller,
    is_poller_supported,
    make_poller,
)

# ----------------------------------------------------------------------------------------------------- the real one


@pytest.fixture
def poller() -> Iterator[Poller]:
    with contextlib.closing(make_poller()) as poller:
        yield poller


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = unix_pair()
    with ours, theirs:
        yield ours, theirs


def events_of(poller: Poller, sock: socket.socket) -> list[int]:
    return [events for fd, events in poller.poll() if fd == sock.fileno()]


def test_each_change_is_told_once(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    assert poller.poll() == []
    theirs.send(b"one")
    assert events_of(poller, ours) == [READABLE]
    # Nobody has read it, but it is no news any more.
    assert poller.poll() == []
    theirs.send(b"two")
    assert events_of(poller, ours) == [READABLE]


def test_what_came_before_is_told_at_once(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.send(b"x")
    poller.add(ours.fileno())
    assert events_of(poller, ours) == [READABLE]
    poller.remove(ours.fileno())
    poller.add(ours.fileno())
    assert events_of(poller, ours) == [READABLE]


def test_room_is_told_only_where_it_was_asked_for(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    assert poller.poll() == []
    poller.add_writable(ours.fileno())
    assert events_of(poller, ours) == [WRITABLE]
    assert poller.poll() == []
    with pytest.raises(BlockingIOError):
        while True:
            ours.send(bytes(65536))
    with pytest.raises(BlockingIOError):
        while True:
            theirs.recv(65536)
    assert events_of(poller, ours) == [WRITABLE]


@pytest.mark.parametrize("end", ["shutdown", "close"])
def test_end_is_told(poller: Poller, pair: tuple[socket.socket, socket.socket], end: str) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    theirs.shutdown(socket.SHUT_WR) if end == "shutdown" else theirs.close()
    [events] = events_of(poller, ours)
    assert events & READABLE
    assert events & HANG_UP


def test_removed_socket_is_told_of_no_more(poller: Poller, pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    poller.add_writable(ours.fileno())
    poller.remove(ours.fileno())
    theirs.send(b"x")
    assert poller.poll() == []


def test_number_of_sockets_that_are_told_of_at_once_is_bounded(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_poller, "_MAX_EVENTS", 2)
    told: list[int] = []
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            ours, theirs = unix_pair()
            stack.enter_context(ours)
            stack.enter_context(theirs)
            theirs.send(b"x")
            poller.add(ours.fileno())
        for size in (2, 1, 0):
            events = poller.poll()
            assert len(events) == size
            told += [fd for fd, _ in events]
    assert len(set(told)) == 3


def test_own_descriptor_is_readable_while_there_is_something_to_tell(
    poller: Poller, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    assert select.select([poller.fileno()], [], [], 0)[0] == []
    theirs.send(b"x")
    assert select.select([poller.fileno()], [], [], 0)[0] == [poller.fileno()]
    poller.poll()
    assert select.select([poller.fileno()], [], [], 0)[0] == []


# --------------------------------------------------------------------------------------------------- another system's


class FakeKqueue:
    """A kqueue by its words: kevents in, kevents out."""

    def __init__(self) -> None:
        self.registered: dict[tuple[int, int], int] = {}
        self.events: list[Any] = []
        self.is_closed = False

    def fileno(self) -> int:
        return 99

    def close(self) -> None:
        self.is_closed = True

    def control(self, changes: list[Any] | None, max_events: int, timeout: float | None = None) -> list[Any]:
        for change in changes or ():
            key = (change.ident, change.filter)
            if change.flags & FAKE_SELECT.KQ_EV_ADD:
                self.registered[key] = change.flags
            elif self.registered.pop(key, None) is None:
                raise FileNotFoundError
        # Without a timeout it would wait.
        assert not max_events or timeout == 0
        told, self.events = self.events[:max_events], self.events[max_events:]
        return told


def kevent(ident: int, filter: int, flags: int) -> SimpleNamespace:  # as it is called there
    return SimpleNamespace(ident=ident, filter=filter, flags=flags)


# The constants as on macOS.
FAKE_SELECT = SimpleNamespace(
    kqueue=FakeKqueue,
    kevent=kevent,
    KQ_FILTER_READ=-1,
    KQ_FILTER_WRITE=-2,
    KQ_EV_ADD=0x1,
    KQ_EV_DELETE=0x2,
    KQ_EV_CLEAR=0x20,
    KQ_EV_EOF=0x8000,
)


def test_kqueue_speaks_as_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_poller, "select", FAKE_SELECT)
    assert is_poller_supported()
    poller: Any = make_poller()
    kqueue: FakeKqueue = poller._kqueue
    assert poller.fileno() == 99
    poller.add(5)
    edge = FAKE_SELECT.KQ_EV_ADD | FAKE_SELECT.KQ_EV_CLEAR
    assert kqueue.registered == {(5, -1): edge}
    poller.add_writable(5)
    assert kqueue.registered == {(5, -1): edge, (5, -2): edge}
    poller.add(6)
    kqueue.events = [kevent(5, -1, 0), kevent(5, -2, 0), kevent(6, -1, FAKE_SELECT.KQ_EV_EOF)]
    assert poller.poll() == [(5, READABLE), (5, WRITABLE), (6, READABLE | HANG_UP)]
    assert poller.poll() == []
    poller.remove(5)
    poller.remove(6)
    assert kqueue.registered == {}
    poller.close()
    assert kqueue.is_closed


def test_without_either_there_is_no_poller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_poller, "select", SimpleNamespace(select=select.select))
    assert not is_poller_supported()
