"""One session: what it reads, what it writes, how it closes, how it dies."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from core_support import (
    SENDS,
    close_frame,
    cut,
    dies,
    from_peer,
    pull,
    pull_error,
    receive,
    sent_by,
    split_frames,
    typed,
)
from support import BINARY, CLOSE, CONT, PING, PONG, TEXT, Frame

from trio_websocket._kernel import Intake, MessageQueue, Outlet, Turns
from trio_websocket.protocol import (
    NEED_DATA,
    BinaryReceived,
    CloseReason,
    CloseReceived,
    LocalProtocolError,
    Message,
    PartReceived,
    PerMessageDeflate,
    PingReceived,
    PongReceived,
    RemoteProtocolError,
    Role,
    Session,
    SessionState,
    TextReceived,
)

CLIENT, SERVER = Role.CLIENT, Role.SERVER
OPEN, CLOSING, CLOSED = SessionState.OPEN, SessionState.CLOSING, SessionState.CLOSED


# ----------------------------------------------------------------------------------------------------------- messages


def test_a_new_session_is_open_and_has_nothing_to_tell(session: Session, role: Role) -> None:
    assert session.role is role
    assert session.state is OPEN
    assert session.next_event() is NEED_DATA
    assert session.data_to_send() == b""
    assert session.unread == 0
    assert (session.close_sent, session.close_received, session.close_reason) == (None, None, None)
    assert (session.initiator, session.error) == (None, None)
    assert repr(session) == f"<Session {role.value} open>"


def test_messages_come_in_order(session: Session) -> None:
    receive(session, (TEXT, b"one"), (BINARY, b"\xff"), (TEXT, b""), (BINARY, b""))
    wanted = typed(TextReceived("one"), BinaryReceived(b"\xff"), TextReceived(""), BinaryReceived(b""))
    assert pull(session) == wanted
    assert session.data_to_send() == b""


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_message_may_have_any_length(role: Role, size: int) -> None:
    session, peer = Session(role), Session(CLIENT if role is SERVER else SERVER)
    payload = bytes(range(256)) * (size // 256 + 1)
    peer.send_message(payload[:size])
    session.receive_data(peer.data_to_send())
    assert pull(session) == typed(BinaryReceived(payload[:size]))


def test_control_frames_may_come_between_fragments(session: Session) -> None:
    receive(session, (TEXT, b"He", False), (PING, b"1"), (CONT, b"ll", False), (PONG, b"2"), (CONT, b"o"))
    assert pull(session) == typed(PingReceived(b"1"), PongReceived(b"2"), TextReceived("Hello"))
    assert sent_by(session) == [Frame(True, PONG, b"1")]


def test_a_fragmented_message_comes_only_when_it_is_whole(session: Session) -> None:
    receive(session, (BINARY, b"a", False), (CONT, b"b", False))
    assert pull(session) == []
    receive(session, (CONT, b"c"))
    assert pull(session) == typed(BinaryReceived(b"abc"))


@pytest.mark.slow
def test_a_large_message_may_come_byte_by_byte(session: Session) -> None:
    payload = "é😀".encode() * 11000
    events = []
    for byte in cut(from_peer(session.role, TEXT, payload), [1]):
        session.receive_data(byte)
        events += pull(session)
        assert session.unread <= 14
    assert events == typed(TextReceived(payload.decode()))


def test_data_received_may_be_any_buffer_and_is_copied(session: Session) -> None:
    data = bytearray(from_peer(session.role, TEXT, b"one"))
    session.receive_data(memoryview(data))
    data[:] = bytes(len(data))
    assert pull(session) == typed(TextReceived("one"))


def test_unread_data_is_bounded(session: Session) -> None:
    data = from_peer(session.role, BINARY, bytes(1000))
    data *= 2**20 // len(data)
    session.receive_data(data)
    session.receive_data(data[: 2**20 - session.unread])
    assert session.unread == 2**20
    session.receive_data(data[:1])
    with pytest.raises(
        LocalProtocolError, match=r"1048577 bytes were received and not pulled by next_event\(\)"
    ):
        session.receive_data(b"")
    assert session.state is OPEN
    assert session.next_event() is not NEED_DATA
    session.receive_data(b"")


def test_many_small_frames_in_one_piece_are_pulled_one_by_one(session: Session) -> None:
    count = 5000
    session.receive_data(from_peer(session.role, TEXT, b"x") * count)
    before = session.unread
    for i in range(1, count + 1):
        assert session.next_event() == TextReceived("x")
        assert session.unread == before - before // count * i
    assert session.next_event() is NEED_DATA


# ----------------------------------------------------------------------------------------------------------- mistakes


def test_what_came_before_a_mistake_is_given_first(session: Session, role: Role) -> None:
    receive(session, (TEXT, b"one"), (PING, b"two"))
    session.receive_data(b"\xff" * 20)
    events, error = pull_error(session)
    assert events == typed(TextReceived("one"), PingReceived(b"two"))
    assert error is not None
    assert sent_by(session) == [Frame(True, PONG, b"two"), close_frame(1002, str(error).encode())]


def test_a_mistake_after_our_close_frame_gets_no_second_one(session: Session) -> None:
    session.send_close(1001, "away")
    session.data_to_send()
    receive(session, (CONT, b""))
    dies(session, 1002, "continuation frame")
    assert session.data_to_send() == b""
    assert session.close_sent == CloseReason(1001, "away")
    assert session.initiator == "local"
    # The mistake is what the session ended with, though no close frame says so.
    assert session.close_reason == CloseReason(1002, str(session.error))


@pytest.mark.parametrize("is_closing", [False, True], ids=["open", "closing"])
def test_a_long_mistake_is_cut_in_the_reason_as_in_the_close_frame(
    monkeypatch: pytest.MonkeyPatch, session: Session, is_closing: bool
) -> None:
    text = "é" * 100

    def check_header(header: object, **rules: bool) -> None:
        raise RemoteProtocolError(text, code=1009)

    monkeypatch.setattr("trio_websocket.protocol._reader.check_header", check_header)
    if is_closing:
        session.send_close(1001, "away")
        session.data_to_send()
    receive(session, (TEXT, b""))
    dies(session, 1009, f"^{text}$")
    assert session.close_reason == CloseReason(1009, "é" * 61)
    assert sent_by(session) == ([] if is_closing else [close_frame(1009, "é".encode() * 61)])


def test_a_mistake_in_the_middle_of_our_own_message_is_answered_all_the_same(session: Session) -> None:
    session.send_fragment("begun", is_final=False)
    receive(session, (CONT, b""))
    error = dies(session, 1002, "continuation frame")
    assert sent_by(session) == [Frame(False, TEXT, b"begun"), close_frame(1002, str(error).encode())]


# ----------------------------------------------------------------------------------------------------- pings and pongs


@pytest.mark.parametrize("payload", [b"", b"x", bytes(range(125))])
def test_a_ping_is_answered_with_its_payload(session: Session, payload: bytes) -> None:
    receive(session, (PING, payload))
    assert session.next_event() == PingReceived(payload)
    assert sent_by(session) == [Frame(True, PONG, payload)]
    assert session.data_to_send() == b""


def test_pings_are_answered_in_their_order_behind_what_was_queued(session: Session) -> None:
    session.send_message("first")
    receive(session, (PING, b"1"), (PING, b"2"))
    assert pull(session) == typed(PingReceived(b"1"), PingReceived(b"2"))
    assert sent_by(session) == [Frame(True, TEXT, b"first"), Frame(True, PONG, b"1"), Frame(True, PONG, b"2")]


def test_a_ping_waits_until_its_payload_is_whole(session: Session, role: Role) -> None:
    wire = from_peer(role, PING, b"payload")
    session.receive_data(wire[:-1])
    assert pull(session) == []
    session.receive_data(wire[-1:])
    assert pull(session) == typed(PingReceived(b"payload"))


def test_a_pong_is_told_and_not_answered(session: Session) -> None:
    receive(session, (PONG, b"unasked"))
    assert pull(session) == typed(PongReceived(b"unasked"))
    assert session.data_to_send() == b""


def test_held_pongs_leave_only_the_latest(session: Session) -> None:
    session.hold_pongs(True)
    receive(session, (PING, b"1"), (PING, b"2"), (PING, b"3"))
    assert pull(session) == typed(PingReceived(b"1"), PingReceived(b"2"), PingReceived(b"3"))
    assert session.data_to_send() == b""
    session.hold_pongs(False)
    assert sent_by(session) == [Frame(True, PONG, b"3")]
    receive(session, (PING, b"4"))
    assert pull(session) == typed(PingReceived(b"4"))
    assert sent_by(session) == [Frame(True, PONG, b"4")]


def test_a_held_pong_is_queued_when_it_is_let_go(session: Session) -> None:
    session.hold_pongs(True)
    receive(session, (PING, b"1"))
    pull(session)
    session.send_message("before")
    session.hold_pongs(False)
    session.send_close()
    assert sent_by(session) == [Frame(True, TEXT, b"before"), Frame(True, PONG, b"1"), close_frame(1000)]


def test_letting_go_of_no_pong_sends_none(session: Session) -> None:
    session.hold_pongs(True)
    session.hold_pongs(False)
    assert session.data_to_send() == b""


@pytest.mark.parametrize("close", [True, False], ids=["our close", "the peer's close"])
def test_a_held_pong_is_not_sent_behind_our_close_frame(session: Session, close: bool) -> None:
    session.hold_pongs(True)
    receive(session, (PING, b"1"))
    assert pull(session) == typed(PingReceived(b"1"))
    if close:
        session.send_close()
    else:
        receive(session, (CLOSE, b"\x03\xe8"))
        pull(session)
    session.hold_pongs(False)
    assert sent_by(session) == [close_frame(1000)]


def test_a_flood_of_pings_that_nobody_takes_is_answered_in_bounds(session: Session) -> None:
    payloads = [b"%0125d" % i for i in range(4000)]
    for payload in payloads:
        receive(session, (PING, payload))
        assert pull(session) == typed(PingReceived(payload))
    data = session.data_to_send()
    assert len(data) < 2**16 + 2 * 131
    pongs = [sent.payload for sent in split_frames(data, is_masked=session.role is CLIENT)]
    # In their order, the latest never left out.
    assert pongs == [*payloads[: len(pongs) - 1], payloads[-1]]
    # Now that they were taken, each is answered again.
    receive(session, (PING, b"1"), (PING, b"2"))
    pull(session)
    assert [sent.payload for sent in sent_by(session)] == [b"1", b"2"]


# ------------------------------------------------------------------------------------------------------------ writing


def test_messages_and_fragments_reach_the_peer(session: Session, role: Role) -> None:
    peer = Session(CLIENT if role is SERVER else SERVER)
    messages: list[Message] = [
        "text",
        b"bytes",
        bytearray(b"array"),
        memoryview(b"view"),
        memoryview(b"--view")[::2],
    ]
    for message in messages:
        session.send_message(message)
    session.send_fragment("frag", is_final=False)
    session.send_ping(b"ping")
    session.send_pong(b"pong")
    with pytest.raises(LocalProtocolError, match="a fragmented message is open"):
        session.send_message("not now")
    with pytest.raises(ValueError, match="must be str, or all must be bytes"):
        session.send_fragment(b"ments", is_final=True)
    session.send_fragment("ments", is_final=True)
    with pytest.raises(ValueError, match="not NoneType"):
        session.send_message(None)  # type: ignore[arg-type]
    peer.receive_data(session.data_to_send())
    assert pull(peer) == typed(
        TextReceived("text"),
        BinaryReceived(b"bytes"),
        BinaryReceived(b"array"),
        BinaryReceived(b"view"),
        BinaryReceived(b"-ve"),
        PingReceived(b"ping"),
        PongReceived(b"pong"),
        TextReceived("fragments"),
    )


# ------------------------------------------------------------------------------------------------------------ closing


@pytest.mark.parametrize("reason", [b"", "größer".encode(), b"x" * 123])
@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999])
def test_the_peers_close_is_answered_with_its_code_and_reason(
    session: Session, code: int, reason: bytes
) -> None:
    receive(session, (CLOSE, code.to_bytes(2, "big") + reason), (TEXT, b"behind"))
    assert pull(session) == typed(CloseReceived(code, reason.decode()))
    assert sent_by(session) == [close_frame(code, reason)]
    assert session.state is CLOSED
    said = CloseReason(code, reason.decode() or None)
    assert session.close_received == session.close_sent == session.close_reason == said
    assert session.initiator == "remote"
    assert session.error is None


def test_a_close_without_a_code_is_answered_without_one(session: Session) -> None:
    receive(session, (CLOSE, b""))
    assert pull(session) == typed(CloseReceived(1005, ""))
    assert sent_by(session) == [Frame(True, CLOSE, b"")]
    assert session.close_received == session.close_sent == session.close_reason == CloseReason(1005, None)


@pytest.mark.parametrize(
    ("code", "reason", "payload"),
    [
        (1000, None, b"\x03\xe8"),
        (1000, "", b"\x03\xe8"),
        (1001, "größer", b"\x03\xe9" + "größer".encode()),
        (4999, "x" * 123, b"\x13\x87" + b"x" * 123),
        (1005, None, b""),
    ],
)
def test_our_close_waits_for_the_peers(
    session: Session, code: int, reason: str | None, payload: bytes
) -> None:
    session.send_close(code, reason)
    assert session.state is CLOSING
    assert sent_by(session) == [Frame(True, CLOSE, payload)]
    assert session.close_sent == session.close_reason == CloseReason(code, reason or None)
    assert session.initiator == "local"
    assert session.next_event() is NEED_DATA
    receive(session, (CLOSE, b"\x0f\xa0bye"))
    assert pull(session) == typed(CloseReceived(4000, "bye"))
    assert session.state is CLOSED
    assert session.close_received == session.close_reason == CloseReason(4000, "bye")
    assert session.initiator == "local"
    assert session.data_to_send() == b""
    assert repr(session) == f"<Session {session.role.value} closed>"


@pytest.mark.parametrize("answer", [b"", b"another text"])
def test_an_answer_with_our_code_leaves_our_reason(session: Session, answer: bytes) -> None:
    session.send_close(4000, "because")
    receive(session, (CLOSE, (4000).to_bytes(2, "big") + answer))
    assert pull(session) == typed(CloseReceived(4000, answer.decode()))
    assert session.close_received == CloseReason(4000, answer.decode() or None)
    assert session.close_reason == session.close_sent == CloseReason(4000, "because")


def test_while_we_wait_for_the_peers_close_it_may_finish_what_it_says(session: Session) -> None:
    session.send_close()
    session.data_to_send()
    receive(
        session, (TEXT, b"a", False), (PING, b"unanswered"), (CONT, b"b"), (PONG, b""), (CLOSE, b"\x03\xe8")
    )
    wanted = typed(
        PingReceived(b"unanswered"), TextReceived("ab"), PongReceived(b""), CloseReceived(1000, "")
    )
    assert pull(session) == wanted
    assert session.data_to_send() == b""


@pytest.mark.parametrize("send", SENDS.values(), ids=SENDS)
@pytest.mark.parametrize("initiator", ["local", "remote"])
def test_nothing_is_sent_after_our_close_frame(
    session: Session, initiator: str, send: Callable[[Session], None]
) -> None:
    if initiator == "local":
        session.send_close()
    else:
        receive(session, (CLOSE, b"\x03\xe8"))
        pull(session)
    assert sent_by(session) == [close_frame(1000)]
    with pytest.raises(LocalProtocolError, match="nothing can be sent after the close frame"):
        send(session)
    assert session.data_to_send() == b""


def test_what_follows_the_peers_close_is_discarded(session: Session) -> None:
    receive(session, (CLOSE, b"\x03\xe8"))
    session.receive_data(b"\xff" * 5000)
    assert pull(session) == typed(CloseReceived(1000, ""))
    assert session.unread == 0
    session.receive_data(b"\xff" * 5000)
    assert session.unread == 0
    assert session.next_event() is NEED_DATA
    session.receive_eof()
    assert session.next_event() is NEED_DATA
    assert session.error is None


def test_two_closes_may_cross(role: Role) -> None:
    ends = Session(role), Session(CLIENT if role is SERVER else SERVER)
    ends[0].send_close(4000, "one")
    ends[1].send_close(4001, "two")
    data = [end.data_to_send() for end in ends]
    ends[0].receive_data(data[1])
    ends[1].receive_data(data[0])
    assert pull(ends[0]) == typed(CloseReceived(4001, "two"))
    assert pull(ends[1]) == typed(CloseReceived(4000, "one"))
    assert [end.state for end in ends] == [CLOSED, CLOSED]
    assert [end.initiator for end in ends] == ["local", "local"]
    assert [end.data_to_send() for end in ends] == [b"", b""]


# ---------------------------------------------------------------------------------------------------- the end of file

EOF_TEXT = "the peer ended the connection without a close frame"


@pytest.mark.parametrize(
    "have", ["nothing", "a part of a header", "a part of a ping", "a part of a message", "a fragment"]
)
@pytest.mark.parametrize("is_closing", [False, True], ids=["open", "closing"])
def test_an_end_without_a_close_frame_is_1006_unless_we_had_said_why(
    session: Session, role: Role, is_closing: bool, have: str
) -> None:
    parts = {
        "nothing": b"",
        "a part of a header": b"\x81",
        "a part of a ping": from_peer(role, PING, b"ping")[:-1],
        "a part of a message": from_peer(role, TEXT, b"text")[:-1],
        "a fragment": from_peer(role, TEXT, b"text", fin=False),
    }
    if is_closing:
        session.send_close(1001, "away")
        session.data_to_send()
    receive(session, (TEXT, b"before"))
    session.receive_data(parts[have])
    session.receive_eof()
    # What came before is given first.
    assert session.next_event() == TextReceived("before")
    dies(session, 1006, EOF_TEXT)
    assert session.data_to_send() == b""
    assert session.close_sent == (CloseReason(1001, "away") if is_closing else None)
    assert session.close_reason == (session.close_sent or CloseReason(1006, None))
    assert session.close_received is None
    assert session.initiator == ("local" if is_closing else None)


def test_an_end_between_two_messages_is_seen_at_once(session: Session) -> None:
    receive(session, (TEXT, b"before"))
    assert pull(session) == typed(TextReceived("before"))
    session.receive_eof()
    assert session.state is CLOSED
    assert not session.is_open
    assert session.close_reason == CloseReason(1006, None)
    dies(session, 1006, EOF_TEXT)


def test_a_close_frame_before_the_end_is_a_clean_close(session: Session) -> None:
    receive(session, (CLOSE, b"\x03\xe8"))
    session.receive_eof()
    assert pull(session) == typed(CloseReceived(1000, ""))
    assert session.next_event() is NEED_DATA
    assert session.error is None


@pytest.mark.parametrize(
    "name", ["role", "state", "error", "close_sent", "close_received", "initiator", "unread", "x"]
)
def test_nobody_else_sets_what_the_session_owns(session: Session, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(session, name, None)


# -------------------------------------------------------------------------------------------- without an event for each


def test_whole_message_in_one_frame_needs_no_event(session: Session) -> None:
    first, second = from_peer(session.role, TEXT, b"one"), from_peer(session.role, BINARY, b"\xff")
    session.receive_data(first + second)
    assert [session.next_message() for _ in range(3)] == ["one", b"\xff", None]


def test_compressed_message_in_one_frame_needs_no_event(role: Role) -> None:
    session = Session(role, compression=PerMessageDeflate())
    # RFC 7692 §7.2.3.1: "Hello", compressed.
    session.receive_data(from_peer(role, TEXT, bytes.fromhex("f248cdc9c90700"), rsv=4))
    assert [session.next_message(), session.next_message()] == ["Hello", None]


def test_everything_else_is_left_to_next_event(session: Session) -> None:
    session.receive_data(from_peer(session.role, PING, b"p"))
    assert session.next_message() is None
    assert pull(session) == typed(PingReceived(b"p"))
    receive(session, (TEXT, b"fra", False))
    assert session.next_message() is None
    assert session.next_event() is NEED_DATA
    # In the middle of a fragmented message, a whole one would be a mistake.
    session.receive_data(from_peer(session.role, BINARY, b"x"))
    assert session.next_message() is None
    pull_error(session)
    assert session.next_message() is None


def test_large_message_may_be_received_where_it_belongs(session: Session) -> None:
    message = bytes(range(256)) * 1024
    rest = bytearray(from_peer(session.role, BINARY, message))
    session.receive_data(rest[:70000])
    assert session.next_message() is None
    # The header alone says nothing yet: it has to be allowed first.
    states = [session.is_filling, session.next_event(), session.is_filling]
    assert states == [False, NEED_DATA, True]
    del rest[:70000]

    def receive_into(buffer: memoryview) -> int:
        size = min(len(buffer), len(rest), 50000)
        buffer[:size] = rest[:size]
        del rest[:size]
        return size

    while session.is_filling:
        assert session.fill(receive_into) > 0
    assert not rest
    assert pull(session) == typed(BinaryReceived(message))
    assert session.next_message() is None


Taken = list[str | bytes | None]


def short_way_in(session: Session, *receivers: str | None) -> tuple[Intake, dict[str, str | bytes], Taken]:
    """An intake, what those who wait are given, and what is left."""
    given: dict[str, str | bytes] = {}
    taken: Taken = []
    intake = session.make_intake(MessageQueue(1, 1000), list(receivers), given.__setitem__, taken.append)
    return intake, given, taken


def test_message_may_go_to_who_waits_for_it(session: Session) -> None:
    intake, given, taken = short_way_in(session, "first", "second")
    for message in b"one", b"two", b"three":
        intake.receive_data(from_peer(session.role, TEXT, message))
    assert given == {"first": "one", "second": "two"}
    assert taken == ["three"]


def test_everything_else_is_left_to_be_pulled(session: Session) -> None:
    intake, given, taken = short_way_in(session, "one")
    intake.receive_data(from_peer(session.role, TEXT, b"fra", fin=False))
    assert session.next_event() is NEED_DATA
    # In the middle of a fragmented message, a whole one would be a mistake.
    intake.receive_data(from_peer(session.role, BINARY, b"x"))
    assert (given, taken) == ({}, [None, None])
    pull_error(session)


def test_too_large_a_message_is_left_to_be_pulled(role: Role) -> None:
    session = Session(role, max_message_size=2)
    intake, given, taken = short_way_in(session, "one")
    intake.receive_data(from_peer(role, TEXT, b"one"))
    assert (given, taken) == ({}, [None])
    pull_error(session)


def test_nothing_is_kept_of_what_comes_after_the_end(session: Session) -> None:
    intake, given, taken = short_way_in(session, "one")
    receive(session, (CLOSE, b""))
    pull(session)
    intake.receive_data(from_peer(session.role, TEXT, b"late"))
    assert (given, taken, session.unread) == ({}, [None], 0)


@pytest.mark.parametrize("message", ["text", b"bytes"])
def test_message_may_go_to_a_socket_at_once(session: Session, message: Message) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outlet = Outlet(ours.fileno(), Turns(), SimpleNamespace())
        session.set_up(outlet)
        assert outlet.send_message(message)
        data = theirs.recv(100)
    other = Session(Role.CLIENT if session.role is Role.SERVER else Role.SERVER)
    other.receive_data(data)
    assert other.next_message() == message
    assert not outlet.send_message(b"large" * 4000)
    session.send_close()
    assert not outlet.send_message(message)


def test_message_that_may_be_compressed_goes_no_short_way(role: Role) -> None:
    outlet = Outlet(-1, Turns(), SimpleNamespace())
    Session(role, compression=PerMessageDeflate()).set_up(outlet)
    assert not outlet.send_message("text")


def test_fragments_are_taken_in_a_few_at_a_time(role: Role) -> None:
    session = Session(role, fragments_at_once=10)
    receive(session, (TEXT, b"", False), *[(CONT, b"", False)] * 24, (CONT, b"end"))
    for _ in range(2):
        assert session.next_event() is NEED_DATA
        assert session.is_behind
    assert session.next_event() == TextReceived("end")
    assert not session.is_behind
    assert session.next_event() is NEED_DATA
    assert not session.is_behind


@pytest.mark.parametrize("message", ["text", b"bytes", bytearray(b"other"), b"large" * 4000])
def test_message_may_be_taken_as_it_is_sent(session: Session, message: Message) -> None:
    data = session.message_to_send(message)
    parts = [data] if data is not None else session.parts_to_send()
    other = Session(session.role)
    other.send_message(message)
    # The masks differ.
    assert len(b"".join(parts)) == len(other.data_to_send())
    assert session.parts_to_send() == []


def test_message_does_not_overtake_what_is_queued(session: Session) -> None:
    session.send_ping(b"first")
    assert session.message_to_send("second") is None
    assert [frame.opcode for frame in sent_by(session)] == [PING, TEXT]


def test_message_that_must_not_be_sent_is_refused(session: Session) -> None:
    session.send_fragment("one", is_final=False)
    with pytest.raises(LocalProtocolError, match="fragmented message is open"):
        session.message_to_send("two")
    session.send_close()
    with pytest.raises(LocalProtocolError, match="after the close frame"):
        session.message_to_send("two")


# ------------------------------------------------------------------------------------------------------------ in parts


def test_a_message_may_be_had_in_parts(session: Session) -> None:
    assert not session.stream_message()
    receive(session, (TEXT, b"Hel", False))
    assert pull(session) == []
    assert session.stream_message()
    receive(session, (PING, b"1"), (CONT, b"lo"), (TEXT, b"next"))
    assert pull(session) == typed(
        PartReceived("Hel", False), PingReceived(b"1"), PartReceived("lo", True), TextReceived("next")
    )
    assert sent_by(session) == [Frame(True, PONG, b"1")]


def test_a_message_over_the_limit_waits_until_it_is_had_in_parts(role: Role) -> None:
    session = Session(role, max_message_size=3, max_streamed_size=5)
    receive(session, (BINARY, b"1234"), (PING, b"behind"))
    assert session.next_event() is NEED_DATA
    assert session.is_oversize is True
    assert session.stream_message()
    assert pull(session) == typed(PartReceived(b"1234", True), PingReceived(b"behind"))
    receive(session, (BINARY, b"123456"))
    dies(session, 1009, "message of 6 bytes exceeds max_streamed_size=5")


def test_a_message_over_the_limit_may_be_refused(role: Role) -> None:
    session = Session(role, max_message_size=3, max_streamed_size=5)
    receive(session, (BINARY, b"1234"))
    assert pull(session) == []
    session.refuse_message()
    error = dies(session, 1009, "message of 4 bytes exceeds max_message_size=3")
    assert sent_by(session) == [close_frame(1009, str(error).encode())]


def test_nothing_is_oversize_in_a_session_that_has_ended(role: Role) -> None:
    session = Session(role, max_message_size=3, max_streamed_size=5)
    receive(session, (BINARY, b"1234"))
    assert pull(session) == []
    session.fail(1011, "our fault")
    assert session.next_event() is NEED_DATA
    assert not session.is_oversize


def test_an_end_while_a_message_waits_to_be_had_in_parts_is_told(role: Role) -> None:
    session = Session(role, max_message_size=3, max_streamed_size=5)
    receive(session, (BINARY, b"1234"))
    assert pull(session) == []
    session.receive_eof()
    dies(session, 1006, "without a close frame")


def test_what_goes_wrong_on_our_side_ends_the_session_at_once(session: Session) -> None:
    session.send_fragment("begun", is_final=False)
    session.fail(1011, "our fault")
    assert sent_by(session) == [Frame(False, TEXT, b"begun"), close_frame(1011, b"our fault")]
    assert session.state is CLOSED
    assert session.close_reason == CloseReason(1011, "our fault")
    assert (session.initiator, session.error) == ("local", None)
    receive(session, (CLOSE, b"\x03\xe8"))
    assert session.next_event() is NEED_DATA


def test_a_first_fragment_that_could_not_be_sent_opens_no_message(session: Session) -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        session.send_fragment("\ud800", is_final=False)
    session.send_message(b"another")
    assert sent_by(session) == [Frame(True, BINARY, b"another")]
