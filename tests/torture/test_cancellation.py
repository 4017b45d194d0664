"""Cancelling each call on a connection at each of its checkpoints: it has done nothing, or all of it, or is closed.

`checkpoints` tells how. Each test runs for a client's end and a server's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from checkpoints import TIGHT, Attack, Stage, fill, stage, torture
from support import CLOSE, PING, PONG

from trio_websocket import ConnectionClosed

pytestmark = pytest.mark.usefixtures("transport")


async def two_nurseries_deep(call: Callable[[], Awaitable[Any]]) -> Any:
    """Make the call in a child of a child, as programs do."""
    async with trio.open_nursery(), trio.open_nursery():
        return await call()


# ---------------------------------------------------------------------------------------------------------- sending


def test_cancelled_send_has_sent_nothing_and_a_returned_one_everything(is_client: bool) -> None:
    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client) as it:
            it.tasks.start_soon(it.read)
            ending = await attack.run(lambda: it.ws.send_message("the message"))
            await it.exchange()
            assert it.payloads() == (["the message"] if ending.returned else [])

    torture(scenario)


def test_send_that_yields_after_the_commitment_is_not_cancelled_any_more(is_client: bool) -> None:
    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client) as it:
            it.tasks.start_soon(it.read)
            sent = []

            async def send_many() -> None:
                for number in range(100):
                    await it.ws.send_message(str(number))
                    sent.append(str(number))

            await attack.run(send_many)
            await it.exchange()
            assert it.payloads() == sent

    torture(scenario)


@pytest.mark.parametrize("depth", ["plainly", "two nurseries deep"])
def test_send_under_back_pressure_is_withdrawn_whole_and_keeps_the_order_of_the_others(
    is_client: bool, depth: str
) -> None:
    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client, pair=TIGHT, write_backlog=200) as it:
            sent = await fill(it.ws)
            async with trio.open_nursery() as senders:
                # One waits for room, one for its turn behind it, and one will come behind ours.
                for text in ("before 1", "before 2"):
                    senders.start_soon(it.ws.send_message, text)
                    await trio.testing.wait_all_tasks_blocked()
                senders.start_soon(_send_after_others, it, "behind")
                it.tasks.start_soon(_read_after_others, it)

                async def send() -> None:
                    await it.ws.send_message("the message " * 20)

                ending = await attack.run(send if depth == "plainly" else lambda: two_nurseries_deep(send))
            await it.exchange()
            expected = [] if ending.was_cancelled else ["the message " * 20]
            assert [text for text in it.payloads() if text != "behind"] == [
                *sent,
                "before 1",
                "before 2",
                *expected,
            ]
            assert it.payloads().count("behind") == 1

    torture(scenario)


async def _send_after_others(it: Stage, text: str) -> None:
    await trio.testing.wait_all_tasks_blocked(1e-9)
    await it.ws.send_message(text)


async def _read_after_others(it: Stage) -> None:
    await trio.testing.wait_all_tasks_blocked(2e-9)
    await it.read()


def _socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    ours, theirs = trio.socket.socketpair()
    return trio.SocketStream(ours), trio.SocketStream(theirs)


@pytest.mark.slow
def test_send_behind_a_message_that_the_socket_takes_in_parts_tears_nothing() -> None:
    large = "x" * 1_000_000

    async def send_both(it: Stage) -> None:
        await it.ws.send_message(large)
        await it.ws.send_message("the message")

    async def scenario(attack: Attack) -> None:
        # A server's frames only: it takes a raw peer long to unmask a client's.
        async with stage(is_client=False, pair=_socket_pair) as it:
            it.tasks.start_soon(it.read)
            ending = await attack.run(lambda: send_both(it))
            assert await it.exchange() == []
            assert it.payloads() in ([[], [large]] if ending.was_cancelled else [[large, "the message"]])

    torture(scenario)


def test_send_that_holds_the_first_place_passes_it_on_when_cancelled(is_client: bool) -> None:
    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client, pair=TIGHT, write_backlog=200) as it:
            sent = await fill(it.ws)
            async with trio.open_nursery() as senders:
                senders.start_soon(_send_after_others, it, "behind")
                it.tasks.start_soon(_read_after_others, it)
                ending = await attack.run(lambda: it.ws.send_message("the message"))
            await it.exchange()
            assert it.payloads() == [*sent, *(["the message"] if ending.returned else []), "behind"]

    torture(scenario)


@pytest.mark.parametrize("is_full", [False, True], ids=["idle", "under back-pressure"])
def test_cancelled_pong_was_not_sent(is_client: bool, is_full: bool) -> None:
    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client, pair=TIGHT, write_backlog=200) as it:
            sent = await fill(it.ws) if is_full else []
            it.tasks.start_soon(it.read)
            ending = await attack.run(lambda: it.ws.pong(b"the pong"))
            await it.exchange()
            assert it.payloads() == sent
            assert it.payloads(PONG) == (["the pong"] if ending.returned else [])

    torture(scenario)


@pytest.mark.parametrize("is_full", [False, True], ids=["idle", "under back-pressure"])
def test_cancelled_ping_leaves_nothing_behind(is_client: bool, is_full: bool) -> None:
    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client, pair=TIGHT, write_backlog=200) as it:
            sent = await fill(it.ws) if is_full else []
            it.tasks.start_soon(it.read)
            ending = await attack.run(lambda: it.ws.ping(b"the ping"))
            assert ending.was_cancelled or ending.value is not None
            # Its payload is free again, and a pong for it is no other ping's.
            assert await it.ws.ping(b"the ping") >= 0
            await it.exchange()
            assert it.payloads() == sent
            assert it.payloads(PING) in [["the ping"] * 2, ["the ping"] * (1 if ending.was_cancelled else 2)]

    torture(scenario)


def test_cancelled_ping_loses_no_message_that_stands_before_its_pong(is_client: bool) -> None:
    texts = [f"message {number}" for number in range(5)]

    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client, pair=TIGHT) as it:
            it.tasks.start_soon(it.send_texts, *texts)
            it.tasks.start_soon(it.read)
            await attack.run(it.ws.ping)
            assert await it.exchange() == texts

    torture(scenario)


# -------------------------------------------------------------------------------------------------------- receiving


@pytest.mark.parametrize("call_name", ["get_message", "__anext__"])
@pytest.mark.parametrize("when", ["idle", "with a full queue", "as they come"])
def test_cancelled_receive_loses_no_message(is_client: bool, call_name: str, when: str) -> None:
    texts = [f"message {number}" for number in range(4)]

    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client, pair=TIGHT) as it:
            it.tasks.start_soon(partial(it.send_texts, *texts, when_idle=when == "idle"))
            it.tasks.start_soon(it.read)
            if when == "with a full queue":
                await trio.testing.wait_all_tasks_blocked()
            ending = await attack.run(getattr(it.ws, call_name))
            received = [ending.value] if ending.returned else []
            assert [*received, *await it.exchange()] == texts

    torture(scenario)


def test_cancelled_receive_leaves_its_message_to_the_other_receivers(is_client: bool) -> None:
    async def receive(it: Stage, received: list[str | bytes]) -> None:
        received.append(await it.ws.get_message())

    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client) as it:
            it.tasks.start_soon(it.read)
            received: list[str | bytes] = []
            async with trio.open_nursery() as receivers:
                receivers.start_soon(receive, it, received)
                it.tasks.start_soon(partial(it.send_texts, "1", "2", "3", when_idle=True))
                ending = await attack.run(it.ws.get_message)
                receivers.start_soon(receive, it, received)
            got = [ending.value] if ending.value is not None else []
            assert sorted(map(str, [*received, *got, *await it.exchange()])) == ["1", "2", "3"]

    torture(scenario)


def test_receive_that_is_cancelled_while_the_peer_closes_leaves_what_was_queued(is_client: bool) -> None:
    async def speak(it: Stage) -> None:
        await trio.testing.wait_all_tasks_blocked()
        await it.send_texts("1", "2")
        await it.send(CLOSE, b"\x0f\xa0bye")

    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client, message_queue_size=10) as it:
            it.tasks.start_soon(speak, it)
            it.tasks.start_soon(partial(it.read, answers=False))
            ending = await attack.run(it.ws.get_message)
            received = [ending.value] if ending.returned else []
            with pytest.raises(ConnectionClosed, match="4000"):
                while True:
                    received.append(await it.ws.get_message())
            assert received == ["1", "2"]

    torture(scenario)


# ---------------------------------------------------------------------------------------------------------- closing


@pytest.mark.parametrize("peer_does", ["answer", "read only", "nothing"])
@pytest.mark.parametrize("before", ["idle", "under back-pressure", "with a full queue"])
def test_cancelled_close_is_a_close_at_once(is_client: bool, peer_does: str, before: str) -> None:
    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client, pair=TIGHT, write_backlog=200) as it:
            if before == "under back-pressure":
                await fill(it.ws)
            elif before == "with a full queue":
                it.tasks.start_soon(it.send_texts, "1", "2", "3")
                await trio.testing.wait_all_tasks_blocked()
            if peer_does != "nothing":
                it.tasks.start_soon(partial(it.read, answers=peer_does == "answer"))
            start = trio.current_time()
            ending = await attack.run(lambda: it.ws.aclose(4000, "enough"))
            assert ending.delay == 0
            if not ending.was_cancelled:
                # With a peer that does not answer it took all its time.
                assert trio.current_time() - start == (0 if peer_does == "answer" else 60)
            await it.assert_closed()

    torture(scenario)


def test_close_by_two_tasks_of_which_one_is_cancelled_lets_both_go(is_client: bool) -> None:
    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client) as it:
            async with trio.open_nursery() as closers:
                closers.start_soon(it.ws.aclose)
                ending = await attack.run(it.ws.aclose)
                assert ending.delay == 0
            await it.assert_closed()

    torture(scenario)


def test_cancelled_close_wakes_every_other_call(is_client: bool) -> None:
    async def closed_call(call: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(ConnectionClosed):
            await call()

    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client, pair=TIGHT, write_backlog=200) as it:
            await fill(it.ws)
            async with trio.open_nursery() as callers:
                for call in (it.ws.get_message, it.ws.ping, it.ws.pong, lambda: it.ws.send_message("late")):
                    callers.start_soon(closed_call, call)
                callers.start_soon(it.ws.wait_closed)
                callers.start_soon(it.ws.aclose)
                await trio.testing.wait_all_tasks_blocked()
                await attack.run(it.ws.aclose)
            await it.assert_closed()

    torture(scenario)


@pytest.mark.slow
@pytest.mark.parametrize("peer_closes", [False, True], ids=["idle", "while the peer closes"])
def test_cancelled_wait_for_the_end_changes_nothing(is_client: bool, peer_closes: bool) -> None:
    async def speak(it: Stage) -> None:
        await trio.testing.wait_all_tasks_blocked()
        await it.send(CLOSE, b"\x0f\xa0bye") if peer_closes else await it.send_texts("1")
        if not peer_closes:
            await it.ws.get_message()
            await it.exchange()
            await it.ws.aclose()

    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client) as it:
            async with trio.open_nursery() as speaker:
                it.tasks.start_soon(partial(it.read))
                speaker.start_soon(speak, it)
                ending = await attack.run(it.ws.wait_closed)
                assert ending.was_cancelled or ending.value == it.ws.closed
                assert ending.delay == 0
            assert (await it.ws.wait_closed()).code == (4000 if peer_closes else 1000)
            await it.assert_closed()

    torture(scenario)
