"""A link whose peer has sent a flood of tiny frames, with a transport that a test plays."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from fakes import FakeTransport, from_client, make_link
from support import CLOSE, CONT, PING, PONG, TEXT, frame

from trio_websocket import CloseReason
from trio_websocket._connection._link import PULL_BUDGET, Link
from trio_websocket._options import ConnectionOptions
from trio_websocket.protocol import Event, NeedData, Role, Session


async def settle_reading(transport: FakeTransport) -> int:
    """Let others run until the transport reads again, or is closed; how often they ran."""
    turns = 0
    while not transport.is_reading() and not transport.is_closing():
        turns += 1
        await trio.lowlevel.checkpoint()
    return turns


async def test_flood_of_tiny_frames_takes_turns_with_other_tasks() -> None:
    link, transport = make_link(write_backlog=2**30)
    link.data_received((4 * PULL_BUDGET + 1) * from_client(PING))
    assert transport.take_written() == PULL_BUDGET * frame(PONG)
    # More would only pile up in memory.
    assert not transport.is_reading()
    # The last part may come in the same round as our own look.
    assert await settle_reading(transport) >= 3
    assert transport.take_written() == (3 * PULL_BUDGET + 1) * frame(PONG)


async def test_flood_of_tiny_fragments_takes_turns_with_other_tasks() -> None:
    link, transport = make_link()
    link.session = Session(Role.SERVER, fragments_at_once=PULL_BUDGET)
    fragments = from_client(TEXT, fin=False) + (4 * PULL_BUDGET - 1) * from_client(CONT, fin=False)
    link.data_received(fragments + from_client(CONT, b"end"))
    assert not transport.is_reading()
    assert await settle_reading(transport) >= 3
    assert link.inbox.messages.take() == "end"


async def test_flood_that_a_receiver_pulls_as_well_goes_on_once() -> None:
    link, transport = make_link(write_backlog=2**30, message_queue_size=0)
    link.data_received(2 * PULL_BUDGET * from_client(PING))
    link.pull()
    assert transport.take_written() == 2 * PULL_BUDGET * frame(PONG)
    # What was due finds nothing left, and reading goes on.
    assert await settle_reading(transport) >= 1
    link.data_received(from_client(TEXT, b"x") + PULL_BUDGET * from_client(PING))
    assert not transport.is_reading()
    await trio.testing.wait_all_tasks_blocked()
    # A full inbox is nothing to go on with by itself.
    assert transport.take_written() == b""
    link.inbox.messages.take()
    link.pull()
    assert len(transport.take_written()) == len(PULL_BUDGET * frame(PONG))
    assert await settle_reading(transport) >= 1


async def test_end_of_file_behind_a_flood_is_seen_in_its_turn() -> None:
    link, transport = make_link(write_backlog=2**30)
    flood = 2 * PULL_BUDGET * from_client(PING)
    link.data_received(flood + 3 * from_client(TEXT, b"x") + from_client(CLOSE, b"\x03\xe8bye"))
    link.eof_received()
    assert link.session.close_received is None
    assert await settle_reading(transport) >= 1
    assert len(link.inbox.messages) == 3
    assert link.session.close_received == CloseReason(1000, "bye")


async def test_closing_in_the_middle_of_a_flood_ends_in_its_turn() -> None:
    link, transport = make_link(write_backlog=2**30)
    link.data_received(3 * PULL_BUDGET * from_client(PING) + from_client(CLOSE, b"\x03\xe8"))
    link.start_closing(4000, None)
    assert not transport.is_closing()
    await settle_reading(transport)
    assert transport.is_closing()


def test_connection_that_is_lost_in_the_middle_of_a_flood_brings_in_all_of_it_at_once() -> None:
    link, _ = make_link()
    link.data_received(PULL_BUDGET // 2 * from_client(PING))
    link.session.receive_data(4 * PULL_BUDGET * from_client(TEXT, b"x") + from_client(CLOSE, b"\x03\xe9"))
    # There may be no run any more that could go on later.
    link.connection_lost(None)
    assert link.lost.is_set()
    assert len(link.inbox.messages) == 4 * PULL_BUDGET
    assert link.make_closed().reason == CloseReason(1001, None)


async def test_bug_that_shows_in_a_later_turn_ends_this_connection_and_no_more(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bug = KeyError("bug")

    class Buggy(Session):
        turns = 0

        def next_event(self) -> Event | NeedData:
            self.turns += 1
            if self.turns == PULL_BUDGET + 1:
                raise bug
            return super().next_event()

    transport = FakeTransport()
    link = Link(transport, Buggy(Role.SERVER), ConnectionOptions())
    transport.set_owner(link)
    link.data_received(2 * PULL_BUDGET * from_client(PING))
    await link.lost.wait()
    assert transport.is_aborted
    assert link.make_closed().__cause__ is bug
    assert [record.exc_info and record.exc_info[1] for record in caplog.records] == [bug]


async def test_what_was_due_when_the_connection_was_lost_changes_nothing() -> None:
    link, transport = make_link(write_backlog=2**30)
    link.data_received(3 * PULL_BUDGET * from_client(PING))
    link.connection_lost(None)
    transport.take_written()
    await trio.testing.wait_all_tasks_blocked()
    assert transport.take_written() == b""
    assert link.make_closed().reason == CloseReason(1006, None)
