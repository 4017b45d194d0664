"""When to ping, and when a peer counts as gone: a state machine that is told the time."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_websocket.protocol import Heartbeat
from trio_websocket.protocol._heartbeat import Beat, Pulse


def look(
    pulse: Pulse, *, is_alive: bool = False, is_paused: bool = False, late: float = 0
) -> tuple[float, Beat]:
    """Look when it is due; returns that time, and what is to be done."""
    due = pulse.due
    return due, pulse.look(due + late, is_alive=is_alive, is_paused=is_paused)


# --------------------------------------------------------------------------------------------------------- Heartbeat


def test_heartbeat_has_defaults_that_suit_most_proxies() -> None:
    assert Heartbeat() == Heartbeat(interval=20.0, timeout=20.0)


@pytest.mark.parametrize("name", ["interval", "timeout"])
@pytest.mark.parametrize("value", [0, -1, math.nan, -math.inf])
def test_heartbeat_refuses_what_is_no_time(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value!r} is not a number greater than 0"):
        Heartbeat(**{name: value})


def test_heartbeat_takes_any_time_and_an_endless_one() -> None:
    heartbeat = Heartbeat(interval=math.inf, timeout=1e-3)
    assert (heartbeat.interval, heartbeat.timeout) == (math.inf, 1e-3)


def test_heartbeat_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Heartbeat().interval = 1  # type: ignore[misc]


# ------------------------------------------------------------------------------------------------ peers that are there


@pytest.mark.parametrize(
    ("timeout", "due"),
    # What is heard is looked for when the timeout ends, and when the next ping is due; so at the latter alone if they agree.
    [(20, [5, 25, 45, 65]), (30, [5, 25, 45, 65]), (15, [5, 20, 25, 40, 45])],
)
def test_peer_that_answers_is_pinged_once_an_interval(timeout: float, due: list[float]) -> None:
    pulse = Pulse(Heartbeat(20, timeout), due=5)
    seen = [look(pulse, is_alive=True) for _ in due]
    assert [when for when, _ in seen] == due
    assert [when for when, beat in seen if beat is Beat.PING] == [when for when in due if when % 20 == 5]


def test_peer_that_answers_late_is_pinged_again_as_soon_as_it_was_heard() -> None:
    pulse = Pulse(Heartbeat(interval=5, timeout=12), due=0)
    assert look(pulse) == (0, Beat.PING)
    assert look(pulse) == (5, Beat.NOTHING)
    assert look(pulse, is_alive=True) == (10, Beat.PING)
    assert pulse.pinged_at == 10


def test_peer_that_need_not_answer_is_pinged_all_the_same() -> None:
    pulse = Pulse(Heartbeat(5, math.inf), due=0)
    assert [look(pulse) for _ in range(3)] == [(0, Beat.PING), (5, Beat.PING), (10, Beat.PING)]
    assert pulse.pinged_at is None


# ------------------------------------------------------------------------------------------------ peers that are silent


@pytest.mark.parametrize(
    ("interval", "timeout", "looks"), [(20, 20, [0, 20]), (20, 5, [0, 5]), (5, 12, [0, 5, 10, 12])]
)
def test_peer_that_never_answers_is_dropped_when_the_timeout_ends(
    interval: float, timeout: float, looks: list[float]
) -> None:
    pulse = Pulse(Heartbeat(interval, timeout), due=0)
    seen = [look(pulse) for _ in looks]
    assert [when for when, _ in seen] == looks
    assert [beat for _, beat in seen] == [Beat.PING, *[Beat.NOTHING] * (len(looks) - 2), Beat.DROP]
    assert pulse.pinged_at == 0


def test_peer_that_was_only_overlooked_goes_on() -> None:
    pulse = Pulse(Heartbeat(20, 20), due=0)
    look(pulse)
    assert look(pulse) == (20, Beat.DROP)
    assert look(pulse, is_alive=True) == (20, Beat.PING)
    assert look(pulse) == (40, Beat.DROP)


# ------------------------------------------------------------------------------------- silences that we can't have heard


def test_timer_rests_while_we_do_not_read() -> None:
    pulse = Pulse(Heartbeat(20, 20), due=0)
    assert look(pulse) == (0, Beat.PING)
    # Nobody answers a pong, so nothing piles up behind what is not read.
    assert [look(pulse, is_paused=True) for _ in range(3)] == [(when, Beat.PONG) for when in (20, 40, 60)]
    # We read again: it has its whole time anew.
    assert look(pulse) == (80, Beat.PING)
    assert look(pulse) == (100, Beat.DROP)


def test_peer_has_its_whole_time_anew_when_we_stopped_reading_behind_a_ping() -> None:
    pulse = Pulse(Heartbeat(interval=20, timeout=5), due=0)
    assert look(pulse) == (0, Beat.PING)
    assert look(pulse, is_paused=True) == (5, Beat.NOTHING)
    assert look(pulse) == (20, Beat.PING)
    assert look(pulse) == (25, Beat.DROP)


def test_look_that_comes_late_proves_nothing() -> None:
    pulse = Pulse(Heartbeat(20, 20), due=0)
    look(pulse)
    # The ping may have left only just now.
    assert look(pulse, late=5.1) == (20, Beat.PING)
    assert pulse.pinged_at == 25.1
    assert look(pulse, late=4.9) == (45.1, Beat.DROP)


# ----------------------------------------------------------------------------------------------------- for all of them

TIMES = st.sampled_from([0.5, 1.0, 3.0, 7.0, 20.0, 50.0])


@given(TIMES, TIMES, st.floats(0, 1), st.lists(st.floats(0.01, 60), max_size=8))
def test_silent_peer_is_dropped_within_interval_and_timeout_and_no_other(
    interval: float, timeout: float, phase: float, gaps: list[float]
) -> None:
    heard = list(itertools.accumulate(gaps, initial=0.0))
    pulse = Pulse(Heartbeat(interval, timeout), due=interval * phase)
    seen_until = 0.0
    while True:
        now, beat = look(pulse, is_alive=_any_between(heard, seen_until, pulse.due))
        if beat is Beat.DROP:
            break
        seen_until = now
    # The peer was silent for that long before, and not for longer than may be.
    last = max(when for when in heard if when <= now)
    assert now - last >= timeout * (1 - 1e-9)
    assert now - last <= (interval + timeout) * (1 + 1e-9)


def _any_between(times: list[float], begin: float, end: float) -> bool:
    return any(begin < when <= end for when in times)
