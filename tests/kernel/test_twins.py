"""Both kernels are given the same, cut at the same places, and must do the same: each result, each error, each fact."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from fakes import receive
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MASK, frame

Outcome = tuple[type, Any]

PAYLOADS = st.binary(max_size=40) | st.text(max_size=30).map(lambda text: text.encode())
SIZES = st.sampled_from([0, 125, 126, 127, 1000, 65535, 65536, 65537, 70_000, 300_001])
MASKS = st.none() | st.binary(min_size=4, max_size=4)


def outcome(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Outcome:
    try:
        result = function(*arguments, **keywords)
    except Exception as error:
        return type(error), None
    return type(result), result


class Large(NamedTuple):
    """A large message, told by what makes it."""

    opcode: int
    size: int
    is_text: bool
    mask: bytes | None

    def wire(self) -> bytes:
        payload = random.Random(self.size).randbytes(self.size)
        if self.is_text:
            payload = bytes(byte & 0x7F for byte in payload[:2000]) * (self.size // 2000)
        return frame(self.opcode, payload, mask=self.mask)


@st.composite
def wires(draw: st.DrawFn) -> list[bytes | Large]:
    """Frames of every kind, most of them right ones, and headers that promise too much."""
    parts: list[bytes | Large] = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.sampled_from(["message", "message", "frame", "large", "length", "junk"]))
        if kind == "message":
            parts.append(frame(draw(st.integers(1, 2)), draw(PAYLOADS), mask=draw(MASKS)))
        elif kind == "frame":
            fields: dict[str, Any] = {
                "fin": draw(st.booleans()),
                "rsv": draw(st.integers(0, 7)),
                "mask": draw(MASKS),
            }
            parts.append(frame(draw(st.integers(0, 15)), draw(PAYLOADS), **fields))
        elif kind == "large":
            parts.append(Large(draw(st.integers(1, 2)), draw(SIZES), draw(st.booleans()), draw(MASKS)))
        elif kind == "length":
            length = draw(st.integers(0, 2**64 - 1) | st.sampled_from([2**31, 2**63 - 1, 2**63, 2**64 - 1]))
            parts.append(bytes([0x82, 0x7F | draw(st.sampled_from([0, 0x80]))]) + length.to_bytes(8, "big"))
        else:
            parts.append(draw(st.binary(max_size=20)))
    return parts


STEPS = st.one_of(
    st.tuples(st.just("receive"), st.integers(0, 30) | st.sampled_from([300, 65536, 200_000])),
    st.tuples(st.just("fill"), st.integers(-1, 30) | st.sampled_from([300, 65536, 10**7])),
    st.tuples(st.just("message"), st.booleans(), st.sampled_from([0, 30, 1000, 2**20, 2**63 - 1])),
    st.tuples(
        st.sampled_from(["intake", "inlet"]),
        st.integers(1, 30) | st.sampled_from([300, 16384, 65536]),
        st.sampled_from([0, 1, None]),
    ),
    st.tuples(st.sampled_from(["header", "payload", "part", "header", "payload", "plain"])),
    st.tuples(st.sampled_from(["exchange", "exchange", "take", "put_back"])),
)


Sockets = tuple[socket.socket, socket.socket]


@pytest.fixture(scope="module")
def sockets() -> Iterator[Sockets]:
    """What all runs read from and write to, one after the other."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**18)
        yield ours, theirs


class Run:
    """One kernel's decoder, and where in the wire it is."""

    def __init__(self, kernel: Any, wire: list[bytes | Large], sockets: Sockets) -> None:
        self.decoder = kernel.FrameDecoder()
        self.messages = kernel.MessageQueue(2, 500)
        self.receivers: list[int | None] = []
        self.told: list[tuple[Any, ...]] = []
        self.intake = kernel.Intake(
            *(self.decoder, True, 1000, self.messages, self.receivers),
            *(lambda *what: self.told.append(what), self.take_in),
        )
        ours, self.theirs = sockets
        self.inlet = kernel.Inlet(ours.fileno(), 65536, 16384)
        self.inlet.owner, self.inlet.intake = self, self.intake
        self.wire = b"".join(part.wire() if isinstance(part, Large) else part for part in wire)
        self.position = 0

    def take(self, size: int) -> bytes:
        data = self.wire[self.position : self.position + size]
        self.position += len(data)
        return data

    def take_in(self, message: str | bytes | None) -> None:
        self.told.append((message,))
        if message is not None:
            self.messages.put(message)

    def read_on(self, size: int) -> None:
        self.told.append(("more", size))

    def read_failed(self, error: Exception) -> None:
        self.told.append((type(error),))

    def receive(self, view: memoryview, size: int) -> int:
        if size < 0:
            raise BlockingIOError
        data = self.take(min(size, len(view)))
        view[: len(data)] = data
        return len(data)

    def go_short_way(self, name: str, size: int, receiver: int | None) -> Any:
        if receiver != 0:
            self.receivers.append(receiver)
        if name == "intake":
            return self.intake.receive_data(self.take(size))
        self.theirs.send(self.take(size))
        return self.inlet.read(memoryview(bytearray(65536)))

    def step(self, name: str, *arguments: Any) -> Any:
        decoder = self.decoder
        if name == "receive":
            return decoder.receive_data(self.take(*arguments))
        if name in {"intake", "inlet"}:
            return self.go_short_way(name, *arguments)
        if name == "plain":
            decoder.is_plain = not decoder.is_plain
            return None
        if name == "fill":
            return decoder.fill(lambda view: self.receive(view, *arguments))
        if name == "message":
            return decoder.read_message(*arguments)
        reads = {
            "header": decoder.read_header,
            "payload": decoder.read_payload,
            "part": decoder.read_part,
            "close": decoder.close,
            "exchange": lambda: self.intake.exchange() if self.messages else None,
            "take": self.messages.take,
            "put_back": lambda: self.messages.put_back("gr\xfc\xdfe"),
        }
        return reads[name]()

    def facts(self) -> tuple[Any, ...]:
        decoder = self.decoder
        return (
            *(self.position, decoder.remaining, decoder.unread, decoder.is_filling, decoder.is_plain),
            *(self.inlet.is_alive, self.told, self.receivers),
            *(len(self.messages), self.messages.size, self.messages.is_full, self.messages.is_heavy),
        )


def check_step(runs: tuple[Run, Run], *step: Any) -> Outcome:
    first, second = (outcome(run.step, *step) for run in runs)
    assert first == second
    assert runs[0].facts() == runs[1].facts()
    return first


@pytest.mark.slow
@given(wire=wires(), steps=st.lists(STEPS, max_size=60))
@settings(max_examples=400)
def test_the_twins_read_the_same(
    plain: Any, compiled: Any, sockets: Sockets, wire: list[bytes | Large], steps: list[Any]
) -> None:
    runs = Run(plain, wire, sockets), Run(compiled, wire, sockets)
    for step in [*steps, ("close",), ("receive", 300), ("header",), ("intake", 300, 1), ("inlet", 300, 1)]:
        check_step(runs, *step)


@pytest.mark.slow
@given(
    wire=wires(),
    sizes=st.lists(st.integers(1, 40) | st.integers(1000, 100_000), min_size=1, max_size=6),
    is_masked=st.booleans(),
)
@settings(max_examples=200)
def test_the_twins_read_whole_streams_the_same(
    plain: Any, compiled: Any, sockets: Sockets, wire: list[bytes | Large], sizes: list[int], is_masked: bool
) -> None:
    runs = Run(plain, wire, sockets), Run(compiled, wire, sockets)
    for turn, size in enumerate([*sizes, 100_000] * 20):
        is_filled = runs[0].decoder.is_filling and turn % 3
        check_step(runs, "fill" if is_filled else "receive", size)
        # As a session does it: the quick way as long as it goes, else header and payload.
        while check_step(runs, "message", is_masked, 2**20)[1] is not None or (
            check_step(runs, "header")[1] is not None and check_step(runs, "payload")[1] is not None
        ):
            pass
        check_step(runs, "payload")


@given(
    opcode=st.integers(0, 15),
    payload=PAYLOADS | st.text(),
    fin=st.booleans(),
    rsv=st.integers(0, 7),
    mask=st.none() | st.binary(max_size=5) | st.just(MASK),
)
def test_the_twins_write_the_same(plain: Any, compiled: Any, **frame: Any) -> None:
    assert outcome(compiled.encode_frame, **frame) == outcome(plain.encode_frame, **frame)
    message = frame["payload"], 20, frame["mask"]
    assert outcome(compiled.encode_message, *message) == outcome(plain.encode_message, *message)


@given(
    opcode=st.integers(0, 15),
    size=st.integers(-1, 2**64) | SIZES,
    fin=st.booleans(),
    rsv=st.integers(0, 7),
    mask=st.none() | st.binary(max_size=5) | st.just(MASK),
)
def test_the_twins_write_the_same_headers(plain: Any, compiled: Any, **header: Any) -> None:
    assert outcome(compiled.encode_header, **header) == outcome(plain.encode_header, **header)


@given(
    data=PAYLOADS,
    mask=st.binary(max_size=5) | st.just(MASK),
    offset=st.integers(0, 2**63 - 1),
)
def test_the_twins_mask_the_same(plain: Any, compiled: Any, data: bytes, mask: bytes, offset: int) -> None:
    assert outcome(compiled.apply_mask, data, mask, offset) == outcome(plain.apply_mask, data, mask, offset)


class OutRun:
    """One kernel's two outlets, which send to one socket each, and what they told."""

    def __init__(self, kernel: Any, sockets: list[Sockets]) -> None:
        self.turns = kernel.Turns()
        self.sockets = sockets
        self.told: list[Any] = []
        self.outlets = [kernel.Outlet(ours.fileno(), self.turns, self) for ours, _ in sockets]
        for outlet in self.outlets:
            outlet.max_size, outlet.max_backlog = 1000, 500

    def put_off(self) -> None:
        self.told.append("put off")

    def send_outgoing(self) -> None:
        self.told.append("send outgoing")
        self.drop()

    def drain(self) -> None:
        self.told.append("drain")
        self.drop()

    def drop(self) -> None:
        for outlet in self.outlets:
            outlet.outgoing.clear()
            outlet.backlog = 0

    def keep_rest(self, data: bytes, sent: int) -> None:
        self.told.append(("rest", data, sent))

    def send_failed(self, error: OSError) -> None:
        self.told.append(type(error))

    def step(self, which: int, name: str, *arguments: Any) -> Any:
        outlet = self.outlets[which]
        if name == "turn":
            self.turns.count += 1
        elif name == "cork":
            self.turns.is_corked = self.turns.will_flush = not self.turns.is_corked
        elif name == "will flush":
            self.turns.will_flush = self.turns.is_corked or not self.turns.will_flush
        elif name == "flush":
            self.turns.flush()
        elif name == "block":
            outlet.is_blocked = not outlet.is_blocked
        elif name == "mask":
            outlet.random_bytes = None if outlet.random_bytes else lambda _: MASK
        else:
            return getattr(outlet, name)(*arguments)
        return None

    def facts(self) -> tuple[Any, ...]:
        arrived = [receive(theirs) for _, theirs in self.sockets]
        states = [(outlet.outgoing, outlet.backlog, outlet.is_blocked) for outlet in self.outlets]
        return arrived, states, self.told, self.turns.count, self.turns.is_corked, self.turns.is_burst


SENDS = st.one_of(
    st.tuples(st.just("send"), st.binary(min_size=1, max_size=30) | st.just(bytes(70_000))),
    st.tuples(st.just("send_message"), PAYLOADS | st.text(max_size=10) | st.just(bytes(400)) | st.none()),
    st.tuples(st.sampled_from(["turn", "cork", "will flush", "flush", "block", "mask", "close"])),
)


@given(steps=st.lists(st.tuples(st.integers(0, 1), SENDS), max_size=40))
def test_the_twins_send_the_same(plain: Any, compiled: Any, steps: list[tuple[int, tuple[Any, ...]]]) -> None:
    with contextlib.ExitStack() as stack:
        runs = []
        for kernel in plain, compiled:
            pairs = [socket.socketpair() for _ in range(2)]
            for sock in itertools.chain(*pairs):
                stack.enter_context(sock).setblocking(False)
            runs.append(OutRun(kernel, pairs))
        for which, step in [*steps, (0, ("flush",))]:
            first, second = (outcome(run.step, which, *step) for run in runs)
            assert first == second
            assert runs[0].facts() == runs[1].facts()


LINES = st.one_of(
    st.sampled_from([b"Host: h\r\n", b"UPGRADE: websocket\r\n", b"a:\r\n", b"\r\n", b"\n", b" b\r\n"]),
    st.text("aZ-:\t \r\n\x00\x7f\xff(", max_size=8).map(lambda text: text.encode("latin-1") + b"\r\n"),
    st.binary(max_size=6),
)


@given(
    lines=st.lists(LINES, max_size=5), start=st.integers(0, 12), end=st.sampled_from([b"\r\n", b"\n", b""])
)
def test_the_twins_read_the_same_fields(
    plain: Any, compiled: Any, lines: list[bytes], start: int, end: bytes
) -> None:
    head = b"".join(lines) + end
    assert outcome(compiled.read_fields, head, start) == outcome(plain.read_fields, head, start)


REQUEST = [
    *(
        b"Host: h\r\n",
        b"Upgrade: websocket\r\n",
        b"Sec-WebSocket-Version: 13\r\n",
    ),
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
]

LISTS = [b"Sec-WebSocket-Protocol: a, b\r\n", b"sec-websocket-extensions:x\r\n"]


@given(
    lines=st.permutations(REQUEST),
    options=st.lists(st.sampled_from([b"Upgrade", b"upgrade", b"", b" ", b"\t", b"up", b"x"]), max_size=4),
    more=st.lists(LINES | st.sampled_from(LISTS), max_size=2),
    at=st.integers(0, 200),
    byte=st.binary(max_size=1),
    max_fields=st.integers(4, 7),
)
def test_the_twins_read_the_same_requests(
    plain: Any,
    compiled: Any,
    lines: list[bytes],
    options: list[bytes],
    more: list[bytes],
    at: int,
    byte: bytes,
    max_fields: int,
) -> None:
    connection = b"Connection: " + b",".join([*options, b"Upgrade"]) + b"\r\n"
    head = b"GET / HTTP/1.1\r\n" + b"".join([connection, *lines, *more]) + b"\r\n"
    for each in (head, head[:at] + byte + head[at + 1 :]):
        assert outcome(compiled.read_request, each, max_fields) == outcome(
            plain.read_request, each, max_fields
        )


def test_the_twins_share_the_type_of_headers(plain: Any, compiled: Any) -> None:
    assert compiled.FrameHeader is plain.FrameHeader
    assert compiled.Buffer is plain.Buffer
    assert compiled.__all__ == plain.__all__
