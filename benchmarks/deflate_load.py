"""What load.c does, for compressed messages: `python deflate_load.py PORT PID CONNECTIONS SIZE SECONDS`.

Prints "COUNT SECONDS CPU", as load.c does. Each connection sends a JSON message of SIZE bytes and waits for its echo. What
is sent was compressed before, as far as the server lets it with context takeover; what comes back is counted, not read.
Frames are binary, so that the same handlers serve as for all other rows.
"""

from __future__ import annotations

import functools
import json
import random
import re
import socket
import struct
import sys
import time
import zlib

WARM_UP = 0.2  # of the time that is measured
MESSAGES = 64
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)
WORDS = [
    "alpha",
    "order",
    "customer",
    "status",
    "pending",
    "shipped",
    "invoice",
    "total",
    "price",
    "quantity",
    "city",
    "user",
    "session",
    "token",
]


def json_message(numbers: random.Random, size: int) -> bytes:
    """A list of records, as an application might send them, cut to its size."""
    records: list[object] = []
    while len(text := json.dumps({"type": "update", "records": records})) < size:
        records.append(
            {
                "id": numbers.randrange(10**9),
                "symbol": numbers.choice(WORDS).upper(),
                "price": round(numbers.uniform(10, 500), 2),
                "side": numbers.choice(["buy", "sell"]),
                "note": " ".join(numbers.choices(WORDS, k=4)),
                "active": numbers.random() < 0.5,
            }
        )
    return text.encode("ascii")[:size]


@functools.cache
def json_messages(size: int) -> list[bytes]:
    numbers = random.Random(1)
    return [json_message(numbers, size) for _ in range(MESSAGES)]


def frame(payload: bytes) -> bytes:
    """A masked binary frame with RSV1, RFC 6455 §5.2; with a mask of zeros, which costs a server what any other does."""
    size = len(payload)
    head = (
        struct.pack("!BB", 0xC2, 0x80 | size) if size < 126 else struct.pack("!BBH", 0xC2, 0x80 | 126, size)
    )
    return head + b"\0\0\0\0" + payload


class Connection:
    def __init__(self, port: int, size: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            received = self._socket.recv(4096)
            if not received:
                raise EOFError(f"no handshake, but {answer!r}")
            answer += received
        if b"permessage-deflate" not in answer:
            raise ValueError("the server does not compress")
        bits = re.search(rb"client_max_window_bits=(\d+)", answer)
        context = zlib.compressobj(6, zlib.DEFLATED, -(int(bits[1]) if bits else 15))
        self._frames: list[bytes] = []
        # Each refers back to those before it, the first to none: after the last one they can be sent again.
        end = zlib.Z_FULL_FLUSH if b"client_no_context_takeover" in answer else zlib.Z_SYNC_FLUSH
        for message in json_messages(size):
            self._frames.append(frame((context.compress(message) + context.flush(end))[:-4]))
        self._sent = 0

    def send(self) -> None:
        self._socket.sendall(self._frames[self._sent % MESSAGES])
        self._sent += 1

    def receive(self) -> None:
        """Take in one frame, and nothing else is on the way."""
        data = self._socket.recv(65536)
        while len(data) < 4 or len(data) < frame_size(data):
            received = self._socket.recv(65536)
            if not received:
                raise EOFError("the server closed the connection")
            data += received
        if data[0] != 0xC2:
            raise ValueError(f"the server sent a frame that begins with {data[0]:#x}")


def frame_size(data: bytes) -> int:
    length = data[1]
    return 2 + length if length < 126 else 4 + int.from_bytes(data[2:4], "big")


def main() -> None:
    port, pid, count, size, seconds = sys.argv[1:]
    connections = [Connection(int(port), int(size)) for _ in range(int(count))]
    # The CPU-time clock of another process, as clock_getcpuclockid makes it.
    clock = (~int(pid) << 3) | 2

    def exchange_for(seconds: float) -> int:
        end, messages = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            for connection in connections:
                connection.send()
            for connection in connections:
                connection.receive()
            messages += len(connections)
        return messages

    exchange_for(float(seconds) * WARM_UP)
    start, cpu = time.monotonic(), time.clock_gettime(clock)
    messages = exchange_for(float(seconds))
    print(messages, time.monotonic() - start, time.clock_gettime(clock) - cpu)


if __name__ == "__main__":
    main()
