"""Messages that wait for receivers, and receivers that wait for messages."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from trio_websocket._connection import _inbox
from trio_websocket._connection._inbox import Inbox


def make_inbox(max_messages: float = math.inf, max_bytes: float = math.inf) -> Inbox:
    return Inbox(max_messages, max_bytes)


def test_messages_come_out_in_their_order() -> None:
    inbox = make_inbox()
    for message in ("one", b"two", "three"):
        inbox.put(message)
    assert len(inbox.messages) == 3
    assert [inbox.messages.take() for _ in range(3)] == ["one", b"two", "three"]


def test_one_message_always_has_room() -> None:
    inbox = make_inbox(max_messages=0, max_bytes=0)
    assert not inbox.messages.is_full
    inbox.put("x")
    assert inbox.messages.is_full


async def test_receivers_are_served_in_the_order_in_which_they_came() -> None:
    inbox = make_inbox()
    got: list[tuple[int, str | bytes]] = []

    async def receive(number: int) -> None:
        got.append((number, await inbox.wait()))

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(receive, number)
            await trio.testing.wait_all_tasks_blocked()
        for message in ("a", "b", "c"):
            inbox.put(message)
        assert len(inbox.messages) == 0
    assert sorted(got) == [(0, "a"), (1, "b"), (2, "c")]


async def test_cancelled_receiver_is_passed_over() -> None:
    inbox = make_inbox()
    with trio.move_on_after(0):
        await inbox.wait()
    inbox.put("x")
    assert inbox.messages.take() == "x"


async def test_receiver_that_is_cancelled_after_it_was_served_has_the_message() -> None:
    inbox = make_inbox()
    got: list[str | bytes] = []

    async def receive() -> None:
        got.append(await inbox.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        inbox.put("x")
        nursery.cancel_scope.cancel()
    assert got == ["x"]


async def test_failing_gives_each_receiver_an_error_of_its_own() -> None:
    inbox = make_inbox()
    errors: list[Exception] = []

    async def receive() -> None:
        with pytest.raises(KeyError) as caught:
            await inbox.wait()
        errors.append(caught.value)

    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        inbox.fail_receivers(KeyError)
    assert len({id(error) for error in errors}) == 2
    # Nobody is left to be served twice.
    inbox.put("x")
    assert len(inbox.messages) == 1


async def wait_and_fail(inboxes: list[Inbox]) -> None:
    """Have somebody wait in each, and end it."""

    async def receive(inbox: Inbox) -> None:
        with pytest.raises(KeyError):
            await inbox.wait()

    async with trio.open_nursery() as nursery:
        for inbox in inboxes:
            nursery.start_soon(receive, inbox)
        await trio.testing.wait_all_tasks_blocked()
        for inbox in inboxes:
            inbox.fail_receivers(KeyError)


async def test_an_inbox_waits_as_one_before_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inbox, "_spare", [])
    await wait_and_fail([make_inbox()])
    [sleep] = _inbox._spare
    inbox = make_inbox()
    with trio.move_on_after(0):
        await inbox.wait()
    assert inbox._sleep is sleep
    assert inbox.receivers == []
    await wait_and_fail([inbox])
    assert _inbox._spare == [sleep]


async def test_of_many_that_end_few_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_inbox, "_spare", [])
    monkeypatch.setattr(_inbox, "_SPARES", 2)
    inboxes = [make_inbox() for _ in range(3)]
    for inbox in inboxes:
        with trio.move_on_after(0):
            await inbox.wait()
    sleeps = [inbox._sleep for inbox in inboxes]
    await wait_and_fail(inboxes)
    assert _inbox._spare == sleeps[:2]
    # What it yields knows the third, which must not know it in turn.
    assert sleeps[2] is not None
    assert sleeps[2].trap is None


# ---------------------------------------------------------------------------------------------------------- claiming


class Waiting:
    """Tasks that wait for one message each, by their names."""

    def __init__(self, inbox: Inbox, nursery: trio.Nursery) -> None:
        self.got: dict[str, str | bytes] = {}
        self._inbox = inbox
        self._nursery = nursery

    async def start(self, name: str, *, is_first: bool = False) -> None:
        """Let one wait."""

        async def wait() -> None:
            self.got[name] = await self._inbox.wait(is_first=is_first)

        self._nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()


async def test_claimed_message_is_kept_and_the_next_go_to_those_that_wait() -> None:
    inbox = make_inbox(max_bytes=1)
    inbox.claim()
    async with trio.open_nursery() as nursery:
        waiting = Waiting(inbox, nursery)
        await waiting.start("a")
        inbox.put("1")
        assert not inbox.is_claimed
        assert not inbox.messages.is_heavy
        inbox.put("2")
        inbox.put("3")
        assert inbox.messages.is_full
        await trio.testing.wait_all_tasks_blocked()
        assert waiting.got == {"a": "2"}
        assert inbox.take_claimed() == "1"
        assert inbox.messages.take() == "3"
        assert not inbox.messages.is_heavy


def test_claim_that_is_ended_keeps_nothing_more() -> None:
    inbox = make_inbox()
    for end in (inbox.take_claimed, inbox.unclaim):
        inbox.claim()
        assert end() is None
        inbox.put("x")
        assert inbox.messages.take() == "x"


async def test_claim_that_is_given_up_leaves_what_was_kept_to_those_that_wait() -> None:
    inbox = make_inbox()
    inbox.claim()
    async with trio.open_nursery() as nursery:
        waiting = Waiting(inbox, nursery)
        for name in ("a", "b"):
            await waiting.start(name)
        inbox.put("1")
        inbox.unclaim()
        inbox.put("2")
    assert waiting.got == {"a": "1", "b": "2"}


def test_claim_that_is_given_up_leaves_what_was_kept_before_what_came_later() -> None:
    inbox = make_inbox(max_messages=1)
    inbox.claim()
    inbox.put("1")
    inbox.put("2")
    assert facts(inbox) == (False, 1)
    inbox.unclaim()
    assert facts(inbox) == (True, 2)
    assert [inbox.messages.take(), inbox.messages.take()] == ["1", "2"]


async def test_whoever_gave_up_a_claim_may_go_before_those_that_wait() -> None:
    inbox = make_inbox()
    async with trio.open_nursery() as nursery:
        waiting = Waiting(inbox, nursery)
        await waiting.start("a")
        await waiting.start("b", is_first=True)
        await waiting.start("c")
        for message in ("1", "2", "3"):
            inbox.put(message)
    assert waiting.got == {"b": "1", "a": "2", "c": "3"}


# ------------------------------------------------------------------------------------------------------------ in parts


def test_parts_take_room_until_they_are_taken_or_left() -> None:
    inbox = make_inbox(max_bytes=130)
    parts = inbox.begin_parts()
    for is_final in (False, True):
        assert inbox.parts is parts
        inbox.put_part(b"x" * 50, is_final=is_final)
    assert not inbox.parts
    assert facts(inbox) == (True, 0)
    assert inbox.take_part(parts) == b"x" * 50
    assert facts(inbox) == (False, 0)
    inbox.put("y" * 50)
    assert facts(inbox) == (True, 1)
    inbox.leave_parts(parts)
    assert facts(inbox) == (False, 1)
    inbox.messages.clear()
    assert not inbox.messages.is_full


@pytest.mark.parametrize("act", ["take", "leave"])
def test_a_whole_message_in_parts_takes_room_until_it_is_taken_or_left(act: str) -> None:
    inbox = make_inbox(max_bytes=100)
    inbox.put("x" * 100)
    parts = inbox.hold_whole(inbox.messages.take())
    assert (facts(inbox), parts.is_whole) == ((True, 0), True)
    if act == "take":
        assert inbox.take_part(parts) == "x" * 100
    inbox.leave_parts(parts)
    assert facts(inbox) == (False, 0)
    # No room is left over.
    inbox.put("x" * 100)
    assert facts(inbox) == (True, 1)


def test_clearing_leaves_the_room_of_parts_taken() -> None:
    inbox = make_inbox(max_bytes=1)
    parts = inbox.begin_parts()
    inbox.put_part("x", is_final=True)
    inbox.put("message")
    inbox.messages.clear()
    assert facts(inbox) == (True, 0)
    inbox.take_part(parts)
    assert facts(inbox) == (False, 0)


def facts(inbox: Inbox) -> tuple[bool, int]:
    return inbox.messages.is_full, len(inbox.messages)


async def test_a_message_in_parts_is_for_the_first_receiver_that_takes_it_so() -> None:
    inbox = make_inbox()
    got: list[object] = []

    async def receive(call: Callable[[], Awaitable[object]]) -> None:
        got.append(await call())

    async with trio.open_nursery() as nursery:
        for call in (inbox.wait, inbox.wait_in_parts, inbox.wait_in_parts):
            nursery.start_soon(receive, call)
            await trio.testing.wait_all_tasks_blocked()
        assert (inbox.is_next_in_parts, inbox.is_anyone_waiting, len(inbox.part_receivers)) == (
            False,
            True,
            2,
        )
        inbox.put("whole")
        assert state(inbox) == (True, True)
        await trio.testing.wait_all_tasks_blocked()
        inbox.claim()
        assert state(inbox) == (False, True)
        inbox.unclaim()
        parts = inbox.begin_parts()
        # One at a time.
        assert state(inbox) == (False, True)
        await trio.testing.wait_all_tasks_blocked()
        assert got == ["whole", parts]
        inbox.put_part("x", is_final=True)
        inbox.put("whole too")
    assert got[2] == "whole too"
    assert inbox.part_receivers == ()
    assert state(inbox) == (False, False)


def state(inbox: Inbox) -> tuple[bool, bool]:
    return inbox.is_next_in_parts, inbox.is_anyone_waiting


async def test_cancelled_receiver_of_parts_is_passed_over() -> None:
    inbox = make_inbox()
    with trio.CancelScope() as scope:
        scope.cancel()
        await inbox.wait_in_parts()
    assert inbox.part_receivers == ()


async def test_failing_wakes_whoever_waits_for_a_part() -> None:
    inbox = make_inbox()
    parts = inbox.begin_parts()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parts.wait)
        await trio.testing.wait_all_tasks_blocked()
        inbox.fail_receivers(RuntimeError)
