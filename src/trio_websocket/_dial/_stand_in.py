"""What takes the network's place, in tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

__all__ = ["Connect", "find_stand_in", "stand_in"]

Connect = Callable[[str, int], Awaitable[trio.abc.Stream]]
"""Connects to a host and a port; raises ConnectionFailed."""

_connect: trio.lowlevel.RunVar[Connect | None] = trio.lowlevel.RunVar("trio_websocket stand-in", None)


def find_stand_in() -> Connect | None:
    """What to call in place of the network, or None."""
    return _connect.get()


@contextmanager
def stand_in(connect: Connect) -> Iterator[None]:
    """Let clients of this Trio run connect by `connect`, without TLS."""
    token = _connect.set(connect)
    try:
        yield
    finally:
        _connect.reset(token)
