"""Sessions that agreed on compression (RFC 7692 §6): each end reads what the other writes."""

from __future__ import annotations

import math

import pytest
from core_support import cut, iter_events, pull_error
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_websocket.protocol import (
    BinaryReceived,
    PartReceived,
    PerMessageDeflate,
    PingReceived,
    Role,
    Session,
    TextReceived,
)

TERMS = [
    PerMessageDeflate(server, client, bits, bits, threshold=threshold)
    for server, client, bits, threshold in [
        (False, False, None, 0),
        (True, False, 15, 50),
        (False, True, 9, 0),
        (True, True, 8, 0),
    ]
]
Message = str | bytes


def pair(terms: PerMessageDeflate, role: Role, **limits: float) -> tuple[Session, Session]:
    """A session in this role, and its peer, which is the one with limits."""
    other = Role.SERVER if role is Role.CLIENT else Role.CLIENT
    return Session(role, compression=terms), Session(other, compression=terms, **limits)  # type: ignore[arg-type]


def received(session: Session, parts: list[bytes], *, is_direct: bool) -> list[Message]:
    """The messages that come in these parts, by both ways to ask for them."""
    messages: list[Message] = []
    for part in parts:
        session.receive_data(part)
        message = session.next_message() if is_direct else None
        while message is not None:
            messages.append(message)
            message = session.next_message()
        for event in iter_events(session):
            assert isinstance(event, TextReceived | BinaryReceived)
            messages.append(event.data)
    return messages


@settings(max_examples=60)
@given(
    messages=st.lists(
        st.tuples(
            st.text(max_size=100) | st.binary(max_size=100),
            st.sampled_from([None, True, False]),
            st.booleans(),
        ),
        max_size=8,
    ),
    terms=st.sampled_from(TERMS),
    role=st.sampled_from(list(Role)),
    sizes=st.lists(st.integers(1, 60), max_size=3),
    is_direct=st.booleans(),
)
def test_messages_arrive_however_they_are_sent_and_cut(
    messages: list[tuple[Message, bool | None, bool]],
    terms: PerMessageDeflate,
    role: Role,
    sizes: list[int],
    is_direct: bool,
) -> None:
    sender, receiver = pair(terms, role)
    data = b""
    for message, compress, is_cut in messages:
        if is_cut:
            sender.send_fragment(message[:5], is_final=False, compress=compress)
            sender.send_fragment(message[5:], is_final=True)
            data += sender.data_to_send()
        else:
            data += sender.message_to_send(message, compress) or sender.data_to_send()
    assert received(receiver, list(cut(data, sizes)), is_direct=is_direct) == [
        each for each, _, _ in messages
    ]


def test_large_message_is_queued_compressed(role: Role) -> None:
    sender, receiver = pair(TERMS[0], role)
    message = bytes(100_000)
    assert sender.message_to_send(message) is None
    data = sender.data_to_send()
    assert len(data) < 2000
    assert received(receiver, [data], is_direct=True) == [message]


def test_control_frames_come_between_compressed_fragments(role: Role) -> None:
    sender, receiver = pair(TERMS[0], role)
    sender.send_fragment("one ", is_final=False)
    sender.send_ping(b"!")
    sender.send_fragment("two", is_final=True)
    receiver.receive_data(sender.data_to_send())
    assert list(iter_events(receiver)) == [PingReceived(b"!"), TextReceived("one two")]


@pytest.mark.parametrize("is_direct", [False, True])
def test_too_large_a_message_ends_the_session(role: Role, is_direct: bool) -> None:
    sender, receiver = pair(TERMS[0], role, max_message_size=1000)
    sender.send_message(bytes(1001))
    receiver.receive_data(sender.data_to_send())
    if is_direct:
        assert receiver.next_message() is None
    events, error = pull_error(receiver)
    assert events == []
    assert error is not None
    assert error.code == 1009


def test_too_large_a_message_may_be_had_in_parts(role: Role) -> None:
    sender, receiver = pair(TERMS[0], role, max_message_size=1000, max_streamed_size=math.inf)
    sender.send_message(bytes(300_000))
    sender.send_message("next")
    receiver.receive_data(sender.data_to_send())
    assert receiver.next_message() is None
    assert list(iter_events(receiver)) == []
    assert receiver.is_oversize
    assert receiver.stream_message()
    *parts, following = iter_events(receiver)
    assert following == TextReceived("next")
    assert b"".join(bytes(each.data) for each in parts if isinstance(each, PartReceived)) == bytes(300_000)  # type: ignore[arg-type]
