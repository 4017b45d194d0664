"""When to ping, and when a peer counts as gone: told the time, it has no clock.

Theory of operation
    A peer is pinged every `interval`, whether it talks or not: the pings are also what keeps a connection alive in routers
    and proxies, which watch each direction for itself. Any sign of life answers, not the pong alone; there has to be one
    between a ping and `timeout` seconds later. So a peer that falls silent just behind a look is found out by the next
    ping, which is `interval` later at most: within `interval + timeout`, and nobody needs to know when its last byte came.

    A silence that we can't have heard proves nothing. While our own side does not read, the peer is not pinged, as its
    pong would wait behind what is not read; it is sent a pong, which nobody answers (RFC 6455 §5.5.3). When we read again,
    or have been kept from looking, it is pinged anew.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

__all__ = ["Beat", "Heartbeat", "Pulse"]

# The part of `timeout` by which a look may come late. Later than that, we were busy, and may have read or sent nothing.
_MAX_LATENESS = 1 / 4


@dataclass(frozen=True)
class Heartbeat:
    """Pings that find out whether the peer is still there (RFC 6455 §5.5.2).

    The timer rests while your program does not take its messages, and any byte from the peer counts, so a busy connection
    is not mistaken for a dead one. A peer that falls silent is dropped within `interval + timeout` seconds: calls raise
    `ConnectionClosed` with code 1006, and `PeerSilent` as the cause.

    Args:
        interval: Seconds between two pings; `math.inf` for none at all.
        timeout: Seconds after a ping in which anything has to come from the peer; `math.inf` if nothing has to.

    Raises:
        ValueError: One of them is not a number greater than 0.
    """

    interval: float = 20.0
    timeout: float = 20.0

    def __post_init__(self) -> None:
        for name in ("interval", "timeout"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name}={value!r} is not a number greater than 0")


class Beat(enum.Enum):
    """What is to be done after a look."""

    NOTHING = "nothing"
    PING = "send a ping"
    PONG = "send a pong that nobody asked for"
    DROP = "drop the connection: the peer is silent"


class Pulse:
    """The heartbeat of one connection.

    Attributes:
        due: When to look.
        pinged_at: When the ping was sent that waits for a sign of life, or None.

    Args:
        heartbeat: Its times.
        due: When the first ping is sent, within `interval` from now.
    """

    __slots__ = ("_heartbeat", "_next_ping", "due", "pinged_at")

    def __init__(self, heartbeat: Heartbeat, due: float) -> None:
        self._heartbeat = heartbeat
        self._next_ping = due
        self.due: float = due
        self.pinged_at: float | None = None

    def look(self, now: float, *, is_alive: bool, is_paused: bool) -> Beat:
        """Take in how things are; `due` is when to look next.

        Args:
            now: The time, `due` or later.
            is_alive: Whether the peer has shown a sign of life since the last look.
            is_paused: Whether our own side does not read.

        After `Beat.DROP`, a sign of life that was only overlooked may still be told.
        """
        timeout = self._heartbeat.timeout
        if self.pinged_at is not None:
            deadline = self.pinged_at + timeout
            is_late = now - self.due > timeout * _MAX_LATENESS
            if not (is_alive or is_paused or is_late):
                if now >= deadline:
                    return Beat.DROP
                self.due = min(deadline, now + self._heartbeat.interval)
                return Beat.NOTHING
            self.pinged_at = None
        if now < self._next_ping:
            self.due = self._next_ping
            return Beat.NOTHING
        self.due = self._next_ping = now + self._heartbeat.interval
        if is_paused:
            return Beat.PONG
        if timeout < math.inf:
            self.pinged_at = now
            self.due = min(self.due, now + timeout)
        return Beat.PING
