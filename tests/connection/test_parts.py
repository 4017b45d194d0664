"""The parts of one message between who receives them and who takes them."""

from __future__ import annotations

import sys

import pytest
import trio
import trio.testing

from trio_websocket._connection._parts import PartQueue


def test_parts_wait_in_their_order_and_tell_their_size() -> None:
    queue = PartQueue()
    assert queue.put("one", is_final=False) == sys.getsizeof("one")
    assert not queue.is_whole
    assert queue.put("two", is_final=True) == sys.getsizeof("two")
    assert list(queue.parts) == ["one", "two"]
    assert queue.is_whole


@pytest.mark.parametrize("empty", ["", b""])
def test_an_empty_part_is_kept_only_if_it_is_the_whole_message(empty: str | bytes) -> None:
    whole, last = PartQueue(), PartQueue()
    assert whole.put(empty, is_final=True) > 0
    assert list(whole.parts) == [empty]
    last.put("x", is_final=False)
    last.parts.popleft()
    assert last.put(empty, is_final=True) == 0
    assert not last.parts
    assert last.is_whole


def test_whoever_leaves_gets_back_the_room_and_takes_none_any_more() -> None:
    queue = PartQueue()
    size = queue.put(b"one", is_final=False) + queue.put(b"two", is_final=False)
    assert queue.leave() == size
    assert queue.is_left
    assert queue.put(b"three", is_final=True) == 0
    assert not queue.parts
    assert queue.is_whole


@pytest.mark.parametrize("act", ["put", "wake", "leave"])
async def test_the_receiver_wakes_at_every_change(act: str) -> None:
    queue = PartQueue()
    acts = {"put": lambda: queue.put(b"x", is_final=False), "wake": queue.wake, "leave": queue.leave}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.wait)
        await trio.testing.wait_all_tasks_blocked()
        acts[act]()


async def test_only_one_task_may_wait_and_a_cancelled_one_does_not_count() -> None:
    queue = PartQueue()
    with trio.CancelScope() as scope:
        scope.cancel()
        await queue.wait()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(queue.wait)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="another task waits for a part"):
            await queue.wait()
        queue.wake()
