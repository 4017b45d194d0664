"""Whatever bytes come in an opening handshake, either role gives an event, waits, or raises RemoteProtocolError.

The same however they are cut; and it holds no more than it may, and what it sends is one right head of HTTP.
"""

from __future__ import annotations

from typing import Any, Final

from inputs import Step, split

from trio_websocket.protocol import (
    NEED_DATA,
    ClientHandshake,
    HandshakeCompleted,
    PerMessageDeflate,
    RemoteProtocolError,
    RequestReceived,
    ResponseRejected,
    ServerHandshake,
)

MAX_HEADER_SIZE: Final = 600
MAX_BODY_SIZE: Final = 100
# What each role may keep of what was not looked at yet: the bound, and what came with one call.
MAX_KEPT: Final = 2**20 + 2000
SUBPROTOCOLS: Final = ("chat", "v2")


class Outcome:
    """What a handshake came to."""

    def __init__(self) -> None:
        self.event: Any = None
        self.error: RemoteProtocolError | None = None

    @property
    def kind(self) -> Any:
        """What has to be the same however the bytes are cut."""
        if self.error is not None:
            return self.error.status_code
        if isinstance(self.event, ResponseRejected):
            # Of a malformed body, more may be seen before its fault is.
            return self.event.status_code, self.event.headers
        return self.event


def make(is_server: bool) -> ClientHandshake | ServerHandshake:
    if is_server:
        return ServerHandshake(compression=True, max_header_size=MAX_HEADER_SIZE)
    return ClientHandshake(
        host="test",
        resource="/",
        subprotocols=SUBPROTOCOLS,
        compression=True,
        random_bytes=bytes,
        max_header_size=MAX_HEADER_SIZE,
        max_body_size=MAX_BODY_SIZE,
    )


def run(is_server: bool, wire: bytes, steps: list[Step]) -> Outcome:
    """Give it the bytes, cut by the plan, and the end."""
    handshake = make(is_server)
    outcome = Outcome()
    sent = handshake.data_to_send()
    position = 0
    try:
        for size in [*(step.size for step in steps), len(wire)]:
            handshake.receive_data(wire[position : position + size])
            position += size
            event = handshake.next_event()
            if event is not NEED_DATA:
                assert outcome.event is None, "two events"
                outcome.event = event
            assert len(handshake.trailing_data) <= MAX_KEPT
        if isinstance(handshake, ServerHandshake) and outcome.event is not None:
            answer(handshake, outcome.event)
        else:
            handshake.receive_eof()
            event = handshake.next_event()
            outcome.event = event if outcome.event is None and event is not NEED_DATA else outcome.event
    except RemoteProtocolError as error:
        outcome.error = error
    assert str(outcome.error).isascii()
    assert len(str(outcome.error)) < 1000
    if isinstance(handshake, ClientHandshake):
        check_request(sent)
        assert handshake.data_to_send() == b""
    else:
        assert sent == b""
        check_response(handshake.data_to_send(), outcome)
    return outcome


def answer(handshake: ServerHandshake, event: RequestReceived) -> None:
    assert event.path.startswith("/")
    assert event.path.isascii()
    handshake.accept(subprotocol=event.subprotocols[0] if event.subprotocols else None)


def check_request(sent: bytes) -> None:
    assert sent.startswith(b"GET / HTTP/1.1\r\n")
    assert sent.find(b"\r\n\r\n") == len(sent) - 4


def check_response(sent: bytes, outcome: Outcome) -> None:
    """Nothing that the client said has made more lines of the answer."""
    head, _, body = sent.partition(b"\r\n\r\n")
    status = None if outcome.event is None else 101
    if outcome.error is not None:
        status = outcome.error.status_code
    if status is None:
        assert not sent
        return
    lines = head.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 %d" % status)
    names = [line.partition(b":")[0].lower() for line in lines[1:]]
    assert len(set(names)) == len(names), names
    assert set(names) <= KNOWN, names
    assert body.isascii()


KNOWN: Final = {
    b"upgrade",
    b"connection",
    b"sec-websocket-accept",
    b"sec-websocket-protocol",
    b"sec-websocket-extensions",
    b"sec-websocket-version",
    b"allow",
    b"content-type",
    b"content-length",
}


def check(data: bytes) -> None:
    """The target."""
    bits, steps, wire = split(data)
    whole, pieces = (run(bool(bits & 1), wire, plan) for plan in ([], steps))
    assert whole.kind == pieces.kind, (whole.kind, pieces.kind)
    if isinstance(whole.event, HandshakeCompleted):
        assert whole.event.subprotocol in {None, *SUBPROTOCOLS}
        assert isinstance(whole.event.compression, PerMessageDeflate | None)
    if isinstance(whole.event, ResponseRejected):
        assert len(whole.event.body or b"") <= MAX_BODY_SIZE
