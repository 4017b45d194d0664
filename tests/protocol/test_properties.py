"""What holds for any messages, any fragments, any cuts and any bytes; and a machine that plays with a pair of sessions."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from core_support import TypedEvent, cut, from_peer, iter_events, pull_error, sent_by, split_frames, typed
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from support import BINARY, CLOSE, CONT, MASK, PING, PONG, TEXT, Frame, frame

from trio_websocket.protocol import (
    BinaryReceived,
    CloseReason,
    CloseReceived,
    Event,
    LocalProtocolError,
    PingReceived,
    PongReceived,
    RemoteProtocolError,
    Role,
    Session,
    SessionState,
    TextReceived,
)

CLIENT, SERVER = Role.CLIENT, Role.SERVER
OTHER = {CLIENT: SERVER, SERVER: CLIENT}
OPCODES: dict[int, type[PingReceived | PongReceived]] = {PING: PingReceived, PONG: PongReceived}

ROLES = st.sampled_from([CLIENT, SERVER])
MESSAGES = st.text(max_size=50) | st.binary(max_size=50) | st.sampled_from(["é" * 63, b"\xff" * 300])
# How bytes are cut: whole, byte by byte, at random.
CUTS = st.just([10**9]) | st.just([1]) | st.lists(st.integers(1, 40), min_size=1, max_size=8)
FRAGMENTS = st.just([10**9]) | st.just([1]) | st.lists(st.integers(0, 20), min_size=1, max_size=8).filter(any)
CONTROLS = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=20) | st.just(bytes(125)))
CODES = st.sampled_from([1000, 1001, 1005, 1011, 3000, 4999])

# A busy machine is no reason to fail.
ANY_TIME = settings(deadline=None)

pytestmark = pytest.mark.slow


def event_of(message: str | bytes) -> Event:
    return TextReceived(message) if isinstance(message, str) else BinaryReceived(message)


def feed(
    session: Session, data: bytes, sizes: list[int]
) -> tuple[list[TypedEvent], RemoteProtocolError | None]:
    """Every event that comes of `data`, however it is cut, and the error that ended it."""
    events: list[TypedEvent] = []
    for chunk in cut(data, sizes):
        session.receive_data(chunk)
        more, error = pull_error(session)
        events += more
        # At most a header, or a control frame's payload, waits for its rest.
        assert session.unread < 139
        if error is not None:
            return events, error
    return events, None


# ----------------------------------------------------------------------------------------------- messages, either way


@given(role=ROLES, messages=st.lists(MESSAGES, max_size=8), sizes=CUTS)
@ANY_TIME
def test_any_messages_arrive_as_they_were_sent(
    role: Role, messages: list[str | bytes], sizes: list[int]
) -> None:
    session, peer = Session(role), Session(OTHER[role])
    for message in messages:
        session.send_message(message)
    assert feed(peer, session.data_to_send(), sizes) == (typed(*map(event_of, messages)), None)
    assert peer.data_to_send() == b""


@given(
    role=ROLES,
    messages=st.lists(st.tuples(st.text(max_size=30) | st.binary(max_size=30), FRAGMENTS), max_size=6),
    controls=st.lists(st.none() | CONTROLS, max_size=20),
    sizes=CUTS,
)
@ANY_TIME
def test_any_fragments_with_control_frames_between_them_are_the_same_messages(
    role: Role,
    messages: list[tuple[str | bytes, list[int]]],
    controls: list[tuple[int, bytes] | None],
    sizes: list[int],
) -> None:
    wire = bytearray()
    wanted: list[Event] = []
    between = iter(controls)
    for message, fragments in messages:
        # Text is cut as bytes: a border may lie inside of a character.
        payload = message.encode() if isinstance(message, str) else message
        opcode = TEXT if isinstance(message, str) else BINARY
        for part in cut(payload, fragments):
            wire += from_peer(role, opcode, part, fin=False)
            opcode = CONT
            control = next(between, None)
            if control is not None:
                wire += from_peer(role, *control)
                wanted.append(OPCODES[control[0]](control[1]))
        wire += from_peer(role, opcode)
        wanted.append(event_of(message))
    session = Session(role)
    assert feed(session, bytes(wire), sizes) == (typed(*wanted), None)
    pings = [event.payload for event in wanted if isinstance(event, PingReceived)]
    assert sent_by(session) == [Frame(True, PONG, payload) for payload in pings]


# ---------------------------------------------------------------------------------------------------------- any bytes


@st.composite
def nearly_frames(draw: st.DrawFn) -> bytes:
    """A frame that may be right, or wrong in any of its parts."""
    payload = draw(st.binary(max_size=20) | st.text(max_size=10).map(str.encode) | st.just(bytes(126)))
    opcode = draw(st.sampled_from([CONT, TEXT, BINARY, CLOSE, PING, PONG]) | st.integers(0, 15))
    rsv = draw(st.sampled_from([0] * 20 + [1, 2, 4, 7]))
    mask = draw(st.sampled_from([None, MASK]))
    wire = frame(opcode, payload, fin=draw(st.booleans()), rsv=rsv, mask=mask)
    if draw(st.integers(0, 9)) == 0:
        at = draw(st.integers(0, len(wire) - 1))
        wire = wire[:at] + draw(st.binary(max_size=12)) + wire[at + 1 :]
    return wire


ANYTHING = st.binary(max_size=200) | st.lists(nearly_frames(), max_size=10).map(b"".join)


@given(role=ROLES, data=ANYTHING, sizes=CUTS, ends=st.booleans(), closes=st.booleans())
@example(role=CLIENT, data=b"\x81\x03\xed\xa0\x80", sizes=[1], ends=True, closes=False)
@settings(ANY_TIME, max_examples=300)
def test_any_bytes_are_events_or_a_wait_or_a_protocol_error_however_they_are_cut(
    role: Role, data: bytes, sizes: list[int], ends: bool, closes: bool
) -> None:
    outcomes = []
    for how in (sizes, [10**9]):
        session = Session(role, max_message_size=64, max_fragments=4, random_bytes=lambda size: MASK)
        if closes:
            session.send_close()
        events, error = feed(session, data, how)
        if ends and error is None:
            session.receive_eof()
            more, error = pull_error(session)
            assert more == []
        check_outcome(session, events, error, ends=ends)
        sent = session.data_to_send()
        check_sent(session, split_frames(sent, is_masked=role is CLIENT))
        outcomes.append(
            (events, error and (error.code, str(error)), sent, session.state, session.close_reason)
        )
    assert outcomes[0] == outcomes[1]


def check_outcome(
    session: Session, events: list[TypedEvent], error: RemoteProtocolError | None, *, ends: bool
) -> None:
    for _, event in events:
        if isinstance(event, TextReceived):
            assert len(event.data.encode()) <= 64
        if isinstance(event, BinaryReceived):
            assert len(event.data) <= 64
    assert session.error is error
    if error is not None:
        assert error.code in {1002, 1007, 1009, 1006}
        assert len(str(error)) < 100
        assert session.state is SessionState.CLOSED
    elif ends:
        assert session.close_received is not None
    if session.state is SessionState.CLOSED:
        session.receive_data(b"more")
        assert session.unread == 0


def check_sent(session: Session, frames: list[Frame]) -> None:
    # Nothing stands behind our close frame, and there is one wherever there can be one.
    closes = [sent for sent in frames if sent.opcode == CLOSE]
    assert closes == ([] if session.close_sent is None else [frames[-1]])
    if session.error is not None and session.error.code != 1006:
        assert session.close_sent is not None


@pytest.mark.parametrize("role", [CLIENT, SERVER], ids=["client", "server"])
def test_an_endless_message_of_empty_fragments_is_ended(role: Role) -> None:
    session = Session(role)
    session.receive_data(from_peer(role, TEXT, b"", fin=False))
    wire = from_peer(role, CONT, b"", fin=False) * 1024
    events, error = feed(session, wire * 65, [len(wire)])
    assert events == []
    assert error is not None
    assert str(error) == "message exceeds max_fragments=65536"


# ------------------------------------------------------------------------------------------------- a pair of sessions


@dataclass
class End:
    """One end of the pair: what it did and saw, and what is under way to it."""

    session: Session
    wire: bytearray = field(default_factory=bytearray)
    is_cut: bool = False  # it was told of the end of file
    # Messages, pings and pongs that it sent of its own, as the peer has to see them, and all that it received.
    sent: list[TypedEvent] = field(default_factory=list)
    received: list[TypedEvent] = field(default_factory=list)
    fragments: Any = None  # of the message that it has begun
    frames: list[Frame] = field(default_factory=list)
    pongs: list[bytes] = field(default_factory=list)  # that it owes or sent of its own, in their order

    @property
    def is_open(self) -> bool:
        return self.session.state is SessionState.OPEN


class Pair(RuleBasedStateMachine):
    """Two sessions, and everything that they and the network between them can do."""

    def __init__(self) -> None:
        super().__init__()
        source = random.Random(0)
        self.ends = {role: End(Session(role, random_bytes=source.randbytes)) for role in Role}

    def flush(self, role: Role) -> None:
        end, peer = self.ends[role], self.ends[OTHER[role]]
        data = end.session.data_to_send()
        end.frames += split_frames(data, is_masked=role is CLIENT)
        if not peer.is_cut:
            peer.wire += data

    def may_send(self, role: Role, *, whole: bool = False) -> bool:
        """Whether it may send now; if not, it is proved that it can't."""
        end = self.ends[role]
        if end.is_open and not (whole and end.fragments is not None):
            return True
        with pytest.raises((LocalProtocolError, RemoteProtocolError)) as caught:
            end.session.send_message("x") if whole else end.session.send_ping(b"x")
        assert isinstance(caught.value, LocalProtocolError) or caught.value is end.session.error
        assert end.session.data_to_send() == b""
        return False

    @rule(role=ROLES, message=MESSAGES)
    def send_message(self, role: Role, message: str | bytes) -> None:
        if self.may_send(role, whole=True):
            self.ends[role].session.send_message(message)
            self.ends[role].sent += typed(event_of(message))
            self.flush(role)

    @rule(role=ROLES, text=st.text(max_size=10), is_binary=st.booleans(), is_final=st.booleans())
    def send_fragment(self, role: Role, text: str, is_binary: bool, is_final: bool) -> None:
        end = self.ends[role]
        if not self.may_send(role):
            return
        part: Any = text.encode() if is_binary else text
        if end.fragments is not None and type(end.fragments) is not type(part):
            with pytest.raises(ValueError, match="all fragments"):
                end.session.send_fragment(part, is_final=is_final)
            part = end.fragments[:0]
        end.session.send_fragment(part, is_final=is_final)
        end.fragments = part if end.fragments is None else end.fragments + part
        if is_final:
            end.sent += typed(event_of(end.fragments))
            end.fragments = None
        self.flush(role)

    @rule(role=ROLES, payload=st.binary(max_size=125))
    def send_ping(self, role: Role, payload: bytes) -> None:
        if self.may_send(role):
            self.ends[role].session.send_ping(payload)
            self.ends[role].sent += typed(PingReceived(payload))
            self.flush(role)

    @rule(role=ROLES, payload=st.binary(max_size=125))
    def send_pong(self, role: Role, payload: bytes) -> None:
        end = self.ends[role]
        if self.may_send(role):
            end.session.send_pong(payload)
            end.pongs.append(payload)
            self.flush(role)

    @rule(role=ROLES, code=CODES, reason=st.none() | st.text(max_size=20))
    def send_close(self, role: Role, code: int, reason: str | None) -> None:
        if self.may_send(role):
            reason = None if code == 1005 else reason
            self.ends[role].session.send_close(code, reason)
            assert self.ends[role].session.close_sent == CloseReason(code, reason or None)
            self.flush(role)

    @rule(role=ROLES, size=st.integers(1, 300) | st.just(10**9))
    def deliver(self, role: Role, size: int) -> None:
        end = self.ends[role]
        was_closed = end.session.state is SessionState.CLOSED
        end.session.receive_data(end.wire[:size])
        del end.wire[:size]
        if was_closed and end.session.error is not None:
            return
        was_open = end.is_open
        for event in iter_events(end.session):
            end.received += typed(event)
            if was_open and isinstance(event, PingReceived):
                end.pongs.append(event.payload)
            was_open = end.is_open
        self.flush(role)

    # Rarely, or no pair would live long.
    @rule(role=ROLES, chance=st.integers(0, 9))
    def end_of_file(self, role: Role, chance: int) -> None:
        end = self.ends[role]
        if chance or end.is_cut:
            return
        was_closed = end.session.state is SessionState.CLOSED
        end.is_cut = True
        end.wire.clear()
        end.session.receive_eof()
        events, error = pull_error(end.session)
        assert events == []
        if not was_closed:
            assert error is not None
            assert error.code == 1006
            assert end.session.close_reason == (end.session.close_sent or CloseReason(1006, None))
        self.flush(role)

    @precondition(lambda self: any(end.wire for end in self.ends.values()))
    @rule()
    def deliver_everything(self) -> None:
        while any(end.wire for end in self.ends.values()):
            for role in Role:
                self.deliver(role, 10**9)

    @invariant()
    def what_is_received_is_what_was_sent_in_order(self) -> None:
        for role, end in self.ends.items():
            peer = self.ends[OTHER[role]]
            received = [item for item in end.received if item[0] not in {PongReceived, CloseReceived}]
            assert received == peer.sent[: len(received)]
            if not end.wire and not end.is_cut:
                assert received == peer.sent

    @invariant()
    def every_ping_was_answered_in_order_while_the_session_was_open(self) -> None:
        for role, end in self.ends.items():
            assert [sent.payload for sent in end.frames if sent.opcode == PONG] == end.pongs
            peer = self.ends[OTHER[role]]
            seen = [event.payload for _, event in peer.received if isinstance(event, PongReceived)]
            assert seen == end.pongs[: len(seen)]
            if not peer.wire and not peer.is_cut:
                assert seen == end.pongs

    @invariant()
    def nothing_stands_behind_a_close_frame(self) -> None:
        for end in self.ends.values():
            closes = [sent for sent in end.frames if sent.opcode == CLOSE]
            assert closes == ([] if end.session.close_sent is None else [end.frames[-1]])
            assert [kind for kind, _ in end.received].count(CloseReceived) == (
                0 if end.session.close_received is None else 1
            )

    @invariant()
    def both_ends_agree_when_nothing_is_under_way(self) -> None:
        client, server = self.ends[CLIENT], self.ends[SERVER]
        if client.wire or server.wire or client.is_cut or server.is_cut:
            return
        assert client.session.state is server.session.state
        assert client.session.state is not SessionState.CLOSING
        assert client.session.close_sent == server.session.close_received
        assert client.session.close_received == server.session.close_sent
        if not client.is_open:
            assert "local" in {client.session.initiator, server.session.initiator}

    @invariant()
    def only_the_network_makes_errors(self) -> None:
        for end in self.ends.values():
            if end.session.error is not None:
                assert end.is_cut
                assert end.session.error.code == 1006

    def teardown(self) -> None:
        self.deliver_everything()
        self.what_is_received_is_what_was_sent_in_order()
        self.every_ping_was_answered_in_order_while_the_session_was_open()
        self.both_ends_agree_when_nothing_is_under_way()


TestPair = Pair.TestCase
TestPair.settings = settings(ANY_TIME, max_examples=120, stateful_step_count=40)
