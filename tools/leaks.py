"""Sends millions of frames through the compiled kernel, by every path, and looks for memory that is not given back.

    python tools/leaks.py [MILLIONS-OF-FRAMES]

Python takes all its memory from malloc here, whose books (mallinfo2) are exact to the byte: one object that is lost once
in a thousand rounds shows. The resident set is told as well. Needs glibc 2.33 or newer.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

LIBC: Final = ctypes.CDLL(None)
MASK: Final = b"\x12\x34\x56\x78"
FRAMES_A_ROUND: Final = 30
PARTS: Final = 10
# Python keeps a few freed objects of some types for their next use, and malloc counts them.
TOLERANCE: Final = 4096


class Mallinfo(ctypes.Structure):
    """What mallinfo2() returns."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    ]


def used() -> int:
    """Bytes that were taken from malloc and not given back."""
    gc.collect()
    LIBC.mallinfo2.restype = Mallinfo
    info = LIBC.mallinfo2()
    return int(info.uordblks + info.hblkhd)


def resident() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()


def read_small(kernel: ModuleType) -> None:
    """Messages and other frames, whole and in pieces, right and wrong: 14 frames."""
    decoder = kernel.FrameDecoder()
    texts = ["", "short", "x" * 300, "gr\u00fc\u00df", "\u6771" * 200]
    wire = b"".join(kernel.encode_frame(1, text, mask=MASK) for text in texts)
    for start in range(0, len(wire), 97):
        decoder.receive_data(memoryview(wire)[start : start + 97])
        while decoder.read_message(True, 1000) is not None:
            pass
    for payload in (b"", b"short", bytearray(b"x" * 300), memoryview(b"x" * 5000)):
        decoder.receive_data(bytearray(kernel.encode_frame(2, payload)))
        decoder.read_message(False, 10**6)
    # Not UTF-8, too large, of another kind: taken apart.
    for frame in (b"\x81\x82abcd\xff\xff", b"\x82\x7e\x04\x00" + bytes(1024), b"\x89\x05hello"):
        decoder.receive_data(frame)
        decoder.read_message(frame[1] >= 0x80, 1000)
        decoder.read_header()
        decoder.read_payload()
    # Cut off in a payload, and in a header.
    decoder.receive_data(b"\x82\xfe\x04\x00abcd" + bytes(500))
    decoder.read_header()
    decoder.read_part()
    decoder.receive_data(bytes(200))
    decoder.read_payload()
    decoder.close()
    decoder.receive_data(b"\x82\xfe\x04\x00" * 100)


def fail(_: memoryview) -> int:
    raise ZeroDivisionError


def read_large(kernel: ModuleType, size: int = 300_000) -> None:
    """Payloads that are collected, to their end or not: 4 frames."""
    wire = kernel.encode_frame(2, bytes(size), mask=MASK)
    for step in ("fill", "receive", "part", "close"):
        decoder = kernel.FrameDecoder()
        decoder.receive_data(wire[:70_000])
        decoder.read_header()
        decoder.read_payload()
        with contextlib.suppress(ZeroDivisionError):
            decoder.fill(fail)
        with contextlib.suppress(ValueError):
            decoder.fill(lambda _: -1)
        while step == "fill" and decoder.is_filling:
            decoder.fill(len)
        if step == "receive":
            decoder.receive_data(wire[70_000:] + wire[:1000])
        if step == "close":
            decoder.fill(lambda _: 10)
            decoder.close()
        else:
            decoder.read_part()


def write(kernel: ModuleType) -> None:
    """What can't be written, and headers alone: 6 frames."""
    kernel.encode_header(2, 2**40, mask=MASK)
    kernel.apply_mask(memoryview(b"x" * 1000), MASK, 3)
    failures: list[tuple[type[Exception], Callable[[], object]]] = [
        (UnicodeEncodeError, lambda: kernel.encode_frame(1, "\ud800", mask=MASK)),
        (ValueError, lambda: kernel.encode_frame(1, memoryview(b"abc"), mask=b"abc")),
        (ValueError, lambda: kernel.encode_frame(256, memoryview(b"abc"))),
        (TypeError, lambda: kernel.apply_mask(memoryview(b"abcdef")[::2], MASK)),
        (TypeError, lambda: kernel.FrameDecoder().receive_data(memoryview(b"abcdef")[::2])),
    ]
    for expected, call in failures:
        with contextlib.suppress(expected):
            call()


def read_heads(kernel: ModuleType) -> None:
    """Requests and header fields, right and wrong: no frames."""
    lines = b"Upgrade: websocket\r\nHost: h\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nX-A: b\r\n"
    key = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: p\r\n"
    for end in (key + b"\r\n", b"\r\n", b"", b"no colon\r\n\r\n", b"A: \0\r\n\r\n"):
        kernel.read_fields(lines + end, 0)
        kernel.read_request(b"GET /path HTTP/1.1\r\n" + lines + end, 20)


class Ends:
    """What both short ways belong to; what they tell it comes to nothing."""

    inlet: object = None

    def take(self, *_: object) -> None:
        """A message, or that there is more."""

    put_off = drain = send_outgoing = keep_rest = send_failed = read = read_on = read_failed = take


def go_short_ways(kernel: ModuleType, sockets: tuple[socket.socket, socket.socket]) -> None:
    """Messages, there and back over sockets that do not block: 6 frames."""
    ends = Ends()
    decoder = kernel.FrameDecoder()
    messages = kernel.MessageQueue(1, 1000)
    intake = kernel.Intake(decoder, False, 1000, messages, [1, 2, None], ends.take, ends.take)
    turns = kernel.Turns()
    outlet = kernel.Outlet(sockets[0].fileno(), turns, ends)
    outlet.max_size = outlet.max_backlog = 1000
    inlet = kernel.Inlet(sockets[1].fileno(), 1000, 100)
    ends.inlet, inlet.owner, inlet.intake = inlet, ends, intake
    buffer = memoryview(bytearray(1000))
    for message in ("one", b"two", "gr\u00fc\u00df", "\u6771" * 200, "kept"):
        outlet.send_message(message)
        turns.count += message == "one"
        turns.will_flush = turns.is_corked = message == "gr\u00fc\u00df"
        turns.flush()
        kernel.read_ready([(5, 1), (6, 1), (5, 3)], {5: ends}, 1, buffer)
    intake.receive_data(kernel.encode_frame(2, b"three"))
    messages.put("gr\u00fc\u00df")
    for _ in range(2):
        intake.exchange()
        messages.put_back(b"first")
    messages.take()
    messages.clear()
    with contextlib.suppress(IndexError):
        messages.take()
    intake.receive_data(kernel.encode_frame(2, b"four")[:-1])
    intake.close()
    with contextlib.suppress(UnicodeEncodeError):
        outlet.send_message("\ud800")
    outlet.outgoing.clear()
    outlet.backlog = 0
    for _ in range(3):
        outlet.send(b"kept, too")
        kernel.Outlet(-1, turns, ends).send(b"nowhere")
        turns.will_flush = turns.is_corked = not turns.is_corked
    turns.flush()
    outlet.close()
    inlet.owner = inlet.intake = None
    decoder.close()


def play(kernel: ModuleType, frames: int) -> int:
    """So many frames, by every path; returns how many there were."""
    rounds = max(1, frames // FRAMES_A_ROUND)
    sockets = socket.socketpair()
    with sockets[0], sockets[1]:
        for sock in sockets:
            sock.setblocking(False)
        for number in range(rounds):
            read_small(kernel)
            write(kernel)
            read_heads(kernel)
            go_short_ways(kernel, sockets)
            # Large frames are slow: one round in a hundred.
            if number % 100 == 0:
                read_large(kernel)
    return rounds * FRAMES_A_ROUND


def growth(kernel: ModuleType, frames: int) -> int:
    """Play so many frames, and return by how many bytes memory has grown since the first tenth of them."""
    start = played = 0
    for part in range(PARTS):
        played += play(kernel, frames // PARTS)
        if part < 2:  # printing takes memory, too, at first
            start = used()
        text = f"{played:12,} frames: {used() - start:+8,} bytes since the start"
        print(f"{text}, {resident() / 1e6:8.1f} MB resident", flush=True)
    return used() - start


def main() -> int:
    frames = int(float(sys.argv[1] if len(sys.argv) > 1 else 10) * 10**6)
    if not hasattr(LIBC, "mallinfo2"):
        raise SystemExit("leaks: this needs malloc's books: glibc 2.33 or newer")
    # Is to be known when Python starts.
    if os.environ.get("PYTHONMALLOC") != "malloc":
        os.environ["PYTHONMALLOC"] = "malloc"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    try:
        kernel = importlib.import_module("trio_websocket._kernel._cy")
    except ImportError:
        raise SystemExit("leaks: the compiled kernel was not built") from None
    grown = growth(kernel, frames)
    if grown > TOLERANCE:
        print(f"leaks: memory has grown by {grown:,} bytes")
        return 1
    print("leaks: none, memory is flat")
    return 0


if __name__ == "__main__":
    sys.exit(main())
