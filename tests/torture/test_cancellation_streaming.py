"""Cancelling what sends and receives in parts at each of its checkpoints: nothing is lost, and half a message ends the connection.

`checkpoints` tells how. Each test runs for a client's end and a server's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing
from checkpoints import TIGHT, Attack, Stage, stage, torture
from support import CLOSE, CONT, TEXT

from trio_websocket import CloseReason, ConnectionClosed, WebSocketStream

pytestmark = pytest.mark.usefixtures("transport")


async def read_frames(it: Stage) -> None:
    """Keep all frames, fragments among them."""
    try:
        while True:
            it.frames.append(await it.peer.read_frame())
    except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
        it.has_ended = True


async def send_parts(it: Stage, *payloads: bytes) -> None:
    """Send a text message in fragments, each when all tasks wait."""
    for number, payload in enumerate(payloads, 1):
        await trio.testing.wait_all_tasks_blocked()
        opcode = CONT if number > 1 else TEXT
        await it.peer.send_frame(opcode, payload, fin=number == len(payloads))


def test_a_message_that_is_cancelled_half_way_ends_the_connection_and_before_it_nothing(
    is_client: bool,
) -> None:
    async def parts() -> AsyncIterator[str]:
        for part in ("one", "two" * 100, "three"):
            await trio.lowlevel.checkpoint()
            yield part

    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client, pair=TIGHT, write_backlog=10) as it:
            it.tasks.start_soon(read_frames, it)
            ending = await attack.run(lambda: it.ws.send_fragments(parts()))
            await trio.testing.wait_all_tasks_blocked()
            payloads = [each.payload for each in it.frames if each.opcode != CLOSE]
            if ending.returned:
                assert payloads == [b"one", b"two" * 100, b"three", b""]
                assert it.frames[-1].fin
            elif payloads:
                assert not any(each.fin for each in it.frames if each.opcode != CLOSE)
                assert it.ws.closed == CloseReason(1011, "fragmented message broken off")
                return
            assert it.ws.closed is None
            assert it.ws._link.senders is None
            await it.ws.send_message("proof")

    torture(scenario)


@pytest.mark.slow
def test_a_cancelled_wait_for_a_message_in_parts_loses_no_message(is_client: bool) -> None:
    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client) as it:
            it.tasks.start_soon(send_parts, it, b"one", b"two", b"three")
            taken: list[str | bytes] = []

            async def receive() -> None:
                async with it.ws.receive_fragments() as received:
                    taken.append("")
                    with trio.CancelScope(shield=True):
                        taken.extend([part async for part in received])

            await attack.run(receive)
            if not taken:
                taken.append(await it.ws.get_message())
            assert "".join(map(str, taken)) == "onetwothree"

    torture(scenario)


def test_a_cancelled_wait_for_a_part_loses_no_part(is_client: bool) -> None:
    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client, message_queue_bytes=1) as it:
            it.tasks.start_soon(send_parts, it, b"one", b"two", b"three")
            taken: list[str | bytes] = []
            async with it.ws.receive_fragments() as received:

                async def receive() -> None:
                    async for part in received:
                        taken.append(part)  # noqa: PERF401 -- what was taken before a cancellation counts

                await attack.run(receive)
                taken.extend([part async for part in received])
            assert "".join(map(str, taken)) == "onetwothree"

    torture(scenario)


def test_whoever_is_cancelled_out_of_a_message_leaves_the_next_one_whole(is_client: bool) -> None:
    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client, message_queue_bytes=1) as it:

            async def receive() -> None:
                async with it.ws.receive_fragments() as received:
                    entered.append(True)
                    async for _ in received:
                        pass

            entered: list[bool] = []

            async def send() -> None:
                await send_parts(it, b"one", b"two", b"three")
                await send_parts(it, b"ne", b"xt")

            it.tasks.start_soon(send)
            await attack.run(receive)
            if not entered:
                assert await it.ws.get_message() == "onetwothree"
            assert await it.ws.get_message() == "next"

    torture(scenario)


@pytest.mark.slow
def test_a_cancelled_receive_of_a_stream_loses_no_byte(is_client: bool) -> None:
    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client) as it:

            async def send() -> None:
                for number, fin in enumerate((False, False, True)):
                    await trio.testing.wait_all_tasks_blocked()
                    await it.peer.send_frame(CONT if number else 2, b"%d" % number * 3, fin=fin)

            it.tasks.start_soon(send)
            stream = WebSocketStream(it.ws)
            taken: list[bytes] = []

            async def receive() -> None:
                while sum(map(len, taken)) < 9:
                    taken.append(await stream.receive_some(2))

            await attack.run(receive)
            await receive()
            assert b"".join(taken) == b"000111222"

    torture(scenario)


def test_the_end_of_the_connection_meets_a_cancelled_wait_for_a_part(is_client: bool) -> None:
    async def scenario(attack: Attack) -> None:
        async with stage(is_client=is_client) as it:
            await it.peer.send_frame(TEXT, b"one", fin=False)
            async with it.ws.receive_fragments() as received:
                assert await anext(received) == "one"
                it.tasks.start_soon(it.ws.aclose, 4000)
                it.tasks.start_soon(it.read)

                async def receive() -> None:
                    with pytest.raises(ConnectionClosed):
                        await anext(received)

                await attack.run(receive)
                await receive()

    torture(scenario)
