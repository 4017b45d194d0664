"""How often calls that need not wait let others run."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from trio_websocket._connection._turns import CALLS_A_TURN, Turns, turns_of_this_run


def test_one_call_in_a_turn_is_due() -> None:
    turns = Turns()
    for _ in range(3):
        assert [turns.is_due() for _ in range(CALLS_A_TURN)] == [False] * (CALLS_A_TURN - 1) + [True]


async def test_who_has_counted_itself_lets_others_run_and_begins_anew() -> None:
    turns = Turns()
    turns.left = 0
    with pytest.raises(AssertionError, match="yielded"), trio.testing.assert_no_checkpoints():
        await turns.let_others_run()
    assert turns.left == CALLS_A_TURN


def test_counter_is_shared_in_a_run_and_not_between_runs() -> None:
    async def main() -> Turns:
        turns = turns_of_this_run()
        assert turns_of_this_run() is turns
        return turns

    assert trio.run(main) is not trio.run(main)
