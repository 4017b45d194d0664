"""The loops over bytes: frames by hand, by the examples of RFC 6455 §5.7, and by chance.

Every twin of the kernel has to pass these tests unedited: a twin is a line in `TWINS`.
"""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import pytest
from core_support import cut
from hypothesis import given, settings
from hypothesis import strategies as st
from support import CONT, MASK, PING, PONG, TEXT, frame

TWINS = {"py": "trio_websocket._kernel._py"}

BORDERS = [0, 1, 125, 126, 127, 65535, 65536, 65537]


@pytest.fixture(scope="module", params=list(TWINS.values()), ids=list(TWINS))
def kernel(request: pytest.FixtureRequest) -> Any:
    return importlib.import_module(request.param)


def masked_slowly(data: bytes, mask: bytes, offset: int = 0) -> bytes:
    return bytes(byte ^ mask[(offset + i) % 4] for i, byte in enumerate(data))


def read_frames(kernel: Any, decoder: Any) -> list[tuple[Any, bytes]]:
    frames = []
    while (header := decoder.read_header()) is not None:
        payload = decoder.read_payload()
        assert payload is not None
        frames.append((header, payload))
    return frames


def test_the_twin_has_every_name_of_the_contract(kernel: Any) -> None:
    names = ["Buffer", "FrameDecoder", "FrameHeader", "apply_mask", "encode_frame"]
    assert sorted(kernel.__all__) == names
    assert all(hasattr(kernel, name) for name in names)


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


def test_what_was_received_can_be_discarded(kernel: Any) -> None:
    decoder = kernel.FrameDecoder()
    decoder.receive_data(frame(TEXT, b"abc") + frame(TEXT, b"def"))
    decoder.read_header()
    decoder.read_payload()
    decoder.discard()
    assert decoder.unread == 0
    assert decoder.read_header() is None
    decoder.receive_data(frame(TEXT, b"ghi"))
    assert read_frames(kernel, decoder) == [((True, 0, TEXT, None, 3, True), b"ghi")]


def test_many_frames_in_one_piece_come_out_in_order(kernel: Any) -> None:
    payloads = [b"%d" % i * 20 for i in range(2000)]
    decoder = kernel.FrameDecoder()
    decoder.receive_data(b"".join(frame(2, payload, mask=MASK) for payload in payloads) + b"\x82")
    assert [payload for _, payload in read_frames(kernel, decoder)] == payloads
    assert decoder.unread == 1


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
