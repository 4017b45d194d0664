"""The system's own poller, edge-triggered: told of a socket once, it tells of every change.

epoll and kqueue differ in their words alone; here, both speak epoll's. Where there is neither, there is no hub, and all
connections use the stream transport.
"""

from __future__ import annotations

import contextlib
import functools
import select as system_select
import socket
from typing import Any, Final, Protocol

import trio

__all__ = ["HANG_UP", "READABLE", "WRITABLE", "Poller", "is_pollable", "is_poller_supported", "make_poller"]

# Type checkers know only what their own platform has.
select: Any = system_select

READABLE: Final = 0x1
WRITABLE: Final = 0x4
# The peer has ended its side (EPOLLRDHUP), both have (EPOLLHUP), or there is an error (EPOLLERR).
HANG_UP: Final = 0x2000 | 0x10 | 0x8

# What one call tells of at most: the scheduler has other work as well.
_MAX_EVENTS = 128


class Poller(Protocol):
    """What a hub needs of a poller."""

    def fileno(self) -> int:
        """The poller's own descriptor, readable while there is something to tell."""

    def add(self, fd: int) -> None:
        """Tell when `fd` gets readable; and now, if it is."""

    def add_writable(self, fd: int) -> None:
        """Tell from now on when `fd`, which was added, gets writable, too; and now, if it is."""

    def remove(self, fd: int) -> None:
        """Tell no more of `fd`."""

    def poll(self) -> list[tuple[int, int]]:
        """Give descriptors and what to tell of each, a bounded number of them, without waiting."""

    def close(self) -> None:
        """Close the poller's own descriptor."""


class _EpollPoller:
    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.fileno = self._epoll.fileno
        self.remove = self._epoll.unregister
        self.close = self._epoll.close

    def add(self, fd: int) -> None:
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)

    def add_writable(self, fd: int) -> None:
        self._epoll.modify(fd, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET)

    def poll(self) -> list[tuple[int, int]]:
        told: list[tuple[int, int]] = self._epoll.poll(0, _MAX_EVENTS)
        return told


class _KqueuePoller:
    def __init__(self) -> None:
        self._kqueue = select.kqueue()
        self.fileno = self._kqueue.fileno
        self.close = self._kqueue.close

    def _control(self, fd: int, kind: int, flags: int) -> None:
        self._kqueue.control([select.kevent(fd, kind, flags)], 0)

    def add(self, fd: int) -> None:
        self._control(fd, select.KQ_FILTER_READ, select.KQ_EV_ADD | select.KQ_EV_CLEAR)

    def add_writable(self, fd: int) -> None:
        self._control(fd, select.KQ_FILTER_WRITE, select.KQ_EV_ADD | select.KQ_EV_CLEAR)

    def remove(self, fd: int) -> None:
        for kind in (select.KQ_FILTER_READ, select.KQ_FILTER_WRITE):
            # It may never have been added to be written to.
            with contextlib.suppress(FileNotFoundError):
                self._control(fd, kind, select.KQ_EV_DELETE)

    def poll(self) -> list[tuple[int, int]]:
        told = []
        for event in self._kqueue.control(None, _MAX_EVENTS, 0):
            what = READABLE if event.filter == select.KQ_FILTER_READ else WRITABLE
            told.append((event.ident, what | HANG_UP if event.flags & select.KQ_EV_EOF else what))
        return told


def is_poller_supported() -> bool:
    """Whether the platform has one."""
    return hasattr(select, "epoll") or hasattr(select, "kqueue")


def is_pollable(sock: trio.socket.SocketType) -> bool:
    """Whether the platform has a poller, and `sock` is Trio's own, over a socket of the system."""
    return type(sock) is _trio_socket_type() and is_poller_supported()


@functools.cache
def _trio_socket_type() -> type:
    # With a custom socket factory, a SocketStream may hold what is no socket at all.
    with trio.socket.from_stdlib_socket(socket.socket()) as sock:
        return type(sock)


def make_poller() -> Poller:
    """Make the platform's."""
    return _EpollPoller() if hasattr(select, "epoll") else _KqueuePoller()
