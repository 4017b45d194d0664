"""Messages out of frames: fragments, UTF-8 and limits."""

from __future__ import annotations

import math
import tracemalloc

import pytest
from core_support import cut
from support import BINARY, CONT, TEXT

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket._kernel import FrameHeader
from trio_websocket.protocol._events import BinaryReceived, TextReceived
from trio_websocket.protocol._messages import MessageAssembler

Message = TextReceived | BinaryReceived

KINDS = [TEXT, BINARY]


def unlimited() -> MessageAssembler:
    return MessageAssembler(math.inf, math.inf)


def header(opcode: int, length: int) -> FrameHeader:
    return FrameHeader(fin=True, rsv=0, opcode=opcode, mask=None, length=length, is_minimal=True)


def assemble(assembler: MessageAssembler, opcode: int, *fragments: bytes) -> Message:
    """Feed a message's fragments, each in one part, and the result."""
    *first, last = fragments
    for part in first:
        assembler.begin_frame(header(opcode, len(part)))
        assembler.add(part)
        opcode = CONT
    assembler.begin_frame(header(opcode, len(last)))
    return assembler.finish(last)


def expected(opcode: int, payload: bytes) -> Message:
    return TextReceived(payload.decode()) if opcode == TEXT else BinaryReceived(payload)


def check(message: Message, wanted: Message) -> None:
    assert (type(message), type(message.data), message.data) == (type(wanted), type(wanted.data), wanted.data)


# ---------------------------------------------------------------------------------------------------------- fragments


@pytest.mark.parametrize("opcode", KINDS)
@pytest.mark.parametrize(
    "fragments",
    [
        [b""],
        [b"whole"],
        [b"", b""],
        [b"one", b"two"],
        [b"", b"", b"late"],
        [b"early", b"", b""],
        [b"a", b"", b"b", b"c"],
        [b"", b"a", b""],
    ],
)
def test_a_message_is_the_sum_of_its_fragments(opcode: int, fragments: list[bytes]) -> None:
    assembler = unlimited()
    for _ in range(2):  # nothing of the first is left in the second
        check(assemble(assembler, opcode, *fragments), expected(opcode, b"".join(fragments)))


@pytest.mark.parametrize("opcode", KINDS)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
def test_characters_may_be_cut_anywhere(opcode: int, size: int) -> None:
    payload = "aé€😀\x00\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff".encode()
    check(assemble(unlimited(), opcode, *cut(payload, [size])), expected(opcode, payload))


def test_messages_of_both_kinds_follow_each_other() -> None:
    assembler = unlimited()
    check(assemble(assembler, TEXT, "é".encode()[:1], "é".encode()[1:]), TextReceived("é"))
    check(assemble(assembler, BINARY, b"\xff", b"\xfe"), BinaryReceived(b"\xff\xfe"))
    check(assemble(assembler, TEXT, b"text"), TextReceived("text"))
    check(assemble(assembler, BINARY, b"\xff"), BinaryReceived(b"\xff"))
    check(assemble(assembler, TEXT, *cut("é€".encode(), [1])), TextReceived("é€"))


def test_a_frame_may_come_in_parts() -> None:
    assembler = unlimited()
    assembler.begin_frame(header(TEXT, 6))
    assembler.add(b"He")
    assembler.add(b"l")
    assembler.add(b"")
    check(assembler.finish(b"lo!"), TextReceived("Hello!"))


def test_a_continuation_without_a_message_is_an_error() -> None:
    with pytest.raises(
        RemoteProtocolError, match="continuation frame without a message to continue"
    ) as caught:
        unlimited().begin_frame(header(CONT, 1))
    assert caught.value.code == 1002


@pytest.mark.parametrize("opcode", KINDS)
def test_a_continuation_behind_a_finished_message_is_an_error(opcode: int) -> None:
    assembler = unlimited()
    assemble(assembler, opcode, b"a", b"b")
    with pytest.raises(RemoteProtocolError, match="continuation frame without a message to continue"):
        assembler.begin_frame(header(CONT, 1))


@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_a_message_inside_of_another_is_an_error(first: int, second: int) -> None:
    assembler = unlimited()
    assembler.begin_frame(header(first, 0))
    assembler.add(b"")
    with pytest.raises(RemoteProtocolError, match="new message inside of a fragmented one") as caught:
        assembler.begin_frame(header(second, 1))
    assert caught.value.code == 1002


# -------------------------------------------------------------------------------------------------------------- UTF-8

# Each ends with the byte that makes it invalid, whatever may follow (RFC 3629 §3, §4).
INVALID = [
    pytest.param(b"\x80", id="continuation byte alone"),
    pytest.param(b"a\xbf", id="continuation byte behind ASCII"),
    pytest.param(b"\xc0", id="overlong of two bytes"),
    pytest.param(b"\xc1", id="overlong of two bytes, the last"),
    pytest.param(b"\xe0\x9f", id="overlong of three bytes"),
    pytest.param(b"\xf0\x8f", id="overlong of four bytes"),
    pytest.param(b"\xed\xa0", id="first surrogate"),
    pytest.param(b"\xed\xbf", id="last surrogate"),
    pytest.param(b"\xf4\x90", id="over U+10FFFF"),
    pytest.param(b"\xf5", id="far over U+10FFFF"),
    pytest.param(b"\xf8", id="five bytes"),
    pytest.param(b"\xfc", id="six bytes"),
    pytest.param(b"\xfe", id="byte order mark of UTF-16"),
    pytest.param(b"\xff", id="no byte of UTF-8"),
    pytest.param(b"\xc3a", id="two bytes, cut by ASCII"),
    pytest.param(b"\xe2\x82a", id="three bytes, cut by ASCII"),
    pytest.param(b"\xf0\x9f\x98\xc3", id="four bytes, cut by another"),
]
PREFIXES = [pytest.param(b"", id="at once"), pytest.param("Hellö 😀 ".encode(), id="later")]

every_invalid = pytest.mark.parametrize("invalid", INVALID)
every_prefix = pytest.mark.parametrize("prefix", PREFIXES)


@every_prefix
@every_invalid
def test_invalid_utf8_is_an_error_in_a_whole_message(invalid: bytes, prefix: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="text message that is not UTF-8") as caught:
        assemble(unlimited(), TEXT, prefix + invalid + b"rest")
    assert caught.value.code == 1007


@every_prefix
@every_invalid
def test_invalid_utf8_is_an_error_as_soon_as_its_last_byte_is_there(invalid: bytes, prefix: bytes) -> None:
    assembler = unlimited()
    assembler.begin_frame(header(TEXT, 1000))
    *good, bad = cut(prefix + invalid, [1])
    for byte in good:
        assembler.add(byte)
    with pytest.raises(RemoteProtocolError, match="text message that is not UTF-8") as caught:
        assembler.add(bad)
    assert caught.value.code == 1007


@every_prefix
@every_invalid
def test_invalid_utf8_is_an_error_across_fragments(invalid: bytes, prefix: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="text message that is not UTF-8") as caught:
        assemble(unlimited(), TEXT, *cut(prefix + invalid, [1]))
    assert caught.value.code == 1007


@pytest.mark.parametrize(
    "fragments", [[b"\xc3"], [b"\xe2", b"\x82"], [b"ok", b"\xf0\x9f\x98"], [b"ok\xc3", b""]]
)
def test_a_message_that_ends_inside_of_a_character_is_an_error(fragments: list[bytes]) -> None:
    with pytest.raises(RemoteProtocolError, match="text message that is not UTF-8") as caught:
        assemble(unlimited(), TEXT, *fragments)
    assert caught.value.code == 1007


@every_invalid
def test_a_binary_message_may_be_anything(invalid: bytes) -> None:
    check(assemble(unlimited(), BINARY, *cut(invalid, [1])), BinaryReceived(invalid))


# ------------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("opcode", KINDS)
@pytest.mark.parametrize("fragments", [[b"x" * 10], [b"x" * 9, b"x"], [b"", b"x" * 10, b""], [b"x"] * 10])
def test_a_message_of_just_max_message_size_is_right(opcode: int, fragments: list[bytes]) -> None:
    assembler = MessageAssembler(10, math.inf)
    for _ in range(3):  # each message is counted on its own
        check(assemble(assembler, opcode, *fragments), expected(opcode, b"x" * 10))


@pytest.mark.parametrize("opcode", KINDS)
@pytest.mark.parametrize("fragments", [[], [b"x" * 10], [b"", b"x" * 9], [b"x"] * 10])
def test_a_message_over_max_message_size_is_an_error_at_the_header(
    opcode: int, fragments: list[bytes]
) -> None:
    assembler = MessageAssembler(10, math.inf)
    have = 0
    for part in fragments:
        assembler.begin_frame(header(CONT if have or part is not fragments[0] else opcode, len(part)))
        assembler.add(part)
        have += len(part)
    frame = header(CONT if fragments else opcode, 11 - have)
    with pytest.raises(
        RemoteProtocolError, match=r"message of 11 bytes exceeds max_message_size=10$"
    ) as caught:
        assembler.begin_frame(frame)
    # RFC 6455 §7.4.1: 1009 is for a message that is too big.
    assert caught.value.code == 1009


def test_a_limit_counts_bytes_and_not_characters() -> None:
    check(assemble(MessageAssembler(4, math.inf), TEXT, "éé".encode()), TextReceived("éé"))
    with pytest.raises(RemoteProtocolError, match="message of 6 bytes exceeds max_message_size=4"):
        assemble(MessageAssembler(4, math.inf), TEXT, "ééé".encode())


@pytest.mark.parametrize("limit", [2**20, math.inf])
def test_a_declared_length_takes_no_memory(limit: float) -> None:
    assembler = MessageAssembler(limit, math.inf)
    tracemalloc.start()
    try:
        if limit == math.inf:
            assembler.begin_frame(header(BINARY, 2**63 - 1))
            assembler.add(b"x")
        else:
            with pytest.raises(RemoteProtocolError, match=f"message of {2**63 - 1} bytes exceeds") as caught:
                assembler.begin_frame(header(BINARY, 2**63 - 1))
            assert caught.value.code == 1009
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


@pytest.mark.parametrize("opcode", KINDS)
def test_a_message_of_just_max_fragments_is_right(opcode: int) -> None:
    assembler = MessageAssembler(math.inf, 3)
    for _ in range(3):  # each message is counted on its own
        check(assemble(assembler, opcode, b"", b"", b"x"), expected(opcode, b"x"))
        check(assemble(assembler, opcode, b"x"), expected(opcode, b"x"))


@pytest.mark.parametrize("opcode", KINDS)
@pytest.mark.parametrize("part", [b"", b"x"])
def test_a_fragment_over_max_fragments_is_an_error_at_its_header(opcode: int, part: bytes) -> None:
    assembler = MessageAssembler(math.inf, 3)
    for _ in range(3):
        assembler.begin_frame(header(opcode, len(part)))
        assembler.add(part)
        opcode = CONT
    with pytest.raises(RemoteProtocolError, match="message exceeds max_fragments=3") as caught:
        assembler.begin_frame(header(CONT, len(part)))
    assert caught.value.code == 1009


# -------------------------------------------------------------------------------------------------- compressed messages


def test_a_compressed_message_counts_by_what_comes_out_of_it() -> None:
    assembler = MessageAssembler(10, math.inf)
    assembler.begin_frame(header(TEXT, 1000), is_compressed=True)
    assert assembler.room == 10
    assembler.count(9)
    assembler.add(b"x" * 9)
    assert assembler.room == 1
    assembler.begin_frame(header(CONT, 1000), is_compressed=True)
    with pytest.raises(RemoteProtocolError, match="at least 11 bytes exceeds max_message_size=10") as caught:
        assembler.count(2)
    assert caught.value.code == 1009


def test_room_is_a_number_of_bytes_without_a_limit_too() -> None:
    assert unlimited().room == 2**20


# ------------------------------------------------------------------------------------------------------------ in parts


def facts(assembler: MessageAssembler) -> tuple[bool, bool]:
    return assembler.is_streaming, assembler.is_oversize


def streamed(assembler: MessageAssembler, opcode: int, *fragments: bytes) -> list[str | bytes]:
    """Feed a message's fragments behind the first, each in one part, and give what comes of each."""
    given: list[str | bytes] = []
    for number, part in enumerate(fragments, 1):
        assembler.begin_frame(header(CONT, len(part)))
        given.append(assembler.take(part, is_final=number == len(fragments)))
    return given


@pytest.mark.parametrize("before", [0, 1, 2, 3, 6, 9])
@pytest.mark.parametrize("opcode", KINDS)
def test_parts_are_whole_characters_or_any_bytes(opcode: int, before: int) -> None:
    payload = "aé€😀".encode()
    assembler = unlimited()
    for _ in range(2):  # nothing of the first is left in the second
        assembler.begin_frame(header(opcode, before))
        assembler.add(payload[:before])
        first = assembler.stream()
        assert facts(assembler) == (True, False)
        parts = [first, *streamed(assembler, opcode, *cut(payload[before:], [1]), b"")]
        assert facts(assembler) == (False, False)
        if opcode == TEXT:
            assert parts[0] == payload[:before].decode(errors="ignore")
            assert "".join(map(str, parts)) == payload.decode()
        else:
            assert parts[0] == payload[:before]
            assert parts[1:-1] == list(cut(payload[before:], [1])) or before == len(payload)


def test_without_an_open_message_there_are_no_parts() -> None:
    assembler = unlimited()
    assert assembler.stream() is None
    assemble(assembler, TEXT, b"a", b"b")
    assert assembler.stream() is None


def test_a_text_in_parts_is_one_whose_payload_has_not_come() -> None:
    assembler = unlimited()
    assembler.begin_frame(header(TEXT, 3))
    assert assembler.stream() == ""
    assert assembler.take(b"abc", is_final=True) == "abc"


@every_invalid
def test_invalid_utf8_is_an_error_in_parts(invalid: bytes) -> None:
    assembler = unlimited()
    assembler.begin_frame(header(TEXT, 1000))
    assembler.stream()
    with pytest.raises(RemoteProtocolError, match="text message that is not UTF-8"):
        for byte in cut(invalid, [1]):
            assembler.take(byte, is_final=False)


def test_a_message_over_max_message_size_may_have_up_to_max_streamed_size_in_parts() -> None:
    assembler = MessageAssembler(10, math.inf, 20)
    for _ in range(2):
        assembler.begin_frame(header(BINARY, 10))
        assert facts(assembler) == (False, False)
        assembler.add(b"x" * 10)
        assembler.begin_frame(header(CONT, 1))
        assert facts(assembler) == (False, True)
        assert str(assembler.too_large()) == "message of 11 bytes exceeds max_message_size=10"
        assert assembler.stream() == b"x" * 10
        assert facts(assembler) == (True, False)
        assert assembler.take(b"x", is_final=False) == b"x"
        assert streamed(assembler, BINARY, b"y" * 9) == [b"y" * 9]


@pytest.mark.parametrize("is_streaming", [False, True])
def test_a_message_over_max_streamed_size_is_an_error_at_the_header(is_streaming: bool) -> None:
    assembler = MessageAssembler(10, math.inf, 20)
    assembler.begin_frame(header(BINARY, 10))
    if is_streaming:
        assembler.stream()
    with pytest.raises(
        RemoteProtocolError, match="message of 21 bytes exceeds max_streamed_size=20"
    ) as caught:
        assembler.begin_frame(header(CONT, 11))
    assert caught.value.code == 1009


@pytest.mark.parametrize("is_streaming", [False, True])
def test_without_a_limit_of_its_own_a_message_in_parts_has_that_of_all(is_streaming: bool) -> None:
    assembler = MessageAssembler(10, math.inf, 5)
    assembler.begin_frame(header(BINARY, 10))
    if is_streaming:
        assembler.stream()
    with pytest.raises(RemoteProtocolError, match="message of 11 bytes exceeds max_message_size=10"):
        assembler.begin_frame(header(CONT, 1))
