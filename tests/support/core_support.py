"""What the tests of the sans-I/O core share: sessions, the frames they get and the frames they send."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from support import CLOSE, MASK, Frame, frame

from trio_websocket.protocol import NEED_DATA, Event, RemoteProtocolError, Role, Session, SessionState

TypedEvent = tuple[type[Event], Event]

SENDS: dict[str, Callable[[Session], None]] = {
    "message": lambda session: session.send_message("x"),
    "fragment": lambda session: session.send_fragment("x", is_final=False),
    "ping": lambda session: session.send_ping(),
    "pong": lambda session: session.send_pong(),
    "close": lambda session: session.send_close(),
}
"""Every way to send."""


def typed(*events: Event) -> list[TypedEvent]:
    """The events with their types: as tuples, a ping and a pong of one payload are equal."""
    return [(type(event), event) for event in events]


def pull(session: Session) -> list[TypedEvent]:
    """Every event that there is now."""
    return typed(*iter_events(session))


def iter_events(session: Session) -> Iterator[Event]:
    """Every event that there is now, one by one."""
    while (event := session.next_event()) is not NEED_DATA:
        yield event


def pull_error(session: Session) -> tuple[list[TypedEvent], RemoteProtocolError | None]:
    """Every event that there is now, and the error behind them."""
    events: list[TypedEvent] = []
    try:
        for event in iter_events(session):
            events.extend(typed(event))
    except RemoteProtocolError as error:
        return events, error
    return events, None


def from_peer(role: Role, opcode: int, payload: bytes = b"", **fields: Any) -> bytes:
    """A frame as the peer of a session in this role has to send it."""
    return frame(opcode, payload, mask=MASK if role is Role.SERVER else None, **fields)


def head_from_peer(role: Role, hexadecimal: str) -> bytes:
    """A frame's header by hand, as the peer of a session in this role has to send it: it is masked if need be."""
    wire = bytearray.fromhex(hexadecimal)
    if role is Role.SERVER:
        wire[1] |= 0x80
        wire += MASK
    return bytes(wire)


def receive(session: Session, *frames: tuple[int, bytes] | tuple[int, bytes, bool]) -> None:
    """Let the session's peer send frames: opcode, payload, and whether it is the last of its message (it is)."""
    for opcode, payload, *fin in frames:
        session.receive_data(from_peer(session.role, opcode, payload, fin=all(fin)))


def split_frames(data: bytes, *, is_masked: bool) -> list[Frame]:
    """Take whole frames apart, without the code under test; each has to be masked, or none."""
    frames = []
    position = 0

    def take(size: int) -> bytes:
        nonlocal position
        assert position + size <= len(data), "torn frame"
        position += size
        return data[position - size : position]

    while position < len(data):
        first, second = take(2)
        assert first & 0x70 == 0
        assert bool(second & 0x80) is is_masked
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(take(2 if size == 126 else 8), "big")
        mask = take(4) if is_masked else bytes(4)
        payload = bytes(byte ^ key for byte, key in zip(take(size), itertools.cycle(mask), strict=False))
        frames.append(Frame(bool(first & 0x80), first & 0x0F, payload))
    return frames


def sent_by(session: Session) -> list[Frame]:
    """The frames that a session has to send."""
    return split_frames(session.data_to_send(), is_masked=session.role is Role.CLIENT)


def close_frame(code: int, reason: bytes = b"") -> Frame:
    """A close frame, as `sent_by` gives it."""
    return Frame(True, CLOSE, code.to_bytes(2, "big") + reason)


def dies(session: Session, code: int, text: str) -> RemoteProtocolError:
    """Pull the error that ends the session, and hold the whole session against it."""
    with pytest.raises(RemoteProtocolError, match=text) as caught:
        pull(session)
    error = caught.value
    assert error.code == code
    assert session.error is error
    assert session.state is SessionState.CLOSED
    # A dead session raises the same error again, and takes nothing in.
    for call in [Session.next_event, *SENDS.values()]:
        with pytest.raises(RemoteProtocolError) as caught:
            call(session)
        assert caught.value is error
    session.receive_data(b"more")
    session.receive_eof()
    assert session.unread == 0
    return error


def cut(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """Cut `data` into parts of these sizes, over and over again; without sizes it stays whole."""
    position = 0
    for size in itertools.cycle(sizes):
        if position >= len(data):
            return
        yield data[position : position + size]
        position += size
    yield data[position:]
