"""The loops over bytes: frames by hand, by the examples of RFC 6455 §5.7, and by chance.

`_py_frames` is the specification: every twin of the kernel has to pass these tests unedited.
"""

from __future__ import annotations

import array
import contextlib
import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from core_support import cut
from hypothesis import given, settings
from hypothesis import strategies as st
from support import BINARY, CLOSE, CONT, MASK, PING, PONG, TEXT, frame

BORDERS = [0, 1, 125, 126, 127, 65535, 65536, 65537]


def masked_slowly(data: bytes, mask: bytes, offset: int = 0) -> bytes:
    return bytes(byte ^ mask[(offset + i) % 4] for i, byte in enumerate(data))


def read_frames(kernel: Any, decoder: Any) -> list[tuple[Any, bytes]]:
    frames = []
    while (header := decoder.read_header()) is not None:
        payload = decoder.read_payload()
        assert payload is not None
        frames.append((header, payload))
    return frames


# ---------------------------------------------------------------------------------------- RFC 6455 §5.7, byte by byte

RFC_EXAMPLES = [
    pytest.param(TEXT, b"Hello", True, None, "8105 48656c6c6f", id="unmasked text"),
    pytest.param(TEXT, b"Hello", True, MASK, "8185 37fa213d 7f9f4d5158", id="masked text"),
    pytest.param(TEXT, b"Hel", False, None, "0103 48656c", id="first fragment"),
    pytest.param(CONT, b"lo", True, None, "8002 6c6f", id="last fragment"),
    pytest.param(PING, b"Hello", True, None, "8905 48656c6c6f", id="unmasked ping"),
    pytest.param(PONG, b"Hello", True, MASK, "8a85 37fa213d 7f9f4d5158", id="masked pong"),
    pytest.param(2, bytes(256), True, None, "827e0100" + "00" * 256, id="256 bytes"),
    pytest.param(2, bytes(65536), True, None, "827f0000000000010000" + "00" * 65536, id="64 KiB"),
]


@pytest.mark.parametrize(("opcode", "payload", "fin", "mask", "wire"), RFC_EXAMPLES)
def test_examples_of_the_rfc_are_written(
    kernel: Any, opcode: int, payload: bytes, fin: bool, mask: bytes | None, wire: str
) -> None:
    assert kernel.encode_frame(opcode, payload, fin=fin, mask=mask) == bytes.fromhex(wire)


@pytest.mark.parametrize(("opcode", "payload", "fin", "mask", "wire"), RFC_EXAMPLES)
def test_examples_of_the_rfc_are_read(
    kernel: Any, opcode: int, payload: bytes, fin: bool, mask: bytes | None, wire: str
) -> None:
    decoder = kernel.FrameDecoder()
    decoder.receive_data(bytes.fromhex(wire))
    header = kernel.FrameHeader(fin, 0, opcode, mask, len(payload), True)
    assert read_frames(kernel, decoder) == [(header, payload)]


# ------------------------------------------------------------------------------------------------------------ masking


@pytest.mark.slow
@given(data=st.binary(max_size=300), mask=st.binary(min_size=4, max_size=4), offset=st.integers(0, 2**40))
def test_masking_is_an_exclusive_or_with_the_repeated_key(
    kernel: Any, data: bytes, mask: bytes, offset: int
) -> None:
    masked = kernel.apply_mask(data, mask, offset)
    assert masked == masked_slowly(data, mask, offset)
    assert kernel.apply_mask(masked, mask, offset) == data


@pytest.mark.parametrize("offset", range(6))
@pytest.mark.parametrize("size", range(20))
def test_masking_in_two_parts_is_masking_the_whole(kernel: Any, size: int, offset: int) -> None:
    data = bytes(range(100, 100 + size))
    whole = kernel.apply_mask(data, MASK)
    at = min(offset, size)
    assert kernel.apply_mask(data[:at], MASK) + kernel.apply_mask(data[at:], MASK, at) == whole


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_masking_gives_new_bytes_and_leaves_the_data_alone(kernel: Any, make: Any) -> None:
    data = make(b"Hello, world")
    masked = kernel.apply_mask(data, MASK)
    assert type(masked) is bytes
    assert masked == masked_slowly(b"Hello, world", MASK)
    assert bytes(data) == b"Hello, world"


def test_masking_large_data_is_right_to_its_ends(kernel: Any) -> None:
    data = bytes(range(256)) * 1024 + b"end"
    masked = kernel.apply_mask(data, MASK)
    assert len(masked) == len(data)
    assert masked[:1000] == masked_slowly(data[:1000], MASK)
    assert masked[-1003:] == masked_slowly(data[-1003:], MASK, len(data) - 1003)


# ------------------------------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
@pytest.mark.parametrize("size", BORDERS)
def test_a_length_is_written_in_the_fewest_bytes(kernel: Any, size: int, mask: bytes | None) -> None:
    wire = kernel.encode_frame(2, bytes(size), mask=mask)
    assert type(wire) is bytes
    header = 2 if size < 126 else 4 if size < 65536 else 10
    assert len(wire) == header + (0 if mask is None else 4) + size
    decoder = kernel.FrameDecoder()
    decoder.receive_data(wire)
    assert decoder.read_header() == (True, 0, 2, mask, size, True)


@pytest.mark.parametrize("fin", [False, True])
@pytest.mark.parametrize("rsv", range(8))
@pytest.mark.parametrize("opcode", range(16))
def test_every_first_byte_is_written_and_read(kernel: Any, opcode: int, rsv: int, fin: bool) -> None:
    wire = kernel.encode_frame(opcode, b"x", fin=fin, rsv=rsv)
    assert wire == frame(opcode, b"x", fin=fin, rsv=rsv)
    decoder = kernel.FrameDecoder()
    decoder.receive_data(wire)
    assert read_frames(kernel, decoder) == [((fin, rsv, opcode, None, 1, True), b"x")]


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_a_payload_may_be_any_buffer_and_is_not_changed(kernel: Any, make: Any, mask: bytes | None) -> None:
    payload = make(b"Hello")
    assert kernel.encode_frame(TEXT, payload, mask=mask) == frame(TEXT, b"Hello", mask=mask)
    assert bytes(payload) == b"Hello"


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
@pytest.mark.parametrize(
    "text", ["", "x", "Hello", "a" * 70000, "gr\u00fc\u00df", "\u20ac" * 50, "\0\U0001f600"]
)
def test_a_text_is_written_in_utf8(kernel: Any, text: str, mask: bytes | None) -> None:
    assert kernel.encode_frame(TEXT, text, mask=mask) == frame(TEXT, text.encode(), mask=mask)


def test_a_text_with_a_surrogate_cannot_be_written(kernel: Any) -> None:
    with pytest.raises(UnicodeEncodeError):
        kernel.encode_frame(TEXT, "ab\ud800c")


class Text(str):
    """Not exactly a str."""

    __slots__ = ()


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
@pytest.mark.parametrize(
    ("message", "opcode"),
    [("", TEXT), ("x" * 1000, TEXT), ("gr\u00fc\u00df" * 100, TEXT), (b"", BINARY), (b"x" * 100, BINARY)],
)
def test_a_small_message_is_put_together_at_once(
    kernel: Any, message: str | bytes, opcode: int, mask: bytes | None
) -> None:
    payload = message.encode() if isinstance(message, str) else message
    assert kernel.encode_message(message, 100, mask) == frame(opcode, payload, mask=mask)


@pytest.mark.parametrize("message", [b"x" * 101, bytearray(b"x"), memoryview(b"x"), Text("x"), 1, None])
def test_what_is_not_quickly_put_together_is_left(kernel: Any, message: object) -> None:
    assert kernel.encode_message(message, 100) is None


def test_a_message_with_a_surrogate_cannot_be_put_together(kernel: Any) -> None:
    with pytest.raises(UnicodeEncodeError):
        kernel.encode_message("ab\ud800c", 100, MASK)


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
@pytest.mark.parametrize("size", BORDERS)
def test_a_header_alone_is_what_its_frame_begins_with(kernel: Any, size: int, mask: bytes | None) -> None:
    payload = bytes(size)
    head = kernel.encode_header(BINARY, size, fin=False, rsv=2, mask=mask)
    assert type(head) is bytes
    wire = kernel.encode_frame(BINARY, payload, fin=False, rsv=2, mask=mask)
    assert wire == head + (payload if mask is None else masked_slowly(payload, mask))


@pytest.mark.parametrize("size", [2**31, 2**63, 2**64 - 1])
def test_a_header_alone_may_announce_any_length(kernel: Any, size: int) -> None:
    assert kernel.encode_header(TEXT, size) == b"\x81\x7f" + size.to_bytes(8, "big")


@pytest.mark.parametrize("size", [-1, 2**64])
def test_a_length_that_no_header_can_hold_is_an_error(kernel: Any, size: int) -> None:
    with pytest.raises(OverflowError):
        kernel.encode_header(TEXT, size)


def test_a_first_byte_that_is_none_is_an_error(kernel: Any) -> None:
    with pytest.raises(ValueError, match="range"):
        kernel.encode_frame(256, b"")
    with pytest.raises(ValueError, match="range"):
        kernel.encode_header(1, 0, rsv=-1)


@pytest.mark.parametrize("mask", [b"", b"123", b"12345"])
def test_a_masking_key_of_another_length_is_an_error(kernel: Any, mask: bytes) -> None:
    text = f"a masking key has 4 bytes, not {len(mask)}"
    with pytest.raises(ValueError, match=text):
        kernel.apply_mask(b"Hello", mask)
    with pytest.raises(ValueError, match=text):
        kernel.encode_frame(TEXT, b"Hello", mask=mask)
    with pytest.raises(ValueError, match=text):
        kernel.encode_header(TEXT, 5, mask=mask)


# ------------------------------------------------------------------------------------------------------------ buffers


def takers(kernel: Any) -> list[Callable[[Any], object]]:
    """Everything that takes bytes."""
    return [
        lambda data: kernel.apply_mask(data, MASK),
        lambda data: kernel.encode_frame(BINARY, data),
        lambda data: kernel.FrameDecoder().receive_data(data),
    ]


@pytest.mark.parametrize("data", [5, None, [1, 2], array.array("B", b"ab")], ids=repr)
def test_only_bytes_bytearray_and_memoryview_are_taken(kernel: Any, data: Any) -> None:
    for take in takers(kernel):
        with pytest.raises(TypeError, match=f"a bytes-like object is required, not '{type(data).__name__}'"):
            take(data)


def test_a_view_with_gaps_is_not_taken(kernel: Any) -> None:
    for take in takers(kernel):
        with pytest.raises(TypeError, match="casts are restricted to C-contiguous views"):
            take(memoryview(b"abcdef")[::2])


@pytest.mark.parametrize("code", ["B", "b", "I", "d"])
def test_a_view_stands_for_its_bytes(kernel: Any, code: str) -> None:
    data = b"abcdefgh"
    view = memoryview(array.array(code, data))
    assert kernel.apply_mask(view, MASK) == masked_slowly(data, MASK)
    assert kernel.encode_frame(BINARY, view, mask=MASK) == frame(BINARY, data, mask=MASK)
    decoder = kernel.FrameDecoder()
    decoder.receive_data(b"\x82\x08")
    decoder.receive_data(view)
    assert read_frames(kernel, decoder) == [((True, 0, BINARY, None, 8, True), data)]


def test_nothing_is_taken_as_nothing(kernel: Any) -> None:
    for nothing in (b"", bytearray(), memoryview(b""), memoryview(bytearray())):
        assert kernel.apply_mask(nothing, MASK) == b""
        assert kernel.encode_frame(BINARY, nothing) == b"\x82\x00"
        decoder = kernel.FrameDecoder()
        decoder.receive_data(nothing)
        assert decoder.unread == 0


# ------------------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_header_is_read_when_its_last_byte_is_there(kernel: Any, size: int, mask: bytes | None) -> None:
    wire = frame(2, bytes(size), mask=mask)
    header_size = len(wire) - size
    decoder = kernel.FrameDecoder()
    for have in range(header_size):
        assert decoder.read_header() is None
        assert decoder.unread == have
        decoder.receive_data(wire[have : have + 1])
    assert decoder.read_header() == (True, 0, 2, mask, size, True)
    assert decoder.unread == 0
    assert decoder.remaining == size


@pytest.mark.parametrize(
    ("head", "length", "is_minimal"),
    [
        ("827e 0000", 0, False),
        ("827e 007d", 125, False),
        ("827e 007e", 126, True),
        ("827e ffff", 65535, True),
        ("827f 0000000000000000", 0, False),
        ("827f 000000000000ffff", 65535, False),
        ("827f 0000000000010000", 65536, True),
        ("827f 0000000080000000", 2**31, True),
        ("827f 8000000000000000", 2**63, True),
        ("827f ffffffffffffffff", 2**64 - 1, True),
    ],
)
def test_any_length_is_reported_as_it_was_written(
    kernel: Any, head: str, length: int, is_minimal: bool
) -> None:
    decoder = kernel.FrameDecoder()
    decoder.receive_data(bytes.fromhex(head))
    assert decoder.read_header() == (True, 0, 2, None, length, is_minimal)
    assert decoder.remaining == length
    assert decoder.read_payload() == (None if length else b"")


def test_a_header_names_its_fields(kernel: Any) -> None:
    decoder = kernel.FrameDecoder()
    decoder.receive_data(frame(PING, b"abc", fin=False, rsv=5, mask=MASK))
    header = decoder.read_header()
    assert isinstance(header, kernel.FrameHeader)
    assert (header.fin, header.rsv, header.opcode) == (False, 5, PING)
    assert (header.mask, header.length, header.is_minimal) == (MASK, 3, True)
    assert type(header.fin) is bool
    assert type(header.mask) is bytes


def test_a_header_in_the_middle_of_a_payload_is_a_bug_of_the_caller(kernel: Any) -> None:
    decoder = kernel.FrameDecoder()
    decoder.receive_data(frame(TEXT, b"abc"))
    decoder.read_header()
    with pytest.raises(AssertionError):
        decoder.read_header()


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
def test_a_payload_is_given_whole_or_not_at_all(kernel: Any, mask: bytes | None) -> None:
    decoder = kernel.FrameDecoder()
    wire = frame(TEXT, b"Hello", mask=mask)
    decoder.receive_data(wire[:-1])
    decoder.read_header()
    assert decoder.read_payload() is None
    assert (decoder.remaining, decoder.unread) == (5, 4)
    decoder.receive_data(wire[-1:])
    payload = decoder.read_payload()
    assert payload == b"Hello"
    assert type(payload) is bytes
    assert (decoder.remaining, decoder.unread) == (0, 0)


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
def test_a_payload_is_given_in_parts_as_it_comes(kernel: Any, mask: bytes | None) -> None:
    decoder = kernel.FrameDecoder()
    wire = frame(TEXT, b"abcdefghij", mask=mask)
    body = wire[-10:]
    decoder.receive_data(wire[:-10])
    decoder.read_header()
    assert decoder.read_part() == b""
    parts = []
    for start, end in itertools.pairwise((0, 1, 3, 6, 10)):
        decoder.receive_data(body[start:end])
        parts.append(decoder.read_part())
        assert type(parts[-1]) is bytes
        assert decoder.remaining == 10 - end
    assert parts == [b"a", b"bc", b"def", b"ghij"]
    assert decoder.read_part() == b""


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
def test_the_rest_of_a_payload_can_be_read_behind_a_part(kernel: Any, mask: bytes | None) -> None:
    decoder = kernel.FrameDecoder()
    wire = frame(TEXT, b"abcdefg", mask=mask)
    decoder.receive_data(wire[:-4])
    decoder.read_header()
    assert decoder.read_part() == b"abc"
    assert decoder.read_payload() is None
    decoder.receive_data(wire[-4:] + b"\x8a")
    assert decoder.read_payload() == b"defg"
    assert decoder.unread == 1


def test_each_frame_has_its_own_mask_from_its_beginning(kernel: Any) -> None:
    masks = [b"\x01\x02\x03\x04", b"\xff\x00\xff\x00", bytes(4)]
    decoder = kernel.FrameDecoder()
    decoder.receive_data(b"".join(frame(TEXT, b"abc", mask=mask) for mask in masks) + frame(TEXT, b"abc"))
    frames = read_frames(kernel, decoder)
    assert [header.mask for header, _ in frames] == [*masks, None]
    assert {payload for _, payload in frames} == {b"abc"}


def test_received_bytes_are_copied(kernel: Any) -> None:
    decoder = kernel.FrameDecoder()
    data = bytearray(frame(TEXT, b"abc"))
    decoder.receive_data(memoryview(data))
    data[:] = bytes(len(data))
    assert read_frames(kernel, decoder) == [((True, 0, TEXT, None, 3, True), b"abc")]


def test_closed_decoder_forgets_what_was_received_and_takes_nothing_in(kernel: Any) -> None:
    decoder = kernel.FrameDecoder()
    decoder.receive_data(frame(TEXT, b"abc") + frame(TEXT, b"def"))
    decoder.read_header()
    decoder.read_payload()
    decoder.close()
    assert decoder.unread == 0
    assert decoder.read_header() is None
    decoder.receive_data(frame(TEXT, b"ghi"))
    assert decoder.unread == 0
    assert decoder.read_header() is None


def test_many_frames_in_one_piece_come_out_in_order(kernel: Any) -> None:
    payloads = [b"%d" % i * 20 for i in range(2000)]
    decoder = kernel.FrameDecoder()
    decoder.receive_data(b"".join(frame(2, payload, mask=MASK) for payload in payloads) + b"\x82")
    assert [payload for _, payload in read_frames(kernel, decoder)] == payloads
    assert decoder.unread == 1


def test_closed_decoder_forgets_the_frame_that_was_begun(kernel: Any) -> None:
    decoder = kernel.FrameDecoder()
    decoder.receive_data(frame(TEXT, b"abc")[:-1])
    decoder.read_header()
    decoder.close()
    decoder.receive_data(b"bc")
    assert (decoder.remaining, decoder.unread) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
def test_a_large_payload_can_come_byte_by_byte(kernel: Any, mask: bytes | None) -> None:
    payload = bytes(range(256)) * 256
    wire = frame(2, payload, mask=mask)
    decoder = kernel.FrameDecoder()
    parts = []
    for byte in cut(wire, [1]):
        decoder.receive_data(byte)
        if decoder.remaining == 0:
            decoder.read_header()
        parts.append(decoder.read_part())
    # Each byte is read when it comes, and once.
    assert [len(part) for part in parts] == [0] * (len(wire) - len(payload)) + [1] * len(payload)
    assert b"".join(parts) == payload


@pytest.mark.slow
@given(
    frames=st.lists(
        st.tuples(
            st.booleans(),
            st.integers(0, 7),
            st.integers(0, 15),
            st.none() | st.binary(min_size=4, max_size=4),
            st.binary(max_size=40) | st.sampled_from([bytes(125), bytes(126), bytes(300)]),
        ),
        max_size=8,
    ),
    sizes=st.lists(st.integers(1, 60), max_size=10),
)
@settings(deadline=None)
def test_any_frames_cut_anyhow_are_read_as_they_were_written(
    kernel: Any, frames: list[tuple[bool, int, int, bytes | None, bytes]], sizes: list[int]
) -> None:
    wire = b"".join(
        kernel.encode_frame(opcode, payload, fin=fin, rsv=rsv, mask=mask)
        for fin, rsv, opcode, mask, payload in frames
    )
    decoder = kernel.FrameDecoder()
    read: list[Any] = []
    for chunk in cut(wire, sizes):
        decoder.receive_data(chunk)
        while decoder.unread:
            if decoder.remaining == 0:
                header = decoder.read_header()
                if header is None:
                    break
                read.append((header, bytearray()))
            read[-1][1].extend(decoder.read_part())
    assert decoder.unread == decoder.remaining == 0
    assert read == [((f, r, o, mask, len(p), True), p) for f, r, o, mask, p in frames]


# ----------------------------------------------------------------------------------------------------- whole messages

TEXTS = ["", "x", "Hello, world", "a" * 300, "\0\x7f", "gr\u00fc\u00df", "1234567\u20ac", "\U0001f600" * 40]


@pytest.mark.parametrize("mask", [None, MASK, bytes(4)], ids=["unmasked", "masked", "zeros"])
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_message_is_read_in_one_step(kernel: Any, text: str, mask: bytes | None) -> None:
    decoder = kernel.FrameDecoder()
    decoder.receive_data(frame(TEXT, text.encode(), mask=mask))
    message = decoder.read_message(mask is not None, 2**20)
    assert message == text
    assert type(message) is str
    assert (decoder.remaining, decoder.unread) == (0, 0)


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
@pytest.mark.parametrize("size", [*BORDERS, *range(2, 20)])
def test_a_binary_message_is_read_in_one_step(kernel: Any, size: int, mask: bytes | None) -> None:
    payload = (bytes(range(256)) * 257)[:size]
    decoder = kernel.FrameDecoder()
    decoder.receive_data(frame(BINARY, payload, mask=mask))
    message = decoder.read_message(mask is not None, size)
    assert message == payload
    assert type(message) is bytes
    assert (decoder.remaining, decoder.unread) == (0, 0)


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
@pytest.mark.parametrize(
    ("opcode", "payload", "fields"),
    [
        pytest.param(BINARY, b"abc", {"fin": False}, id="first fragment"),
        pytest.param(CONT, b"abc", {}, id="last fragment"),
        pytest.param(BINARY, b"abc", {"rsv": 4}, id="RSV1"),
        pytest.param(BINARY, b"abc", {"rsv": 1}, id="RSV3"),
        pytest.param(3, b"abc", {}, id="unknown opcode"),
        pytest.param(CLOSE, b"", {}, id="close"),
        pytest.param(PING, b"abc", {}, id="ping"),
        pytest.param(PONG, b"abc", {}, id="pong"),
        pytest.param(BINARY, bytes(301), {}, id="too large"),
        pytest.param(TEXT, b"a" * 301, {}, id="too large a text"),
        pytest.param(TEXT, b"Hello, world\xff", {}, id="no UTF-8"),
        pytest.param(TEXT, b"\xed\xa0\x80", {}, id="surrogate"),
        pytest.param(TEXT, b"\xc0\x80", {}, id="overlong"),
        pytest.param(TEXT, b"caf\xc3", {}, id="cut character"),
    ],
)
def test_what_is_not_a_plain_message_is_left_to_be_taken_apart(
    kernel: Any, opcode: int, payload: bytes, fields: dict[str, Any], mask: bytes | None
) -> None:
    wire = frame(opcode, payload, mask=mask, **fields)
    decoder = kernel.FrameDecoder()
    decoder.receive_data(wire)
    for _ in range(2):
        assert decoder.read_message(mask is not None, 300) is None
        assert (decoder.remaining, decoder.unread) == (0, len(wire))
    header = (fields.get("fin", True), fields.get("rsv", 0), opcode, mask, len(payload), True)
    assert read_frames(kernel, decoder) == [(header, payload)]


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
def test_a_message_that_is_masked_though_it_should_not_be_or_the_other_way_is_left(
    kernel: Any, mask: bytes | None
) -> None:
    decoder = kernel.FrameDecoder()
    decoder.receive_data(frame(TEXT, b"abc", mask=mask))
    assert decoder.read_message(mask is None, 300) is None
    assert read_frames(kernel, decoder) == [((True, 0, TEXT, mask, 3, True), b"abc")]


@pytest.mark.parametrize(
    ("head", "length", "is_minimal"),
    [
        ("827e 0000", 0, False),
        ("827e 007d", 125, False),
        ("827f 0000000000000000", 0, False),
        ("827f 000000000000ffff", 65535, False),
        ("827f 0000000080000000", 2**31, True),
        ("827f 7fffffffffffffff", 2**63 - 1, True),
        ("827f 8000000000000000", 2**63, True),
        ("827f ffffffffffffffff", 2**64 - 1, True),
    ],
)
def test_a_message_with_a_strange_length_is_left(
    kernel: Any, head: str, length: int, is_minimal: bool
) -> None:
    wire = bytes.fromhex(head) + bytes(min(length, 65535))
    decoder = kernel.FrameDecoder()
    decoder.receive_data(wire)
    assert decoder.read_message(False, 2**63 - 1) is None
    assert decoder.unread == len(wire)
    assert decoder.read_header() == (True, 0, BINARY, None, length, is_minimal)


@pytest.mark.parametrize("max_size", [-1, 0, 2])
def test_a_message_over_the_size_is_left(kernel: Any, max_size: int) -> None:
    decoder = kernel.FrameDecoder()
    decoder.receive_data(frame(BINARY, b"abc"))
    assert decoder.read_message(False, max_size) is None
    assert decoder.read_message(False, 3) == b"abc"


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
@pytest.mark.parametrize("size", [0, 3, 126, 65536])
def test_a_message_is_read_when_its_last_byte_is_there(kernel: Any, size: int, mask: bytes | None) -> None:
    wire = frame(TEXT, b"x" * size, mask=mask)
    cuts = sorted({*range(min(len(wire), 20)), len(wire) - 1, len(wire)})
    decoder = kernel.FrameDecoder()
    for start, end in itertools.pairwise(cuts):
        assert decoder.read_message(mask is not None, 65536) is None
        assert decoder.unread == start
        decoder.receive_data(wire[start:end])
    assert decoder.read_message(mask is not None, 65536) == "x" * size


def test_no_message_is_read_in_the_middle_of_a_frame(kernel: Any) -> None:
    decoder = kernel.FrameDecoder()
    inner = frame(TEXT, b"abc")
    decoder.receive_data(frame(BINARY, inner) + inner)
    decoder.read_header()
    assert decoder.read_message(False, 300) is None
    assert decoder.read_payload() == inner
    assert decoder.read_message(False, 300) == "abc"


def test_many_messages_in_one_piece_come_out_in_order(kernel: Any) -> None:
    texts = [f"{i}" * 20 for i in range(2000)]
    decoder = kernel.FrameDecoder()
    decoder.receive_data(b"".join(frame(TEXT, text.encode(), mask=MASK) for text in texts) + b"\x81")
    assert list(iter(lambda: decoder.read_message(True, 300), None)) == texts
    assert decoder.unread == 1


# ------------------------------------------------------------------------------------------------------------- memory


@contextlib.contextmanager
def traced() -> Iterator[Callable[[], tuple[int, int]]]:
    """How much memory is in use now and was at most, with what was in use before left out.

    What watches the tests may take some, too, so a few kilobytes are nothing.
    """
    tracemalloc.start()
    try:
        yield tracemalloc.get_traced_memory
    finally:
        tracemalloc.stop()


def test_an_idle_decoder_holds_no_memory_of_what_went_through_it(kernel: Any) -> None:
    wire = frame(BINARY, bytes(60000), mask=MASK)
    with traced() as memory:
        decoder = kernel.FrameDecoder()
        decoder.receive_data(wire * 10)
        for _ in range(10):
            assert len(decoder.read_message(True, 65536)) == 60000
        assert decoder.read_header() is None
        now, peak = memory()
    assert peak > 600_000
    assert now < 10_000


def test_a_few_bytes_that_wait_for_more_do_not_hold_the_room_of_many(kernel: Any) -> None:
    wire = frame(BINARY, bytes(60000))
    with traced() as memory:
        decoder = kernel.FrameDecoder()
        decoder.receive_data(wire + b"\x82")
        assert len(decoder.read_message(False, 65536)) == 60000
        assert decoder.read_header() is None
        now, _ = memory()
    assert decoder.unread == 1
    assert now < 10_000
    decoder.receive_data(b"\x00")
    assert decoder.read_message(False, 0) == b""


# --------------------------------------------------------------------------------------- payloads that are collected

LARGE = 65536  # over that, a payload is collected


def large_payload(size: int) -> bytes:
    return (b"".join(i.to_bytes(4, "big") for i in range(size // 4 + 1)))[:size]


def giving(data: bytes) -> Callable[[memoryview], int]:
    """A `receive` that gives these bytes, as far as there is room."""

    def receive(view: memoryview) -> int:
        size = min(len(data), len(view))
        view[:size] = data[:size]
        return size

    return receive


def collecting(kernel: Any, head: bytes) -> Any:
    """A decoder that was given the beginning of a large frame, and asked for its payload."""
    decoder = kernel.FrameDecoder()
    decoder.receive_data(head)
    assert decoder.read_header() is not None
    assert decoder.read_payload() is None
    return decoder


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
@pytest.mark.parametrize("have", [0, 1, 2, 3, 5000, LARGE + 500])
@pytest.mark.parametrize("sizes", [[1, 2, 3, 10_000], [1001], [65536], []], ids=str)
def test_a_large_payload_is_collected_as_it_comes(
    kernel: Any, sizes: list[int], have: int, mask: bytes | None
) -> None:
    payload = large_payload(LARGE + 1001)
    wire = frame(BINARY, payload, mask=mask)
    have += len(wire) - len(payload)
    decoder = collecting(kernel, wire[:have])
    for chunk in cut(wire[have:], sizes):
        assert decoder.is_filling
        assert decoder.read_payload() is None
        assert (decoder.remaining, decoder.unread) == (len(payload), 0)
        decoder.receive_data(chunk)
    assert not decoder.is_filling
    assert (decoder.remaining, decoder.unread) == (len(payload), len(payload))
    read = decoder.read_payload()
    assert read == payload
    assert type(read) is bytes
    assert (decoder.remaining, decoder.unread) == (0, 0)


def test_only_what_remains_over_64_kib_is_collected(kernel: Any) -> None:
    for size in (LARGE, LARGE + 1):
        decoder = collecting(kernel, frame(BINARY, bytes(size))[:-1])
        assert decoder.is_filling is (size > LARGE)
        assert decoder.unread == (0 if size > LARGE else size - 1)
    decoder = kernel.FrameDecoder()
    decoder.receive_data(frame(BINARY, bytes(LARGE + 1))[:-1])
    decoder.read_header()
    assert not decoder.is_filling
    assert len(decoder.read_part()) == LARGE
    assert decoder.read_payload() is None
    assert not decoder.is_filling


@pytest.mark.parametrize("mask", [None, MASK], ids=["unmasked", "masked"])
def test_a_large_payload_is_received_where_it_belongs(kernel: Any, mask: bytes | None) -> None:
    payload = large_payload(3_000_001)
    wire = frame(BINARY, payload, mask=mask)
    head = len(wire) - len(payload) + 3
    decoder = collecting(kernel, wire[:head])
    position = head
    while decoder.is_filling:
        size = decoder.fill(giving(wire[position : position + 70_001]))
        assert size > 0
        position += size
        assert decoder.remaining == len(payload)
    assert position == len(wire)
    assert decoder.unread == len(payload)
    assert decoder.read_payload() == payload


def test_no_more_is_received_than_the_frame_has_left(kernel: Any) -> None:
    payload = large_payload(LARGE + 100)
    wire = frame(BINARY, payload, mask=MASK)
    decoder = collecting(kernel, wire[:-10])
    assert decoder.fill(giving(wire[-10:] + b"the next frame")) == 10
    decoder.receive_data(frame(TEXT, b"abc"))
    assert decoder.unread == len(payload) + 5
    assert decoder.read_payload() == payload
    assert decoder.read_message(False, 300) == "abc"


def test_what_comes_behind_a_collected_payload_is_the_next_frame(kernel: Any) -> None:
    payload = large_payload(LARGE + 100)
    wire = frame(BINARY, payload, mask=MASK) + frame(TEXT, b"abc", mask=MASK)
    decoder = collecting(kernel, wire[:100])
    decoder.receive_data(wire[100:-2])
    decoder.receive_data(wire[-2:])
    assert decoder.read_payload() == payload
    assert decoder.read_message(True, 300) == "abc"


def test_receiving_by_fill_and_by_data_can_be_mixed(kernel: Any) -> None:
    payload = large_payload(400_000)
    wire = frame(BINARY, payload, mask=MASK)
    decoder = collecting(kernel, wire[:50])
    decoder.fill(giving(wire[50:1053]))
    decoder.receive_data(wire[1053:200_000])
    decoder.fill(giving(wire[200_000:200_007]))
    decoder.receive_data(wire[200_007:])
    assert decoder.read_payload() == payload


def test_an_error_while_receiving_passes_through_and_changes_nothing(kernel: Any) -> None:
    payload = large_payload(LARGE + 100)
    wire = frame(BINARY, payload, mask=MASK)
    decoder = collecting(kernel, wire[:50])

    def block(view: memoryview) -> int:
        view[:3] = b"xyz"  # does not count
        raise BlockingIOError("nothing there")

    with pytest.raises(BlockingIOError, match="nothing there"):
        decoder.fill(block)
    assert decoder.is_filling
    assert decoder.fill(giving(b"")) == 0
    assert decoder.is_filling
    decoder.receive_data(wire[50:])
    assert decoder.read_payload() == payload


@pytest.mark.parametrize(
    ("result", "error"), [(-1, ValueError), (LARGE * 100, ValueError), (None, TypeError)]
)
def test_a_number_that_cannot_be_is_not_taken_for_what_was_received(
    kernel: Any, result: Any, error: type[Exception]
) -> None:
    payload = large_payload(LARGE + 100)
    wire = frame(BINARY, payload, mask=MASK)
    decoder = collecting(kernel, wire[:50])
    with pytest.raises(error):
        decoder.fill(lambda view: result)
    decoder.receive_data(wire[50:])
    assert decoder.read_payload() == payload


def test_the_place_to_write_to_is_gone_afterwards(kernel: Any) -> None:
    decoder = collecting(kernel, frame(BINARY, bytes(LARGE + 100))[:50])
    views = []

    def keep(view: memoryview) -> int:
        assert not view.readonly
        assert (view.format, view.ndim, view.itemsize) == ("B", 1, 1)
        views.append(view)
        return 1

    decoder.fill(keep)
    with pytest.raises(ValueError, match="released"):
        views[0][0]


def test_filling_is_only_for_a_payload_that_is_collected(kernel: Any) -> None:
    decoder = kernel.FrameDecoder()
    wire = frame(BINARY, bytes(LARGE + 100))
    with pytest.raises(AssertionError):
        decoder.fill(giving(b"abc"))
    decoder.receive_data(wire[:50])
    decoder.read_header()
    with pytest.raises(AssertionError):
        decoder.fill(giving(b"abc"))
    decoder.read_payload()
    decoder.receive_data(wire[50:])
    with pytest.raises(AssertionError):
        decoder.fill(giving(b"abc"))
    assert len(decoder.read_payload()) == LARGE + 100


@pytest.mark.parametrize(
    "use",
    [lambda decoder: decoder.close(), lambda decoder: decoder.fill(giving(b"abc"))],
    ids=["close", "fill"],
)
def test_a_decoder_that_is_used_while_it_is_filled_says_so(kernel: Any, use: Callable[[Any], object]) -> None:
    decoder = collecting(kernel, frame(BINARY, bytes(LARGE + 100))[:50])

    def receive(view: memoryview) -> int:
        use(decoder)
        return 1

    with pytest.raises(RuntimeError, match="the decoder was used while it was filled"):
        decoder.fill(receive)


@pytest.mark.parametrize("have", [0, 1, 50, 30_000])
def test_what_was_collected_can_be_read_as_a_part(kernel: Any, have: int) -> None:
    payload = large_payload(LARGE * 2)
    wire = frame(BINARY, payload, mask=MASK)
    head = len(wire) - len(payload)
    decoder = collecting(kernel, wire[: head + have])
    part = decoder.read_part()
    assert part == payload[:have]
    assert type(part) is bytes
    assert not decoder.is_filling
    assert decoder.remaining == len(payload) - have
    # And the rest can be collected anew.
    assert decoder.read_payload() is None
    assert decoder.is_filling
    decoder.receive_data(wire[head + have :])
    assert decoder.read_part() == payload[have:]
    assert decoder.remaining == 0


def test_closed_decoder_forgets_the_payload_that_is_collected(kernel: Any) -> None:
    decoder = collecting(kernel, frame(BINARY, bytes(LARGE + 100))[:50_000])
    decoder.close()
    decoder.receive_data(bytes(10))
    assert (decoder.remaining, decoder.unread, decoder.is_filling) == (0, 0, False)


@pytest.mark.parametrize("length", [2**31, 2**40, 2**64 - 1])
def test_a_payload_takes_memory_as_it_comes_and_not_as_it_is_announced(kernel: Any, length: int) -> None:
    chunk = bytes(50_000)
    with traced() as memory:
        decoder = collecting(kernel, b"\x82\x7f" + length.to_bytes(8, "big"))
        assert memory()[1] < LARGE + 10_000
        decoder.fill(giving(b"x"))
        assert memory()[1] < LARGE + 10_000
        for come in range(len(chunk), 5_000_000, len(chunk)):
            decoder.receive_data(chunk)
            assert memory()[0] < max(2 * come, 2**20) + LARGE
        for come in range(5_000_000, 10_000_000, len(chunk)):
            decoder.fill(giving(chunk))
            assert memory()[0] < 2 * come + 2 * LARGE
        decoder.close()
        assert memory()[0] < LARGE
    assert decoder.read_header() is None


def test_no_message_is_read_while_somebody_takes_frames_apart(kernel: Any) -> None:
    decoder = kernel.FrameDecoder()
    decoder.receive_data(frame(TEXT, b"one"))
    decoder.is_plain = False
    assert decoder.read_message(False, 10) is None
    decoder.is_plain = True
    assert decoder.read_message(False, 10) == "one"
