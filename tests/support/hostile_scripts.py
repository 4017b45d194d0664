"""What hostile peers say, and how they leave: hand-made, and made at random from a seed."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from typing import NamedTuple

from support import BINARY, CLOSE, CONT, KEY, MASK, PING, PONG, TEXT, frame, request_head, response_head

ENDINGS = ("close", "reset", "half-close")
PATHS = ("/", "/reject", "/slow", "/close", "/push")

REQUEST = request_head()

OPENINGS = [
    b"",
    b"\r\n" * 20,
    b"\x00",
    b"\xff" * 300,
    bytes(range(256)) * 100,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),  # a TLS ClientHello
    b"\x15\x03\x03\x00\x02\x02\x28",  # a TLS alert
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/1.1",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    b"GET  /  HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n Host: folded\r\n\r\n",
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"G" * 100_000,
    b"GET /" + b"a" * 100_000,
    b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000,
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    REQUEST.replace(b"GET", b"POST"),
    REQUEST.replace(b"GET", b"HEAD"),
    REQUEST.replace(b"/ ", b"http://[::1/ "),
    REQUEST.replace(b"/ ", b"* "),
    REQUEST.replace(b"/ ", b"/\xff\xfe "),
    REQUEST.replace(b"test", b"\x80"),
    REQUEST.replace(b"test", b"caf\xc3\xa9"),
    REQUEST.replace(b"13", b"8"),
    REQUEST.replace(b"13", b"13, 13"),
    REQUEST.replace(KEY, b"x"),
    REQUEST.replace(KEY, b"\xff" * 24),
    REQUEST.replace(b"websocket", b"\xffebsocket"),
    REQUEST.replace(b"Upgrade: websocket\r\n", b""),
    REQUEST.replace(b"Host", b"H\x00st"),
    REQUEST.replace(b"Host: test", b"Host: a\x00b"),
    REQUEST.replace(b"Host: test", b"Host: a\rb"),
    request_head("/", b"Sec-WebSocket-Protocol: \xff"),
    request_head("/", b"Sec-WebSocket-Protocol: ,,,"),
    request_head("/", b"Sec-WebSocket-Protocol: " + b"a," * 5000),
    request_head("/", b"Sec-WebSocket-Extensions: \xff; x"),
    request_head("/", b'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits="'),
    request_head("/", b"Content-Length: 1000000"),
    request_head("/", b"Content-Length: -1"),
    request_head("/", b"Transfer-Encoding: chunked") + b"ffffffffffffffff\r\n",
    request_head("/", b"Expect: 100-continue"),
    request_head("/", b"X-\xff: y"),
    REQUEST * 10,
    REQUEST + bytes(300_000),
]

ANSWERS = [
    b"",
    b"\x00" * 100,
    b"\x16\x03\x03\x00\x02\x02\x28",
    b"220 ready\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 200_000,
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nshort",
    b"HTTP/1.1 200 OK\r\nContent-Length: \xff\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
    b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: \xff\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n" * 2000,
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 999 \xff\xfe\r\n\r\n",
    b"HTTP/1.1 -1 x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000,
]


@functools.cache
def frames(mask: bytes | None) -> list[bytes]:
    """Frames by which a peer that masks like that goes wrong, or nearly does."""
    wrong_mask = None if mask else MASK
    bit, key = (0x80, mask) if mask else (0, b"")
    return [
        frame(TEXT, b"hello", mask=wrong_mask),
        *(frame(opcode, b"?", mask=mask) for opcode in (3, 7, 11, 15)),
        *(frame(TEXT, b"\xf2\x48\xcd\xc9\xc9\x07\x00", mask=mask, rsv=rsv) for rsv in range(1, 8)),
        frame(PING, b"", fin=False, mask=mask),
        frame(PING, bytes(126), mask=mask),
        frame(CLOSE, bytes(70_000), mask=mask),
        frame(CLOSE, b"", fin=False, mask=mask),
        *(
            frame(CLOSE, payload, mask=mask)
            for payload in (b"", b"\x03", b"\x00\x00", b"\x03\xed", b"\xff\xff")
        ),
        frame(CLOSE, b"\x03\xe8\xff\xfe", mask=mask),
        frame(CLOSE, b"\x03\xe8", mask=mask) + 100 * frame(PING, b"late", mask=mask) + bytes(50_000),
        frame(CLOSE, b"\x0f\xa0bye", mask=mask) * 2,
        frame(TEXT, b"\xff", mask=mask),
        frame(TEXT, b"\xce\xba\xed\xa0\x80", mask=mask),
        frame(TEXT, b"\xf0\x9f", fin=False, mask=mask) + frame(CONT, b"\x41", mask=mask),
        frame(CONT, b"lost", mask=mask),
        frame(TEXT, b"a", fin=False, mask=mask) * 2,
        frame(BINARY, b"a", fin=False, mask=mask) + frame(TEXT, b"b", mask=mask),
        bytes([0x82, bit | 126, 0, 5]) + key + b"12345",  # a length that is not minimal
        bytes([0x82, bit | 127, 0, 0, 0, 0, 0, 0, 255, 255]) + key,
        bytes([0x82, bit | 127]) + (2**63).to_bytes(8, "big") + key,
        bytes([0x82, bit | 127]) + (2**63 - 1).to_bytes(8, "big") + key + bytes(10_000),
        bytes([0x82, bit | 127]) + (2**20 + 1).to_bytes(8, "big") + key,
        bytes([0x89, bit | 127]) + (2**64 - 1).to_bytes(8, "big") + key,
        frame(BINARY, bytes(2**20 + 1), mask=mask),
        frame(BINARY, bytes(2**20), mask=mask),
        frame(BINARY, bytes(2**19), fin=False, mask=mask) + frame(CONT, bytes(2**19 + 1), mask=mask),
        frame(TEXT, fin=False, mask=mask) + 66_000 * frame(CONT, fin=False, mask=mask),
        1000 * frame(PING, bytes(125), mask=mask),
        1000 * frame(PONG, bytes(125), mask=mask),
        200 * frame(TEXT, b"hello", mask=mask),
        bytes(2000),
        b"\xff" * 2000,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x81",
        b"\x81\xfe\x00",
    ]


class Script(NamedTuple):
    """What one peer does."""

    pieces: list[bytes]
    """What it sends, one after the other."""
    ending: str
    """One of ENDINGS."""
    is_patient: bool
    """Whether it lets others run between the pieces, and reads before it leaves if it can."""


def random_frames(chance: random.Random, mask: bytes | None) -> bytes:
    """A few frames: right ones, hand-made ones, and some with bytes changed."""
    # What is large is for the hand-made scripts: it would leave no time for thousands.
    made = [each for each in frames(mask) if len(each) < 10_000]
    data = b""
    for _ in range(chance.randrange(1, 6)):
        kind = chance.random()
        if kind < 0.5:
            opcode = chance.choice([TEXT, BINARY, PING, PONG, CONT, CLOSE])
            data += frame(opcode, chance.randbytes(chance.choice([0, 2, 10, 125, 3000])), mask=mask)
        elif kind < 0.7:
            data += frame(TEXT, b"hello", fin=chance.random() < 0.5, mask=mask)
        else:
            data += chance.choice(made)
    return mutated(chance, data) if chance.random() < 0.3 else data


def mutated(chance: random.Random, data: bytes) -> bytes:
    """`data` with some bytes changed, left out, or put in."""
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(3)
        if kind == 0:
            changed[at : at + 1] = chance.randbytes(1)
        elif kind == 1:
            del changed[at : at + chance.randrange(1, 20)]
        else:
            changed[at:at] = chance.choice([b"\xff", b"\x00", b"\r\n", b"\n\n", b": ", chance.randbytes(5)])
    return bytes(changed)


def cut(chance: random.Random, data: bytes) -> list[bytes]:
    """`data` in pieces, perhaps without its end."""
    if chance.random() < 0.3:
        data = data[: chance.randrange(len(data) + 1)]
    if chance.random() < 0.05:
        return [data[at : at + 1] for at in range(min(len(data), 100))]  # a dribble
    pieces = []
    while data and chance.random() < 0.7:
        size = chance.randrange(len(data)) + 1
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data] if data else pieces


def random_client(seed: int) -> Script:
    """A client, always the same for a seed."""
    chance = random.Random(seed)
    kind = chance.random()
    request = request_head(chance.choice(PATHS))
    if kind < 0.15:
        data = chance.choice(OPENINGS)[:20_000]
    elif kind < 0.4:
        data = mutated(chance, request)
    else:
        data = request
    data += random_frames(chance, MASK)
    return Script(cut(chance, data), chance.choice(ENDINGS), chance.random() < 0.5)


def made_clients() -> Iterator[Script]:
    """Each hand-made opening, and each hand-made frame behind a right one, with each ending."""
    for ending in ENDINGS:
        for is_patient in (False, True):
            for opening in OPENINGS:
                yield Script([opening], ending, is_patient)
            for data in frames(MASK):
                yield Script([REQUEST, data], ending, is_patient)
            for size in range(0, len(REQUEST), 10):
                yield Script([REQUEST[:size]], ending, is_patient)


def random_server(seed: int, request: bytes) -> Script:
    """A server's answer to a request, always the same for a seed, but for the request's key."""
    chance = random.Random(seed)
    kind = chance.random()
    answer = response_head(request) if request else b"HTTP/1.1 101 \r\n\r\n"
    if kind < 0.15:
        data = chance.choice(ANSWERS)[:20_000]
    elif kind < 0.4:
        data = mutated(chance, answer)
    else:
        data = answer
    data += random_frames(chance, None)
    return Script(cut(chance, data), chance.choice(ENDINGS), chance.random() < 0.5)


def made_server(number: int, request: bytes) -> Script:
    """A hand-made answer, or hand-made frames behind a right one."""
    number, ending = divmod(number, len(ENDINGS))
    number, is_patient = divmod(number, 2)
    pieces = (
        [ANSWERS[number]]
        if number < len(ANSWERS)
        else [response_head(request), frames(None)[number - len(ANSWERS)]]
    )
    return Script(pieces, ENDINGS[ending], bool(is_patient))


MADE_SERVERS = (len(ANSWERS) + len(frames(None))) * len(ENDINGS) * 2
