"""What the connections of a run share."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_websocket._transports import CALLS_A_TURN, Pace, pace_of_this_run
from trio_websocket._transports._hub import hub_of_this_run


def test_one_call_in_a_turn_is_due() -> None:
    pace = Pace()
    for _ in range(3):
        assert [pace.is_due() for _ in range(CALLS_A_TURN)] == [False] * (CALLS_A_TURN - 1) + [True]


async def test_who_has_counted_itself_lets_others_run_and_begins_anew() -> None:
    pace = Pace()
    pace.calls_left = 0
    with pytest.raises(AssertionError, match="yielded"), trio.testing.assert_no_checkpoints():
        await pace.let_others_run()
    assert pace.calls_left == CALLS_A_TURN


def test_pace_is_shared_in_a_run_and_not_between_runs() -> None:
    async def main() -> Pace:
        pace = pace_of_this_run()
        assert pace_of_this_run() is pace
        return pace

    assert trio.run(main) is not trio.run(main)


async def test_run_is_quiet_when_a_hub_says_so() -> None:
    pace = pace_of_this_run()
    assert not pace.is_quiet
    assert hub_of_this_run().pace is pace
    assert pace.is_quiet
