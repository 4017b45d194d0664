"""What one end of a session writes: frames, masks, and the pongs that are held."""

from __future__ import annotations

import array
import itertools
import random
import socket
import zlib
from types import SimpleNamespace
from typing import Any

import pytest
from core_support import split_frames
from support import BINARY, CLOSE, CONT, MASK, PING, PONG, TEXT, Frame, frame

from trio_websocket._kernel import Outlet, Turns
from trio_websocket.protocol import PerMessageDeflate, Role
from trio_websocket.protocol._deflate_streams import Deflater
from trio_websocket.protocol._opcodes import Opcode
from trio_websocket.protocol._writer import FrameWriter, Message, split_message


@pytest.fixture
def writer() -> FrameWriter:
    """A server's writer."""
    return FrameWriter(None)


def written_by(writer: FrameWriter) -> list[Frame]:
    return split_frames(b"".join(writer.take()), is_masked=False)


def test_a_new_writer_has_nothing_to_send(writer: FrameWriter) -> None:
    assert b"".join(writer.take()) == b""


def test_frames_are_taken_once_and_in_their_order(writer: FrameWriter) -> None:
    writer.write(Opcode.TEXT, b"one", fin=False)
    writer.write(Opcode.CONTINUATION, bytearray(b"two"))
    writer.write(Opcode.BINARY, memoryview(b"three"))
    assert written_by(writer) == [
        Frame(False, TEXT, b"one"),
        Frame(True, CONT, b"two"),
        Frame(True, BINARY, b"three"),
    ]
    assert b"".join(writer.take()) == b""


@pytest.mark.parametrize(
    ("message", "opcode"), [("text", TEXT), (b"bytes", BINARY), (b"", BINARY), (b"x" * 16383, BINARY)]
)
def test_small_message_may_go_out_alone(writer: FrameWriter, message: str | bytes, opcode: int) -> None:
    payload = message.encode() if isinstance(message, str) else message
    assert writer.encode_alone(message) == frame(opcode, payload)
    assert writer.take() == []


def test_small_message_of_a_client_goes_out_masked() -> None:
    assert FrameWriter(lambda _: MASK).encode_alone("Hello") == frame(TEXT, b"Hello", mask=MASK)


@pytest.mark.parametrize("message", [bytearray(b"other"), memoryview(b"other"), b"x" * 16384])
def test_what_is_not_small_or_not_bytes_is_to_be_queued(writer: FrameWriter, message: Message) -> None:
    assert writer.encode_alone(message) is None


def test_nothing_goes_out_alone_before_what_is_queued(writer: FrameWriter) -> None:
    writer.write(Opcode.PING, b"")
    assert writer.encode_alone("text") is None


def test_outlet_makes_frames_as_the_writer_does() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for random_bytes in None, lambda size: MASK[:size]:
            writer = FrameWriter(random_bytes)
            outlet = Outlet(ours.fileno(), Turns(), SimpleNamespace())
            writer.set_up(outlet)
            assert outlet.send_message("Hello")
            assert theirs.recv(100) == writer.encode_alone("Hello")
            # Large ones go beside their headers.
            assert not outlet.send_message(bytes(2**14))


def test_outlet_takes_nothing_while_pongs_are_held_and_when_the_writer_is_closed(writer: FrameWriter) -> None:
    outlet = Outlet(-1, Turns(), SimpleNamespace(send_failed=lambda error: None))
    writer.hold_pongs(True)
    writer.set_up(outlet)
    assert not outlet.send_message("x")
    writer.hold_pongs(False)
    assert outlet.send_message("x")
    writer.hold_pongs(True)
    assert not outlet.send_message("x")
    writer.hold_pongs(False)
    writer.close()
    writer.hold_pongs(False)
    assert not outlet.send_message("x")


def test_large_payload_without_a_mask_is_not_copied(writer: FrameWriter) -> None:
    payload = bytes(16384)
    writer.write(Opcode.BINARY, payload)
    _, sent = writer.take()
    assert sent is payload
    # What may change is copied.
    writer.write(Opcode.BINARY, bytearray(payload))
    assert len(writer.take()) == 1
    writer = FrameWriter(lambda _: MASK)
    writer.write(Opcode.BINARY, payload)
    assert writer.take() == [frame(BINARY, payload, mask=MASK)]


@pytest.mark.parametrize(
    ("message", "opcode", "payload"),
    [
        ("text", TEXT, "text"),
        (b"bytes", BINARY, b"bytes"),
        (bytearray(b"array"), BINARY, bytearray(b"array")),
        (memoryview(b"view"), BINARY, b"view"),
        (memoryview(b"every other")[::2], BINARY, b"eeyohr"),
        (memoryview(array.array("H", [1])), BINARY, array.array("H", [1]).tobytes()),
    ],
)
def test_the_type_of_a_message_tells_its_kind(message: Message, opcode: int, payload: object) -> None:
    assert split_message(message) == (opcode, payload)


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(ValueError, match="a message is str, bytes, bytearray or memoryview, not int"):
        split_message(1)  # type: ignore[arg-type]


def test_each_frame_of_a_client_has_a_mask_of_its_own() -> None:
    asked: list[int] = []
    keys = itertools.cycle([MASK, b"abcd"])

    def random_bytes(size: int) -> bytes:
        asked.append(size)
        return next(keys)

    writer = FrameWriter(random_bytes)
    writer.write(Opcode.TEXT, b"Hello")
    writer.answer_ping(b"Hello")
    assert b"".join(writer.take()) == frame(TEXT, b"Hello", mask=MASK) + frame(PONG, b"Hello", mask=b"abcd")
    assert asked == [4, 4]


def test_a_ping_is_answered_behind_what_was_written(writer: FrameWriter) -> None:
    writer.write(Opcode.TEXT, b"first")
    writer.answer_ping(b"1")
    writer.answer_ping(b"2")
    assert written_by(writer) == [
        Frame(True, TEXT, b"first"),
        Frame(True, PONG, b"1"),
        Frame(True, PONG, b"2"),
    ]


def test_of_the_pongs_that_are_held_the_latest_is_queued_when_it_is_let_go(writer: FrameWriter) -> None:
    writer.hold_pongs(True)
    writer.answer_ping(b"1")
    writer.answer_ping(b"2")
    writer.write(Opcode.TEXT, b"meanwhile")
    assert written_by(writer) == [Frame(True, TEXT, b"meanwhile")]
    writer.hold_pongs(False)
    writer.write(Opcode.TEXT, b"behind")
    assert written_by(writer) == [Frame(True, PONG, b"2"), Frame(True, TEXT, b"behind")]
    writer.hold_pongs(False)
    assert b"".join(writer.take()) == b""
    writer.answer_ping(b"3")
    assert written_by(writer) == [Frame(True, PONG, b"3")]


def test_letting_go_of_an_empty_payload_sends_a_pong(writer: FrameWriter) -> None:
    writer.hold_pongs(True)
    writer.answer_ping(b"")
    writer.hold_pongs(False)
    assert written_by(writer) == [Frame(True, PONG, b"")]


def test_a_pong_waits_for_whoever_takes_when_too_much_is_queued(writer: FrameWriter) -> None:
    # Four bytes of header: just as much as may wait, so that a pong still gets in.
    writer.write(Opcode.BINARY, bytes(2**16 - 4))
    writer.answer_ping(b"1")
    writer.answer_ping(b"2")
    writer.answer_ping(b"")
    data = Frame(True, BINARY, bytes(2**16 - 4))
    assert written_by(writer) == [data, Frame(True, PONG, b"1"), Frame(True, PONG, b"")]
    # What was taken counts no more, and the pong is not sent twice.
    writer.answer_ping(b"3")
    assert written_by(writer) == [Frame(True, PONG, b"3")]


@pytest.mark.parametrize("is_held", [True, False], ids=["held", "too much is queued"])
def test_a_closed_writer_sends_no_pong_that_was_left(writer: FrameWriter, is_held: bool) -> None:
    writer.hold_pongs(is_held)
    writer.write(Opcode.BINARY, bytes(2**16))
    writer.answer_ping(b"1")
    writer.write(Opcode.CLOSE, b"\x03\xe8")
    writer.close()
    writer.hold_pongs(False)
    assert [sent.opcode for sent in written_by(writer)] == [BINARY, CLOSE]
    assert b"".join(writer.take()) == b""


# -------------------------------------------------------------------------------------------------------- compression


def deflating(*, threshold: int = 5, random_bytes: Any = None) -> FrameWriter:
    """A writer that compresses, without anything to take over: each message shows what it is."""
    terms = PerMessageDeflate(True, True, level=9, threshold=threshold)
    return FrameWriter(random_bytes, Deflater(terms, Role.SERVER))


# RFC 7692 §7.2.3.1.
HELLO = bytes.fromhex("f2 48 cd c9 c9 07 00")


@pytest.mark.parametrize(
    ("message", "compress", "expected"),
    [
        ("Hello", None, frame(TEXT, HELLO, rsv=4)),
        (b"Hello", None, frame(BINARY, HELLO, rsv=4)),
        ("Hell", None, frame(TEXT, b"Hell")),
        ("Héo", None, frame(TEXT, "Héo".encode())),
        ("Hello", False, frame(TEXT, b"Hello")),
        ("Hello", True, frame(TEXT, HELLO, rsv=4)),
        ("", True, frame(TEXT, b"\0", rsv=4)),
    ],
)
def test_a_message_is_compressed_by_its_size_or_as_the_caller_says(
    message: str | bytes, compress: bool | None, expected: bytes
) -> None:
    writer = deflating()
    assert writer.encode_alone(message, compress) == expected
    opcode, payload = split_message(message)
    writer.write_message(opcode, payload, compress)
    assert b"".join(writer.take()) == expected


def test_a_client_s_compressed_message_is_masked() -> None:
    writer = deflating(random_bytes=lambda _: MASK)
    assert writer.encode_alone("Hello") == frame(TEXT, HELLO, rsv=4, mask=MASK)


def test_large_message_is_compressed_and_then_sent_as_it_is() -> None:
    writer = deflating()
    noise = random.Random(1).randbytes(50_000)
    assert writer.encode_alone(noise) is None
    writer.write_message(Opcode.BINARY, memoryview(noise))
    head, payload = writer.take()
    assert head[0] == 0xC2
    assert zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff") == noise


@pytest.mark.parametrize("compress", [None, True])
@pytest.mark.parametrize("parts", [["Hel", "", "lo"], [b"H", b"ello"], ["Hello", ""], ["", "Hello"]])
def test_fragments_are_compressed_as_one_and_marked_once(
    parts: list[str | bytes], compress: bool | None
) -> None:
    writer = deflating()
    opcode, _ = split_message(parts[0])
    for number, part in enumerate(parts):
        _, payload = split_message(part)
        is_final = number == len(parts) - 1
        writer.write_fragment(0 if number else opcode, payload, compress, fin=is_final)
        writer.write(Opcode.PING, b"between")
    data = b"".join(writer.take())
    assert data[0] & 0x7F == 0x40 | opcode
    frames = split_frames(bytes([data[0] & ~0x40]) + data[1:], is_masked=False)
    assert [each.opcode for each in frames if each.opcode != PING] == [opcode] + [0] * (len(parts) - 1)
    payloads = [each.payload for each in frames if each.opcode != PING]
    context = zlib.decompressobj(-15)
    # Each part comes out when its frame has come: nothing is kept for the next.
    *first, last = [context.decompress(each).decode() for each in payloads]
    last += context.decompress(b"\0\0\xff\xff").decode()
    assert [*first, last] == [part if isinstance(part, str) else part.decode() for part in parts]


def test_fragments_stay_as_they_are_if_the_caller_says_so(writer: FrameWriter) -> None:
    for each, compress in [(deflating(), False), (writer, True), (writer, None)]:
        each.write_fragment(Opcode.TEXT, "Hel", compress, fin=False)
        each.write_fragment(Opcode.CONTINUATION, "lo", fin=True)
        assert written_by(each) == [Frame(False, TEXT, b"Hel"), Frame(True, CONT, b"lo")]


def test_message_that_has_no_utf_8_form_leaves_no_trace_in_the_window() -> None:
    writer = FrameWriter(None, Deflater(PerMessageDeflate(level=9, threshold=0), Role.SERVER))
    for text in ("\ud800", "x" * 10_000 + "\ud800"):
        with pytest.raises(UnicodeEncodeError):
            writer.encode_alone(text)
        with pytest.raises(UnicodeEncodeError):
            writer.write_message(Opcode.TEXT, text)
        with pytest.raises(UnicodeEncodeError):
            writer.write_fragment(Opcode.TEXT, text, fin=True)
    assert writer.encode_alone("Hello") == frame(TEXT, HELLO, rsv=4)


def test_message_without_a_deflater_goes_out_as_it_is(writer: FrameWriter) -> None:
    for compress in (None, False, True):
        writer.write_message(Opcode.TEXT, "Hello", compress)
        assert written_by(writer) == [Frame(True, TEXT, b"Hello")]
