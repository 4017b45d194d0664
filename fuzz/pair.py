"""Two sessions that get each other's bytes, cut anywhere, get each other's messages: once, in order, whole; neither complains."""

from __future__ import annotations

import itertools
from typing import Any, Final

from inputs import Step, Wire, split

from trio_websocket.protocol import (
    NEED_DATA,
    BinaryReceived,
    LocalProtocolError,
    PerMessageDeflate,
    Role,
    Session,
    SessionState,
    TextReceived,
)

TERMS: Final = (
    None,
    PerMessageDeflate(threshold=0),
    PerMessageDeflate(
        server_no_context_takeover=True,
        client_max_window_bits=9,
        server_max_window_bits=10,
        threshold=0,
    ),
    PerMessageDeflate(client_no_context_takeover=True, server_max_window_bits=8, level=9, memory_level=1),
)


class End:
    """One session, what it was to send, and what it got."""

    def __init__(self, role: Role, terms: PerMessageDeflate | None, wire: Wire) -> None:
        counter = itertools.count(1)
        self.session = Session(
            role,
            compression=terms,
            random_bytes=lambda size: (next(counter) * 2654435761).to_bytes(8, "big")[:size],
        )
        self.wire = wire
        self.sent: list[str | bytes] = []
        self.fragments: list[str] | None = None
        self.got: list[Any] = []
        self.in_flight = bytearray()

    def step(self, step: Step) -> None:
        """Send something; what must not be sent now is refused, and changes nothing."""
        session, data = self.session, self.wire.take(step.size)
        try:
            if step.action == 0:
                self.send(data)
            elif step.action == 1:
                self.send(data.decode("latin-1"))
            elif step.action == 2:
                self.send_fragment(data[:100].decode("latin-1"), is_final=bool(step.number & 1))
            elif step.action == 3:
                session.send_ping(data[:125])
            elif step.action == 4 and step.number > 28:
                session.send_close(1000, "bye")
            elif step.action == 5:
                session.hold_pongs(bool(step.number & 1))
        except LocalProtocolError:
            pass
        self.in_flight += session.data_to_send()

    def send(self, message: str | bytes) -> None:
        self.session.send_message(message)
        self.sent.append(message)

    def send_fragment(self, part: str, *, is_final: bool) -> None:
        self.session.send_fragment(part, is_final=is_final)
        self.fragments = [*(self.fragments or []), part]
        if is_final:
            self.sent.append("".join(self.fragments))
            self.fragments = None

    def receive_from(self, other: End, size: int) -> None:
        """Take so many bytes of what the other one has sent."""
        data = bytes(other.in_flight[:size])
        del other.in_flight[:size]
        self.session.receive_data(data)
        while (event := self.session.next_event()) is not NEED_DATA:
            if isinstance(event, BinaryReceived | TextReceived):
                self.got.append(event.data)
        self.in_flight += self.session.data_to_send()


def check(data: bytes) -> None:
    """The target."""
    bits, steps, wire = split(data)
    source = Wire(wire)
    client, server = (End(role, TERMS[bits], source) for role in (Role.CLIENT, Role.SERVER))
    for turn, step in enumerate(steps):
        ours, theirs = (client, server) if turn % 2 else (server, client)
        if step.action < 6:
            ours.step(step)
        else:
            ours.receive_from(theirs, step.size)
    client.session.hold_pongs(False)
    server.session.hold_pongs(False)
    while client.in_flight or server.in_flight:
        client.receive_from(server, len(server.in_flight))
        server.receive_from(client, len(client.in_flight))
    assert client.got == server.sent
    assert server.got == client.sent
    for end in (client, server):
        assert end.session.error is None
        assert end.session.unread == 0
    states = {client.session.state, server.session.state}
    assert states in ({SessionState.OPEN}, {SessionState.CLOSED}), states
