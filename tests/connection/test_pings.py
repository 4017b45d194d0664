"""Pings in flight: who is answered by which pong, and how long it took."""

from __future__ import annotations

import secrets

import pytest
import trio
import trio.testing

from trio_websocket._connection._pings import PingsInFlight


async def test_pong_ends_its_ping_and_tells_its_seconds(mock_clock: trio.testing.MockClock) -> None:
    pings = PingsInFlight()
    ping = pings.add(b"a")
    mock_clock.jump(1.5)
    assert pings.receive_pong(b"a") == 1.5
    await ping.wait()
    assert ping.latency == 1.5
    assert len(pings) == 0


async def test_pong_ends_all_earlier_pings_and_no_later_one(mock_clock: trio.testing.MockClock) -> None:
    pings = PingsInFlight()
    first = pings.add(b"1")
    mock_clock.jump(1)
    second = pings.add(b"2")
    mock_clock.jump(1)
    third = pings.add(b"3")
    assert pings.receive_pong(b"2") == 1
    assert (first.latency, second.latency, third.latency) == (2, 1, None)
    assert b"3" in pings
    assert len(pings) == 1


async def test_pong_that_nobody_asked_for_changes_nothing() -> None:
    pings = PingsInFlight()
    ping = pings.add(b"a")
    assert pings.receive_pong(b"b") is None
    assert ping.latency is None
    assert b"a" in pings


async def test_failing_ends_all_without_a_latency() -> None:
    pings = PingsInFlight()
    waiting = [pings.add(b"1"), pings.add(b"2")]
    pings.fail()
    for ping in waiting:
        await ping.wait()
        assert ping.latency is None
    assert len(pings) == 0


async def test_removing_a_ping_leaves_a_newer_one_with_the_same_payload() -> None:
    pings = PingsInFlight()
    old = pings.add(b"a")
    pings.receive_pong(b"a")
    pings.add(b"a")
    pings.remove(b"a", old)
    assert b"a" in pings
    assert pings.receive_pong(b"a") is not None


async def test_removed_ping_is_forgotten() -> None:
    pings = PingsInFlight()
    pings.remove(b"a", pings.add(b"a"))
    assert b"a" not in pings
    assert pings.receive_pong(b"a") is None


async def test_new_payload_is_none_that_is_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    pings = PingsInFlight()
    candidates = iter([b"aaaa", b"aaaa", b"bbbb"])

    def token_bytes(size: int) -> bytes:
        assert size == 4
        return next(candidates)

    monkeypatch.setattr(secrets, "token_bytes", token_bytes)
    pings.add(pings.new_payload())
    assert pings.new_payload() == b"bbbb"
