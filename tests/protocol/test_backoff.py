"""How long to wait before another try."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest

from trio_websocket.protocol._backoff import Backoff, BackoffSchedule


def schedule(random: Callable[[], float] = lambda: 0.0, **arguments: float) -> BackoffSchedule:
    return BackoffSchedule(Backoff(**arguments), random)


def delays(schedule: BackoffSchedule, number: int, lasted: float | None = None) -> list[float | None]:
    return [schedule.next_delay(lasted) for _ in range(number)]


def test_waits_grow_by_the_factor_up_to_the_maximum() -> None:
    assert delays(schedule(initial=1, factor=3, maximum=20), 5) == [1, 3, 9, 20, 20]


def test_waits_do_not_overflow_however_many_there_are() -> None:
    endless = schedule(initial=1, factor=1e200, maximum=math.inf)
    assert delays(endless, 4) == [1, 1e200, math.inf, math.inf]


def test_no_wait_times_an_endless_factor_is_the_maximum() -> None:
    assert delays(schedule(initial=0, factor=math.inf, maximum=20), 3) == [0, 20, 20]


def test_wait_may_be_none_at_all() -> None:
    assert delays(schedule(initial=0), 3) == [0, 0, 0]


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 10), (0.5, 8), (1.0, 6)])
def test_part_of_each_wait_is_left_to_chance(chance: float, expected: float) -> None:
    assert schedule(lambda: chance, initial=10, jitter=0.4).next_delay(None) == expected


def test_chance_does_not_make_the_next_wait_shorter() -> None:
    assert delays(schedule(lambda: 1.0, initial=8, jitter=0.5), 3) == [4, 8, 16]


def test_connection_that_lasted_begins_anew() -> None:
    waits = schedule(initial=1, reset_after=10)
    assert delays(waits, 3) == [1, 2, 4]
    assert waits.failures == 3
    assert waits.next_delay(9.9) == 8
    assert waits.next_delay(10) == 1
    assert waits.failures == 0
    assert waits.next_delay(None) == 2


def test_any_connection_lasted_if_none_has_to() -> None:
    waits = schedule(initial=1, reset_after=0)
    assert delays(waits, 2) == [1, 2]
    assert delays(waits, 3, lasted=0.0) == [1, 1, 1]


def test_attempts_count_tries_in_a_row_that_came_to_nothing() -> None:
    waits = schedule(initial=1, attempts=3)
    assert delays(waits, 3) == [1, 2, None]
    waits = schedule(initial=1, attempts=3, reset_after=10)
    assert [waits.next_delay(lasted) for lasted in (None, 5, 20, None, 0, 0)] == [1, 2, 1, 2, 4, None]


def test_one_attempt_is_no_retry() -> None:
    assert schedule(attempts=1).next_delay(None) is None


def test_server_that_asks_for_more_gets_it() -> None:
    waits = schedule(initial=1, factor=10)
    assert waits.next_delay(None, at_least=5) == 5
    assert waits.next_delay(None, at_least=5) == 10


def test_clients_that_were_told_the_same_moment_do_not_all_come_then() -> None:
    chances = itertools.cycle([0.0, 0.75])
    waits = schedule(lambda: next(chances), initial=4, jitter=0.5)
    assert waits.next_delay(None, at_least=100) == 100 + 4 * 0.5 * 0.75


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"initial": -1}, "initial=-1 is not a number from 0 to inf"),
        ({"initial": math.nan}, "initial=nan"),
        ({"initial": math.inf}, "initial=inf is no wait that ends"),
        ({"factor": 0.9}, "factor=0.9 is not a number from 1 to inf"),
        ({"initial": 5, "maximum": 4}, "maximum=4 is not a number from 5 to inf"),
        ({"jitter": 1.1}, "jitter=1.1 is not a number from 0 to 1"),
        ({"jitter": -0.1}, "jitter=-0.1"),
        ({"reset_after": -1}, "reset_after=-1"),
        ({"attempts": 0}, "attempts=0 is not a number from 1 to inf"),
        ({"attempts": math.nan}, "attempts=nan"),
    ],
)
def test_number_that_can_t_be_right_is_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Backoff(**arguments)


def test_backoffs_are_values() -> None:
    assert Backoff(initial=1.0) == Backoff()
    assert len({Backoff(), Backoff(attempts=3), Backoff()}) == 2
