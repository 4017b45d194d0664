"""Whatever bytes come, a session gives events or raises RemoteProtocolError, the same over both kernels.

And it keeps its word: it only ever goes on towards its end, holds no more than it may, and sends whole frames, with nothing
behind a close frame.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final
from unittest import mock

from inputs import Outcome, Step, Wire, outcome, split

from trio_websocket._kernel import FrameDecoder
from trio_websocket.protocol import (
    NEED_DATA,
    BinaryReceived,
    LocalProtocolError,
    PerMessageDeflate,
    RemoteProtocolError,
    Role,
    Session,
    SessionState,
    TextReceived,
)

TWINS: Final = [importlib.import_module(f"trio_websocket._kernel.{name}") for name in ("_py", "_cy")]
SESSION: Final = importlib.import_module("trio_websocket.protocol._session")
STATES: Final = list(SessionState)
# With less memory than isal takes, so zlib compresses. What isal makes of a message depends on what was in its memory before, so
# that twice the same message may come to different bytes.
COMPRESSION: Final = PerMessageDeflate(threshold=10, memory_level=7)
MAX_MESSAGE_SIZE: Final = 100_000
MAX_UNREAD: Final = 2**20
# A header, its masking key and the payload of a control frame.
MAX_WAITING: Final = 14 + 125
CLOSE: Final = 8
# What each step may raise.
ALLOWED: Final[list[set[type]]] = [
    {LocalProtocolError},
    set(),
    set(),
    {RemoteProtocolError},
    {RemoteProtocolError},
    {LocalProtocolError, RemoteProtocolError, ValueError},
    set(),
    set(),
]
# To the end: all that came, and the end itself.
LAST: Final = [Step(4, 25), Step(7, 31), Step(4, 0), Step(7, 0)]


class Run:
    """A session over one kernel."""

    def __init__(self, kernel: Any, role: Role, compression: PerMessageDeflate | None, wire: bytes) -> None:
        self.wire = Wire(wire)
        # RFC 7692 §6: the first frame of a compressed message is marked.
        self.marks = {0} if compression is None else {0, 4}
        self.text = wire[:200].decode("latin-1")
        self.sent = FrameDecoder()
        self.is_close_sent = False
        self.state = SessionState.OPEN
        self.receivers: list[int | None] = []
        self.told: list[tuple[Any, ...]] = []
        with mock.patch.multiple(SESSION, FrameDecoder=kernel.FrameDecoder, Intake=kernel.Intake):
            self.session = Session(
                role,
                max_message_size=MAX_MESSAGE_SIZE,
                max_fragments=20,
                compression=compression,
                random_bytes=bytes,
            )
            messages = kernel.MessageQueue(1, 1000)
            self.intake = self.session.make_intake(messages, self.receivers, self.tell, self.tell)

    def tell(self, *what: Any) -> None:
        """What the intake calls."""
        self.told.append(what)

    def take_in(self, number: int, size: int) -> None:
        """Give bytes the short way, with somebody who waits for a message, or not."""
        if number & 1:
            self.receivers.append(number)
        self.intake.receive_data(self.wire.take(size))

    def step(self, step: Step) -> Outcome:
        """Do something, and tell what came of it."""
        session, number, size = self.session, step.number, step.size
        steps: list[Callable[[], Any]] = [
            lambda: session.receive_data(self.wire.take(size)),
            lambda: self.take_in(number, size),
            self.fill if session.is_filling else session.next_message,
            session.next_event,
            lambda: self.pull(size),
            lambda: self.send(number, size),
            lambda: session.hold_pongs(bool(number & 1)),
            lambda: session.receive_eof() if number == 31 else self.take_sent(),
        ]
        result = outcome(steps[step.action])
        self.check(step.action, result)
        return result

    def fill(self) -> int:
        """Receive to where a large message is collected."""

        def receive(view: memoryview) -> int:
            data = self.wire.take(len(view))
            view[: len(data)] = data
            return len(data)

        return self.session.fill(receive)

    def pull(self, size: int) -> list[Any]:
        """Receive, and take all events."""
        if self.session.unread <= MAX_UNREAD:
            self.session.receive_data(self.wire.take(size))
        events: list[Any] = []
        while (event := self.session.next_event()) is not NEED_DATA:
            events.append(event)
            if isinstance(event, BinaryReceived | TextReceived):
                assert len(event.data) <= MAX_MESSAGE_SIZE
        assert self.session.unread <= MAX_WAITING
        return events

    def send(self, number: int, size: int) -> Any:
        """Send one of all that can be sent."""
        session = self.session
        data = self.text[: size % 126]
        sends: list[Callable[[], Any]] = [
            lambda: session.send_message(data),
            lambda: session.send_message(data.encode() * 500),
            lambda: session.message_to_send(data),
            lambda: session.send_fragment(data, is_final=number > 15),
            lambda: session.send_ping(bytes(size % 126)),
            lambda: session.send_pong(bytes(size % 126)),
            lambda: session.send_close(1000 + number, "bye"),
            lambda: session.close_reason,
        ]
        sent = sends[number % 8]()
        if isinstance(sent, bytes):
            self.check_sent(sent)
        return sent

    def take_sent(self) -> bytes:
        """Send what is queued."""
        data = self.session.data_to_send()
        self.check_sent(data)
        return data

    def check_sent(self, data: bytes) -> None:
        """Only whole frames are sent, and a close frame is the last one."""
        self.sent.receive_data(data)
        while header := self.sent.read_header():
            assert not self.is_close_sent
            assert (header.mask is not None) == (self.session.role is Role.CLIENT)
            assert header.rsv in self.marks
            assert header.is_minimal
            assert self.sent.read_payload() is not None
            self.is_close_sent = header.opcode == CLOSE
        assert self.sent.unread == 0

    def check(self, action: int, result: Outcome) -> None:
        """Whatever has happened, this is so."""
        session = self.session
        if issubclass(result[0], Exception):
            assert result[0] in ALLOWED[action], (action, result)
        assert STATES.index(session.state) >= STATES.index(self.state)
        self.state = session.state
        assert session.is_open == (session.state is SessionState.OPEN)
        assert (session.close_reason is None) == session.is_open
        if session.error is not None or session.close_received is not None:
            assert session.state is SessionState.CLOSED
        if session.error is not None:
            assert outcome(session.next_event)[0] is RemoteProtocolError
        if session.state is SessionState.CLOSED:
            assert session.unread == 0

    def facts(self) -> tuple[Any, ...]:
        """What can be seen of a session."""
        session = self.session
        reasons = session.close_reason, session.close_sent, session.close_received, str(session.error)
        facts = session.state, session.unread, session.is_filling, session.initiator, reasons
        return *facts, self.told, len(self.receivers)


def check(data: bytes) -> None:
    """The target."""
    bits, steps, wire = split(data)
    role = Role.SERVER if bits & 2 else Role.CLIENT
    runs = [Run(kernel, role, COMPRESSION if bits & 1 else None, wire) for kernel in TWINS]
    for step in [*steps, *LAST]:
        outcomes = [run.step(step) for run in runs]
        assert outcomes[0] == outcomes[1], (step, outcomes)
        facts = [run.facts() for run in runs]
        assert facts[0] == facts[1], (step, facts)
