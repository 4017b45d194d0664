"""The line of those that wait to send a message."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from fakes import make_link
from support import TEXT, frame

from trio_websocket._connection._senders import end_turn, not_a_message, send_message_in_turn, take_turn


async def test_turns_are_taken_in_order_and_leave_no_line() -> None:
    link, transport = make_link()
    lock = await take_turn(link)
    async with trio.open_nursery() as nursery:
        for message in ("1", "2"):
            nursery.start_soon(send_message_in_turn, link, message, None)
            await trio.testing.wait_all_tasks_blocked()
        assert transport.take_written() == b""
        end_turn(link, lock)
    assert transport.take_written() == frame(TEXT, b"1") + frame(TEXT, b"2")
    assert link.senders is None


@pytest.mark.parametrize("is_taken", [False, True])
async def test_whoever_is_cancelled_leaves_the_line_as_it_was(is_taken: bool) -> None:
    link, _ = make_link()
    lock = await take_turn(link) if is_taken else None
    with trio.CancelScope() as scope:
        scope.cancel()
        await take_turn(link)
    assert link.senders is lock
    if lock is not None:
        end_turn(link, lock)
    assert link.senders is None


async def test_whoever_is_cancelled_and_comes_late_leaves_the_next_line_alone() -> None:
    link, _ = make_link()
    lock = await take_turn(link)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turn, link)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        # Before the one that was cancelled has run:
        end_turn(link, lock)
        with trio.CancelScope(shield=True):
            next_lock = await take_turn(link)
    assert next_lock is not lock
    assert link.senders is next_lock


def test_what_is_no_message_is_said() -> None:
    with pytest.raises(ValueError, match="a message is str, bytes, bytearray or memoryview, not int"):
        raise not_a_message(1)
