"""What ties a session to its transport, with a transport that a test plays."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import trio
import trio.testing
from fakes import FakeTransport, from_client, make_link
from support import BINARY, CLOSE, CONT, MASK, PING, PONG, TEXT, frame

from trio_websocket import CloseReason, ConnectionClosed
from trio_websocket._connection._link import LINGER, Link
from trio_websocket._connection._senders import send_message_in_turn
from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket._options import ConnectionOptions
from trio_websocket.protocol import PerMessageDeflate, Role, Session, SessionState


def test_links_have_names_of_their_own() -> None:
    names = [str(make_link(role)[0]) for role in (Role.CLIENT, Role.SERVER, Role.CLIENT)]
    assert [name.split("-")[0] for name in names] == ["client", "server", "client"]
    numbers = [int(name.split("-")[1]) for name in names]
    assert numbers == list(range(numbers[0], numbers[0] + 3))


def test_pong_that_was_held_goes_out_behind_a_send_that_leaves_room() -> None:
    link, transport = make_link(write_backlog=10)
    link.send_message(b"more than there is room for")
    link.data_received(from_client(PING, b"p"))
    transport.take_written()
    # The transport has sent all of it meanwhile, the next one included, and has had no reason to tell.
    transport.in_flight = -100
    link.send_message(b"next")
    assert transport.take_written() == frame(BINARY, b"next") + frame(PONG, b"p")


# ---------------------------------------------------------------------------------------------------------- reading


def test_reading_pauses_while_the_inbox_is_full() -> None:
    link, transport = make_link(message_queue_size=1)
    link.data_received(from_client(TEXT, b"1"))
    assert transport.is_reading()
    link.data_received(from_client(TEXT, b"2") + from_client(TEXT, b"3"))
    assert not transport.is_reading()
    assert len(link.inbox.messages) == 2
    link.inbox.messages.take()
    link.pull()
    # The third was there already, and fills it again.
    assert not transport.is_reading()
    assert [link.inbox.messages.take(), link.inbox.messages.take()] == ["2", "3"]
    link.pull()
    assert transport.is_reading()


def test_one_message_taken_lets_one_in_and_what_stands_between_them() -> None:
    link, transport = make_link(message_queue_size=0)
    link.data_received(b"".join(from_client(TEXT, text) for text in (b"1", b"2")) + from_client(PING, b"p"))
    link.data_received(from_client(TEXT, b"3"))
    assert link.take() == "1"
    # The ping is behind the second message.
    assert transport.take_written() == b""
    assert link.take() == "2"
    assert transport.take_written() == frame(PONG, b"p")
    assert not transport.is_reading()
    assert link.take() == "3"
    assert transport.is_reading()


async def test_what_is_unread_when_the_connection_is_lost_is_bounded_as_it_is_decompressed() -> None:
    options = ConnectionOptions(message_queue_bytes=2**20, compression=True)
    sender = Session(Role.CLIENT, compression=PerMessageDeflate())
    for _ in range(30):
        sender.send_message(bytes(2**20))
    session = Session(Role.SERVER, compression=PerMessageDeflate())
    link = Link(FakeTransport(), session, options)
    link.data_received(sender.data_to_send())
    assert len(link.inbox.messages) == 1
    link.connection_lost(None)
    assert link.lost.is_set()
    assert session.close_reason == CloseReason(1009, "unread messages exceed message_queue_bytes")
    # What was there is delivered all the same.
    assert [link.inbox.messages.take() for _ in range(len(link.inbox.messages))] == [bytes(2**20)]


async def test_all_that_is_unread_when_the_connection_is_lost_is_kept_within_the_bound() -> None:
    sender = Session(Role.CLIENT, compression=PerMessageDeflate())
    for number in range(30):
        sender.send_message(f"{number}" * 1000)
    options = ConnectionOptions(compression=True)
    link = Link(FakeTransport(), Session(Role.SERVER, compression=PerMessageDeflate()), options)
    link.data_received(sender.data_to_send())
    link.connection_lost(None)
    assert link.session.close_reason == CloseReason(1006, None)
    assert [link.inbox.messages.take() for _ in range(len(link.inbox.messages))] == [
        f"{number}" * 1000 for number in range(30)
    ]


def test_large_message_taken_lets_several_small_ones_in() -> None:
    link, transport = make_link(message_queue_size=100, message_queue_bytes=5000)
    link.data_received(from_client(BINARY, bytes(6000)) + 3 * from_client(TEXT, b"x"))
    assert len(link.inbox.messages) == 1
    assert not transport.is_reading()
    link.take()
    assert len(link.inbox.messages) == 3
    assert transport.is_reading()


def test_inbox_is_bounded_in_bytes() -> None:
    link, transport = make_link(message_queue_size=100, message_queue_bytes=5000)
    link.data_received(4 * from_client(BINARY, bytes(2000)))
    assert not transport.is_reading()
    assert len(link.inbox.messages) == 3


def test_control_frames_behind_a_full_inbox_wait() -> None:
    link, transport = make_link(message_queue_size=0)
    link.data_received(from_client(TEXT, b"1") + from_client(PING, b"late"))
    assert transport.take_written() == b""
    link.inbox.messages.take()
    link.pull()
    assert transport.take_written() == frame(PONG, b"late")


async def test_inbox_is_filled_further_while_a_ping_waits() -> None:
    link, transport = make_link(message_queue_bytes=5000)
    link.data_received(3 * from_client(TEXT, b"x"))
    assert len(link.inbox.messages) == 2
    link.pings.add(b"p")
    link.pull()
    assert len(link.inbox.messages) == 3
    assert transport.is_reading()
    link.data_received(4 * from_client(BINARY, bytes(2000)) + from_client(PONG, b"p"))
    assert not transport.is_reading()
    assert b"p" in link.pings
    while len(link.inbox.messages):
        link.inbox.messages.take()
        link.pull()
    assert b"p" not in link.pings
    assert link.latency is not None


async def test_pong_that_nobody_asked_for_leaves_the_latency() -> None:
    link, _ = make_link()
    link.data_received(from_client(PONG, b"x"))
    before = link.latency
    assert before is None
    link.pings.add(b"p")
    link.data_received(from_client(PONG, b"p"))
    latency = link.latency
    assert latency is not None
    link.data_received(from_client(PONG, b"x"))
    assert link.latency == latency


def test_end_of_file_brings_in_what_came_before_it_even_if_the_inbox_is_full() -> None:
    link, transport = make_link()
    link.data_received(3 * from_client(TEXT, b"x") + from_client(CLOSE, b"\x03\xe8bye"))
    assert len(link.inbox.messages) == 2
    link.eof_received()
    assert len(link.inbox.messages) == 3
    assert link.session.close_received == CloseReason(1000, "bye")
    assert transport.is_closing()


# ------------------------------------------------------------------------------------------------- in large or in person


def fill_from(data: bytearray) -> Callable[[memoryview], int]:
    """Give what `recv_into` would, from `data`."""

    def receive(room: memoryview) -> int:
        size = min(len(room), len(data))
        room[:size] = data[:size]
        del data[:size]
        return size

    return receive


@pytest.mark.parametrize("is_claimed", [False, True])
def test_rest_of_a_large_message_is_filled_in(is_claimed: bool) -> None:
    link, transport = make_link()
    payload = bytes(range(256)) * 1024
    data = bytearray(from_client(BINARY, payload))
    if is_claimed:
        link.inbox.claim()
    link.data_received(bytes(data[:70_000]))
    del data[:70_000]
    while link.is_filling:
        assert link.fill(fill_from(data)) > 0
    assert not data
    assert transport.is_reading()
    assert (link.inbox.take_claimed() if is_claimed else link.inbox.messages.take()) == payload


def test_end_in_the_middle_of_a_large_message_is_told_by_the_transport() -> None:
    link, _ = make_link()
    link.data_received(from_client(BINARY, bytes(200_000))[:70_000])
    assert link.is_filling
    assert link.fill(fill_from(bytearray())) == 0
    assert link.is_open
    link.eof_received()
    assert not link.is_open


class InPerson(FakeTransport):
    """A transport whose socket a task may wait for as long as there is a script: what each wait brings."""

    def __init__(self, *script: bytes | None) -> None:
        super().__init__()
        self.script = list(script)

    def can_read_in_person(self) -> bool:
        return bool(self.script)

    async def read_in_person(self) -> None:
        data = self.script.pop(0)
        if data is None:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        assert self.owner is not None
        self.owner.data_received(data or b"")


def make_link_in_person(*script: bytes | None) -> Link:
    transport = InPerson(*script)
    link = Link(transport, Session(Role.SERVER), ConnectionOptions())
    transport.set_owner(link)
    return link


async def test_receiver_in_person_reads_until_its_message_has_come() -> None:
    link = make_link_in_person(from_client(PING), from_client(TEXT, b"1") + from_client(TEXT, b"2"))
    assert await link.receive_in_person() == "1"
    assert link.take() == "2"


async def test_receiver_in_person_hears_of_the_end() -> None:
    link = make_link_in_person(from_client(CLOSE, b"\x03\xe9"), None)
    with pytest.raises(ConnectionClosed, match="1001"):
        await link.receive_in_person()


async def test_receiver_that_may_not_wait_in_person_any_more_keeps_its_place() -> None:
    link = make_link_in_person(from_client(PING))
    got: list[tuple[str, str | bytes]] = []

    async def first() -> None:
        got.append(("first", await link.receive_in_person()))

    async def second() -> None:
        got.append(("second", await link.inbox.wait()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        nursery.start_soon(second)
        await trio.testing.wait_all_tasks_blocked()
        link.data_received(from_client(TEXT, b"1") + from_client(TEXT, b"2"))
    assert sorted(got) == [("first", "1"), ("second", "2")]


async def test_receiver_in_person_that_is_cancelled_claims_nothing() -> None:
    link = make_link_in_person(None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.receive_in_person)
        await trio.testing.wait_all_tasks_blocked()
        # It came by another way, such as a write that failed.
        link.data_received(from_client(TEXT, b"x"))
        nursery.cancel_scope.cancel()
    assert link.take() == "x"


async def test_transport_that_cannot_be_waited_for_in_person_says_so() -> None:
    transport = FakeTransport()
    assert not transport.can_read_in_person()
    with pytest.raises(NotImplementedError):
        await transport.read_in_person()


# ---------------------------------------------------------------------------------------------------------- writing


async def test_senders_that_wait_are_served_in_order_and_leave_no_queue() -> None:
    link, transport = make_link(write_backlog=10)
    transport.in_flight = 30
    async with trio.open_nursery() as nursery:
        for message in ("1", "2"):
            nursery.start_soon(send_message_in_turn, link, message, None)
            await trio.testing.wait_all_tasks_blocked()
        assert link.senders is not None
        transport.in_flight = 0
        transport.wake_waiters()
    assert transport.take_written() == frame(TEXT, b"1") + frame(TEXT, b"2")
    assert link.senders is None


async def test_message_that_fills_the_backlog_holds_the_pongs() -> None:
    link, transport = make_link(write_backlog=10)
    link.send_message(bytes(20))
    transport.take_written()
    link.data_received(from_client(PING, b"hi"))
    assert transport.take_written() == b""
    transport.in_flight = 0
    link.backlog_drained()
    assert transport.take_written() == frame(PONG, b"hi")


def test_message_behind_what_is_to_be_sent_already_goes_out_behind_it() -> None:
    link, transport = make_link()
    link.session.send_ping(b"first")
    link.send_message("second")
    assert transport.take_written() == frame(PING, b"first") + frame(TEXT, b"second")


def test_ping_is_answered_in_the_same_step() -> None:
    _, transport = make_link()
    assert transport.owner is not None
    transport.owner.data_received(from_client(PING, b"hi"))
    assert transport.take_written() == frame(PONG, b"hi")


def test_peer_that_pings_and_does_not_read_gets_the_latest_answer() -> None:
    link, transport = make_link(write_backlog=100)
    transport.in_flight = 100
    link.data_received(from_client(PING, b"the last that finds room"))
    assert transport.take_written() == frame(PONG, b"the last that finds room")
    for number in range(1000):
        link.data_received(from_client(PING, b"%d" % number))
    assert transport.take_written() == b""
    transport.in_flight = 0
    link.backlog_drained()
    assert transport.take_written() == frame(PONG, b"999")


def test_held_pong_goes_out_as_soon_as_there_is_room_also_if_the_backlog_never_drains() -> None:
    link, transport = make_link(write_backlog=100)
    link.session.send_message(bytes(200))
    link.flush()
    link.data_received(from_client(PING, b"hi"))
    transport.take_written()
    # A sender that had to wait comes as soon as there is room, and so before the backlog is empty.
    transport.in_flight = 100
    link.session.send_message(b"next")
    link.flush()
    assert transport.take_written() == frame(BINARY, b"next") + frame(PONG, b"hi")


async def test_waiting_for_room_looks_again_when_woken_too_early() -> None:
    link, transport = make_link(write_backlog=10)
    transport.in_flight = 30
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.wait_room_to_send)
        await trio.testing.wait_all_tasks_blocked()
        transport.in_flight = 20
        transport.wake_waiters()
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        transport.in_flight = 10
        transport.wake_waiters()


async def test_waiting_for_room_ends_when_the_connection_closes() -> None:
    link, transport = make_link(write_backlog=10)
    transport.in_flight = 30

    async def wait() -> None:
        with pytest.raises(ConnectionClosed) as caught:
            await link.wait_room_to_send()
        assert caught.value.reason == CloseReason(1000, None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked()
        link.start_closing(1000, None)


# ---------------------------------------------------------------------------------------------------------- closing


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
def test_peers_close_is_answered_and_the_transport_closed(role: Role) -> None:
    link, transport = make_link(role, disconnect_timeout=7)
    mask, our_mask = (None, MASK) if role is Role.CLIENT else (MASK, None)
    link.data_received(frame(CLOSE, b"\x0f\xa1", mask=mask))
    assert transport.take_written() == frame(CLOSE, b"\x0f\xa1", mask=our_mask)
    # The server ends first (RFC 6455 §7.1.1), and has nothing to wait for.
    is_server = role is Role.SERVER
    assert transport.closing == {
        "timeout": 7,
        "linger": 0.0 if is_server else LINGER,
        "shutdown": is_server,
    }
    assert link.make_closed().initiator == "remote"


def test_closing_waits_for_the_peers_close_frame() -> None:
    link, transport = make_link()
    link.start_closing(4000, "enough")
    assert transport.take_written() == frame(CLOSE, b"\x0f\xa0enough")
    assert not transport.is_closing()
    assert not link.is_open
    link.data_received(from_client(CLOSE, b"\x0f\xa0"))
    assert transport.is_closing()
    error = link.make_closed()
    assert (error.sent, error.received) == (CloseReason(4000, "enough"), CloseReason(4000, None))
    assert error.initiator == "local"
    assert error.__cause__ is None


def test_closing_reads_on_over_what_nobody_received() -> None:
    link, transport = make_link()
    link.data_received(3 * from_client(TEXT, b"x"))
    assert not transport.is_reading()
    link.start_closing(1000, None)
    assert transport.is_reading()
    assert len(link.inbox.messages) == 0
    link.data_received(from_client(TEXT, b"more") + from_client(PING) + from_client(CLOSE, b"\x03\xe8"))
    assert len(link.inbox.messages) == 0
    assert link.session.state is SessionState.CLOSED
    assert transport.take_written() == frame(CLOSE, b"\x03\xe8")


def test_both_ends_that_close_at_once_are_closed() -> None:
    link, _ = make_link()
    link.data_received(2 * from_client(TEXT, b"x") + from_client(CLOSE, b"\x03\xe9"))
    link.start_closing(1000, None)
    assert link.session.state is SessionState.CLOSED
    assert link.session.close_received == CloseReason(1001, None)


@pytest.mark.parametrize("code", [0, 999, 1004, 1006, 1015, 1016, 2999, 5000])
def test_close_code_that_must_not_be_sent_is_refused_and_changes_nothing(code: int) -> None:
    link, transport = make_link()
    with pytest.raises(ValueError, match=str(code)):
        link.start_closing(code, None)
    assert link.is_open
    assert transport.written == b""


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"unmasked"), 1002),
        (from_client(CONT, b"x"), 1002),
        (from_client(TEXT, b"\xff"), 1007),
        (from_client(BINARY, bytes(101)), 1009),
    ],
)
def test_peer_that_breaks_a_rule_is_told_so_and_left(data: bytes, code: int) -> None:
    transport = FakeTransport()
    options = ConnectionOptions(message_queue_size=0)
    link = Link(transport, Session(Role.SERVER, max_message_size=100), options)
    link.data_received(from_client(TEXT, b"fine") + data)
    # It lies behind a message that nobody has received yet.
    assert not transport.is_closing()
    assert link.inbox.messages.take() == "fine"
    link.pull()
    sent = transport.take_written()
    assert (sent[0], int.from_bytes(sent[2:4], "big")) == (0x80 | CLOSE, code)
    # It may still be sending: to close at once would be a reset, which could take our words away.
    assert transport.closing == {"timeout": 60, "linger": LINGER, "shutdown": True}
    error = link.make_closed()
    assert error.reason is not None
    assert error.reason.code == code
    assert isinstance(error.__cause__, RemoteProtocolError)
    link.data_received(data)
    link.pull()
    assert transport.take_written() == b""


async def test_everyone_who_waits_is_told_that_the_connection_closed() -> None:
    link, _ = make_link()
    errors: list[ConnectionClosed] = []

    async def receive() -> None:
        with pytest.raises(ConnectionClosed) as caught:
            await link.inbox.wait()
        errors.append(caught.value)

    ping = link.pings.add(b"p")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        link.data_received(from_client(CLOSE, b"\x03\xe9"))
    await ping.wait()
    assert ping.latency is None
    assert [error.reason for error in errors] == [CloseReason(1001, None)] * 2
    assert errors[0] is not errors[1]


def lose(link: Link, error: Exception | None) -> None:
    link.connection_lost(error)


def end_and_lose(link: Link, error: Exception | None) -> None:
    link.eof_received()
    link.connection_lost(None)


@pytest.mark.parametrize("end", [lose, end_and_lose])
def test_connection_that_is_lost_is_closed_with_1006_and_a_cause(
    end: Callable[[Link, Exception | None], None],
) -> None:
    link, _ = make_link()
    network = trio.BrokenResourceError("reset")
    end(link, network)
    assert link.lost.is_set()
    error = link.make_closed()
    assert error.reason == CloseReason(1006, None)
    assert (error.sent, error.received, error.initiator) == (None, None, None)
    if end is lose:
        assert error.__cause__ is network
    else:
        assert isinstance(error.__cause__, RemoteProtocolError)


def test_connection_that_is_lost_after_a_clean_close_has_no_cause() -> None:
    link, _ = make_link()
    link.data_received(from_client(CLOSE, b"\x03\xe8"))
    link.connection_lost(trio.BrokenResourceError("reset"))
    assert link.make_closed().__cause__ is None
    assert link.make_closed().reason == CloseReason(1000, None)


def test_connection_that_is_lost_while_we_close_says_so() -> None:
    link, _ = make_link()
    network = trio.BrokenResourceError("reset")
    link.start_closing(1000, "bye")
    link.connection_lost(network)
    error = link.make_closed()
    assert error.__cause__ is network
    assert error.reason == error.sent == CloseReason(1000, "bye")


@pytest.mark.parametrize("is_closed", [False, True])
async def test_aborting_has_the_cause_that_was_given_unless_all_was_over(is_closed: bool) -> None:
    link, transport = make_link()
    if is_closed:
        link.data_received(from_client(CLOSE, b"\x03\xe8"))
    cause = trio.TooSlowError("waited long enough")
    await link.abort(cause)
    assert transport.is_aborted
    assert link.make_closed().__cause__ is (None if is_closed else cause)


def test_log_tells_names_and_codes_and_escapes_what_the_peer_says(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trio-websocket")
    link, _ = make_link()
    link.data_received(
        from_client(TEXT, b"secret") + from_client(CLOSE, b"\x03\xe8" + "\n\x1b[31mü".encode())
    )
    link.inbox.messages.take()
    link.pull()
    [record] = caplog.records
    assert record.name == "trio-websocket"
    assert record.levelno == logging.INFO
    text = record.getMessage()
    assert text.startswith(f"{link}: closed, ")
    assert "1000" in text
    assert text.isascii()
    assert text.isprintable()
    assert "secret" not in caplog.text
