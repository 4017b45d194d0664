"""What load.c does, for wss: `python tls_load.py PORT PID CONNECTIONS SIZE SECONDS AUTHORITY [raw]`.

Prints "COUNT SECONDS CPU", as load.c does. All connections send a message, then all read their echoes. It costs more than
the server that it measures: only the CPU time of process PID says something.
"""

from __future__ import annotations

import socket
import ssl
import struct
import sys
import time

WARM_UP = 0.2  # of the time that is measured
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def open_connection(port: int, context: ssl.SSLContext, *, is_raw: bool) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = context.wrap_socket(plain, server_hostname="127.0.0.1")
    if is_raw:
        return connection
    connection.sendall(REQUEST)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        received = connection.recv(4096)
        if not received:
            raise EOFError(f"no handshake, but {answer!r}")
        answer += received
    return connection


def make_message(size: int) -> bytes:
    """A masked binary message, RFC 6455 §5.2."""
    if size < 126:
        header = struct.pack("!BB", 0x82, 0x80 | size)
    elif size < 2**16:
        header = struct.pack("!BBH", 0x82, 0x80 | 126, size)
    else:
        header = struct.pack("!BBQ", 0x82, 0x80 | 127, size)
    return header + b"\x11" * 4 + bytes([ord("a") ^ 0x11]) * size


def exchange(connections: list[ssl.SSLSocket], message: bytes, reply_size: int) -> int:
    for connection in connections:
        connection.sendall(message)
    buffer = memoryview(bytearray(reply_size))
    for connection in connections:
        missing = reply_size
        while missing:
            received = connection.recv_into(buffer[:missing])
            if not received:
                raise EOFError("the server closed the connection")
            missing -= received
    return len(connections)


def main() -> None:
    port, pid, count, size, seconds, authority, *raw = sys.argv[1:]
    context = ssl.create_default_context(cafile=authority)
    connections = [open_connection(int(port), context, is_raw=bool(raw)) for _ in range(int(count))]
    message = b"a" * int(size) if raw else make_message(int(size))
    # What a server sends is the same without the mask.
    reply_size = len(message) - (0 if raw else 4)
    # The CPU-time clock of another process, as clock_getcpuclockid makes it.
    clock = (~int(pid) << 3) | 2

    def exchange_for(seconds: float) -> int:
        end, messages = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            messages += exchange(connections, message, reply_size)
        return messages

    exchange_for(float(seconds) * WARM_UP)
    start, cpu = time.monotonic(), time.clock_gettime(clock)
    messages = exchange_for(float(seconds))
    print(messages, time.monotonic() - start, time.clock_gettime(clock) - cpu)
    for connection in connections:
        connection.close()


if __name__ == "__main__":
    main()
