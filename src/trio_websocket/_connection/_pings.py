"""Pings that wait for their pongs (RFC 6455 §5.5.2, §5.5.3)."""

from __future__ import annotations

import secrets

import trio

__all__ = ["Ping", "PingsInFlight"]


class Ping:
    """One ping that was sent, and what became of it."""

    __slots__ = ("_ended", "_sent_at", "latency")

    def __init__(self, *, is_awaited: bool) -> None:
        self._sent_at = trio.current_time()
        self._ended = trio.Event() if is_awaited else None
        self.latency: float | None = None
        """Seconds until its pong, or a later ping's; None if the connection ended first."""

    def end(self, *, answered: bool) -> None:
        """Let whoever waits go on."""
        if answered:
            self.latency = trio.current_time() - self._sent_at
        if self._ended is not None:
            self._ended.set()

    @property
    def is_awaited(self) -> bool:
        """Whether `wait` may be called."""
        return self._ended is not None

    async def wait(self) -> None:
        """Wait for the end of it. Cancelling is safe."""
        assert self._ended is not None
        await self._ended.wait()


class PingsInFlight:
    """The pings that were sent and not answered, in their order."""

    __slots__ = ("_pings",)

    def __init__(self) -> None:
        self._pings: dict[bytes, Ping] = {}

    def __len__(self) -> int:
        return len(self._pings)

    def __contains__(self, payload: bytes) -> bool:
        return payload in self._pings

    @property
    def are_awaited(self) -> bool:
        """Whether somebody waits for one of them."""
        # A heartbeat's is one at most.
        return any(ping.is_awaited for ping in self._pings.values())

    def new_payload(self) -> bytes:
        """Four random bytes that no ping in flight has."""
        while (payload := secrets.token_bytes(4)) in self._pings:
            pass
        return payload

    def add(self, payload: bytes) -> Ping:
        """Note that a ping is sent now."""
        ping = self._pings[payload] = Ping(is_awaited=True)
        return ping

    def add_heartbeat(self, payload: bytes) -> None:
        """Note that a ping is sent now for which nobody waits, and forget the one before it."""
        for earlier, ping in self._pings.items():
            if not ping.is_awaited:
                del self._pings[earlier]
                break
        self._pings[payload] = Ping(is_awaited=False)

    def remove(self, payload: bytes, ping: Ping) -> None:
        """Forget `ping`, for which nobody waits any more."""
        # Its payload may be in flight anew: a pong came, and another task was quicker than the one that waited for it.
        if self._pings.get(payload) is ping:
            del self._pings[payload]

    def receive_pong(self, payload: bytes) -> float | None:
        """End the ping that a pong answers, and all earlier ones; returns that ping's seconds, None if there is none.

        RFC 6455 §5.5.3: a peer may answer only the latest of several pings. A pong that nobody asked for is legal.
        """
        if payload not in self._pings:
            return None
        while True:
            oldest = next(iter(self._pings))
            ping = self._pings.pop(oldest)
            ping.end(answered=True)
            if oldest == payload:
                return ping.latency

    def fail(self) -> None:
        """End all, as no pong can come any more."""
        for ping in self._pings.values():
            ping.end(answered=False)
        self._pings.clear()
