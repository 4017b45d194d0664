"""Messages and control frames, pulled out of what a decoder was given."""

from __future__ import annotations

import math
import zlib
from typing import Any

import pytest
from core_support import cut, typed
from support import BINARY, CLOSE, CONT, MASK, PING, PONG, TEXT, frame

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket._kernel import FrameDecoder
from trio_websocket.protocol import PerMessageDeflate, Role, _messages
from trio_websocket.protocol._deflate_streams import Inflater
from trio_websocket.protocol._events import (
    NEED_DATA,
    BinaryReceived,
    CloseReceived,
    PartReceived,
    PingReceived,
    PongReceived,
    TextReceived,
)
from trio_websocket.protocol._reader import Event, MessageReader


class Wire:
    """A reader, and the decoder that it reads from.

    Attributes:
        is_direct: Whether to ask for compressed messages first.
    """

    is_direct = False

    def __init__(self, *, must_be_masked: bool = False, **limits: Any) -> None:
        self.decoder = FrameDecoder()
        options = {
            "max_message_size": math.inf,
            "max_fragments": math.inf,
            "max_streamed_size": 0,
            "fragments_at_once": math.inf,
        }
        self.reader = MessageReader(self.decoder, must_be_masked=must_be_masked, **{**options, **limits})

    def give(self, *data: bytes) -> None:
        for each in data:
            self.decoder.receive_data(each)

    def is_plain(self) -> bool:
        return self.decoder.is_plain

    def pull(self) -> list[tuple[type[Event], Event]]:
        """Every event that there is now."""
        events = []
        while (event := self._pull_direct() or self.reader.pull()) is not NEED_DATA:
            events.append(event)
        return typed(*events)

    def _pull_direct(self) -> TextReceived | BinaryReceived | None:
        message = self.reader.pull_compressed() if self.is_direct and self.decoder.is_plain else None
        if message is None:
            return None
        return TextReceived(message) if isinstance(message, str) else BinaryReceived(message)


@pytest.mark.parametrize("size", [0, 1, 7])
@pytest.mark.parametrize("mask", [None, MASK])
def test_messages_and_control_frames_come_in_their_order(mask: bytes | None, size: int) -> None:
    wire = Wire(must_be_masked=mask is not None)
    data = b"".join(
        frame(opcode, payload, fin=fin, mask=mask)
        for opcode, payload, fin in [
            (TEXT, b"one", True),
            (BINARY, b"\xff", False),
            (PING, b"1", True),
            (CONT, b"\xfe", False),
            (PONG, b"2", True),
            (CONT, b"", True),
            (CLOSE, b"\x03\xe8bye", True),
        ]
    )
    events = []
    for part in cut(data, [size] if size else []):
        wire.give(part)
        events += wire.pull()
    assert events == typed(
        TextReceived("one"),
        PingReceived(b"1"),
        PongReceived(b"2"),
        BinaryReceived(b"\xff\xfe"),
        CloseReceived(1000, "bye"),
    )


def test_a_close_frame_without_a_code_is_1005() -> None:
    wire = Wire()
    wire.give(frame(CLOSE))
    assert wire.pull() == typed(CloseReceived(1005, ""))


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_large_payload_is_received_in_its_final_place(opcode: int) -> None:
    wire = Wire()
    data = frame(opcode, b"x" * 70_000)
    wire.give(data[:20_000])
    assert wire.pull() == []
    assert wire.decoder.is_filling
    wire.give(data[20_000:])
    assert wire.pull() == typed(
        TextReceived("x" * 70_000) if opcode == TEXT else BinaryReceived(b"x" * 70_000)
    )


def test_the_decoder_may_be_asked_for_messages_only_between_two() -> None:
    wire = Wire()
    assert wire.is_plain()
    wire.give(frame(TEXT, b"a", fin=False))
    assert wire.pull() == []
    assert not wire.is_plain()
    wire.give(frame(PING), frame(CONT, b"b"), frame(PING))
    assert wire.pull() == typed(PingReceived(b""), TextReceived("ab"), PingReceived(b""))
    assert wire.is_plain()


def test_whoever_left_the_plain_way_gets_events_alone() -> None:
    wire = Wire()
    wire.reader.leave_plain()
    wire.give(frame(TEXT, b"c"))
    assert wire.pull() == typed(TextReceived("c"))
    assert not wire.is_plain()


def test_fragments_are_taken_in_a_few_at_a_time() -> None:
    wire = Wire(fragments_at_once=2)
    wire.give(frame(TEXT, b"a", fin=False), *[frame(CONT, b"b", fin=False)] * 2, frame(CONT, b"c"))
    assert wire.pull() == []
    assert wire.reader.is_behind
    assert wire.pull() == typed(TextReceived("abbc"))
    assert not wire.reader.is_behind


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"x", mask=MASK), 1002),
        (frame(CONT), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(TEXT, b"\xff"), 1007),
        (frame(BINARY, b"xxxx"), 1009),
    ],
)
def test_what_breaks_a_rule_is_an_error(data: bytes, code: int) -> None:
    wire = Wire(max_message_size=3)
    wire.give(data)
    with pytest.raises(RemoteProtocolError) as caught:
        wire.pull()
    assert caught.value.code == code


# --------------------------------------------------------------------------------------------------------- in parts


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("before", [2, 3, 4, 9, 10, 11])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_the_parts_are_the_message(opcode: int, before: int, size: int) -> None:
    payload = "aé€😀".encode() * 3
    data = frame(opcode, payload[:7], fin=False) + frame(PING) + frame(CONT, payload[7:], fin=False)
    data += frame(CONT) + frame(TEXT, b"next")
    wire = Wire()
    wire.give(data[:before])
    events = wire.pull()
    assert wire.reader.stream()
    events += wire.pull()
    for part in cut(data[before:], [size]):
        wire.give(part)
        events += wire.pull()
    parts = [event for _, event in events if isinstance(event, PartReceived)]
    assert [part.is_final for part in parts] == [False] * (len(parts) - 1) + [True]
    assert all(part.data for part in parts[:-1])
    received = [part.data for part in parts]
    if opcode == TEXT:
        assert "".join(str(each) for each in received) == payload.decode()
    else:
        assert b"".join(each for each in received if isinstance(each, bytes)) == payload
    assert typed(PingReceived(b""))[0] in events
    # The next one is whole again.
    assert events[-1] == (TextReceived, TextReceived("next"))
    assert wire.is_plain()


def test_what_was_collected_of_a_large_payload_is_the_first_part() -> None:
    wire = Wire()
    assert not wire.reader.stream()
    data = frame(TEXT, b"x" * 99_999 + "é".encode())
    wire.give(data[:80_000])
    assert wire.pull() == []
    assert wire.decoder.is_filling
    assert wire.reader.stream()
    assert wire.pull() == typed(PartReceived("x" * (80_000 - 10), False))
    wire.give(data[80_000:-1])
    assert wire.pull() == typed(PartReceived("x" * 20_009, False))
    wire.give(data[-1:])
    assert wire.pull() == typed(PartReceived("é", True))


def test_a_message_that_ends_inside_of_a_character_is_an_error_in_parts_too() -> None:
    wire = Wire()
    wire.give(frame(TEXT, b"ok\xc3", fin=False))
    wire.pull()
    assert wire.reader.stream()
    assert wire.pull() == typed(PartReceived("ok", False))
    wire.give(frame(CONT))
    with pytest.raises(RemoteProtocolError, match="not UTF-8") as caught:
        wire.pull()
    assert caught.value.code == 1007


def test_a_message_over_the_limit_waits_to_be_had_in_parts() -> None:
    wire = Wire(max_message_size=10, max_streamed_size=20)
    wire.give(frame(BINARY, b"12345678", fin=False), frame(CONT, b"abc", fin=False), frame(PING))
    for _ in range(2):
        assert wire.pull() == []
        assert wire.reader.is_oversize
    assert str(wire.reader.too_large()) == "message of 11 bytes exceeds max_message_size=10"
    assert wire.reader.stream()
    assert not wire.reader.is_oversize
    assert wire.pull() == typed(
        PartReceived(b"12345678", False), PartReceived(b"abc", False), PingReceived(b"")
    )
    # Whatever comes behind it has the limit for whole messages again.
    wire.give(frame(CONT, b"x" * 9), frame(BINARY, b"x" * 10), frame(BINARY, b"x" * 11))
    assert wire.pull() == typed(PartReceived(b"x" * 9, True), BinaryReceived(b"x" * 10))
    assert wire.reader.is_oversize


def test_no_message_may_go_over_the_limit_for_parts() -> None:
    wire = Wire(max_message_size=10, max_streamed_size=20)
    wire.give(frame(BINARY, b"x" * 11, fin=False))
    assert wire.pull() == []
    assert wire.reader.stream()
    assert wire.pull() == typed(PartReceived(b"x" * 11, False))
    wire.give(frame(CONT, b"x" * 10))
    with pytest.raises(
        RemoteProtocolError, match="message of 21 bytes exceeds max_streamed_size=20"
    ) as caught:
        wire.pull()
    assert caught.value.code == 1009


def test_after_a_message_in_parts_the_decoder_is_asked_again_only_if_it_may() -> None:
    wire = Wire()
    wire.give(frame(TEXT, b"a", fin=False))
    wire.pull()
    wire.reader.stream()
    wire.reader.leave_plain()
    wire.give(frame(CONT, b"b"))
    assert wire.pull() == typed(PartReceived("a", False), PartReceived("b", True))
    assert not wire.is_plain()


# -------------------------------------------------------------------------------------------------- compressed messages


def deflated(*messages: bytes) -> list[bytes]:
    """The payloads of these messages, one after the other, made without the code under test."""
    context = zlib.compressobj(9, zlib.DEFLATED, -15)
    return [(context.compress(each) + context.flush(zlib.Z_SYNC_FLUSH))[:-4] for each in messages]


@pytest.fixture(params=[False, True], ids=["as events", "direct"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pull compressed messages in both ways that there are."""
    monkeypatch.setattr(Wire, "is_direct", request.param)


both_ways = pytest.mark.usefixtures("way")


def inflating(**limits: Any) -> Wire:
    return Wire(inflater=Inflater(PerMessageDeflate(), Role.CLIENT), **limits)


@both_ways
@pytest.mark.parametrize("size", [1, 2, 1000])
def test_compressed_messages_come_among_others_however_they_are_cut(size: int) -> None:
    wire = inflating()
    one, two, three = deflated("häusliche".encode(), b"\xff" * 500, b"")
    data = b"".join(
        [
            frame(TEXT, one, rsv=4),
            frame(TEXT, b"plain"),
            frame(BINARY, two[:3], fin=False, rsv=4),
            frame(PING),
            frame(CONT, b"", fin=False),
            frame(CONT, two[3:]),
            frame(TEXT, three, rsv=4),
            frame(TEXT, b"pl", fin=False),
            frame(CONT, b"ain"),
        ]
    )
    events = []
    for each in cut(data, [size]):
        wire.give(each)
        events += wire.pull()
    assert events == typed(
        TextReceived("häusliche"),
        TextReceived("plain"),
        PingReceived(b""),
        BinaryReceived(b"\xff" * 500),
        TextReceived(""),
        TextReceived("plain"),
    )
    assert wire.is_plain()


@both_ways
@pytest.mark.parametrize("is_cut", [False, True])
def test_the_limit_holds_for_what_comes_out_of_a_compressed_message(is_cut: bool) -> None:
    size = 200_000
    [payload] = deflated(bytes(size))
    parts = [frame(BINARY, payload, rsv=4)]
    if is_cut:
        parts = [frame(BINARY, payload[:100], fin=False, rsv=4), frame(CONT, payload[100:])]
    wire = inflating(max_message_size=size)
    wire.give(*parts)
    assert wire.pull() == typed(BinaryReceived(bytes(size)))
    wire = inflating(max_message_size=size - 1)
    wire.give(*parts)
    text = f"message of at least {size} bytes exceeds max_message_size={size - 1}"
    with pytest.raises(RemoteProtocolError, match=text) as caught:
        wire.pull()
    assert caught.value.code == 1009


@both_ways
def test_a_compressed_message_may_be_larger_on_the_wire_than_its_limit() -> None:
    wire = inflating(max_message_size=5)
    # Stored blocks, of which the last but one has nothing in it.
    wire.give(
        frame(TEXT, bytes.fromhex("00 05 00 fa ff 48 65 6c 6c 6f" + "00 00 00 ff ff" * 9 + "00"), rsv=4)
    )
    assert wire.pull() == typed(TextReceived("Hello"))


@both_ways
def test_a_large_compressed_message_without_a_limit_comes_out_piece_by_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_messages, "_MAX_ROOM", 999)
    wire = inflating(fragments_at_once=5)
    [payload] = deflated(bytes(10_000))
    wire.give(frame(BINARY, payload, rsv=4))
    events = wire.pull()
    while wire.reader.is_behind:
        assert events == []
        events = wire.pull()
    assert events == typed(BinaryReceived(bytes(10_000)))


@both_ways
@pytest.mark.parametrize(
    ("data", "code"),
    [
        ([frame(TEXT, b"\xff\xff", rsv=4)], 1007),
        ([frame(TEXT, deflated(b"\xff")[0], rsv=4)], 1007),
        ([frame(TEXT, deflated(b"\xff" * 9)[0], rsv=4, fin=False)], 1007),
        ([frame(TEXT, b"", fin=False), frame(CONT, b"", rsv=4)], 1002),
        ([frame(PING, b"", rsv=4)], 1002),
        ([frame(BINARY, b"", rsv=6)], 1002),
    ],
)
def test_what_breaks_a_rule_of_compression_is_an_error(data: list[bytes], code: int) -> None:
    wire = inflating()
    wire.give(*data)
    with pytest.raises(RemoteProtocolError) as caught:
        wire.pull()
    assert caught.value.code == code


@both_ways
def test_a_compressed_message_without_agreement_is_an_error() -> None:
    wire = Wire()
    wire.give(frame(TEXT, deflated(b"x")[0], rsv=4))
    with pytest.raises(RemoteProtocolError, match="reserved bits set: 100"):
        wire.pull()


def parts_of(wire: Wire) -> list[PartReceived]:
    """What there is of a message in parts."""
    parts = [event for _, event in wire.pull()]
    assert all(isinstance(each, PartReceived) for each in parts)
    return parts  # type: ignore[return-value]


@both_ways
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_compressed_message_is_given_in_parts_of_a_bounded_size(opcode: int) -> None:
    wire = inflating(max_message_size=1000, max_streamed_size=300_000)
    message = ("é" * 150_000).encode()
    first, last = deflated(message, b"next")
    wire.give(
        frame(opcode, first[:50], fin=False, rsv=4), frame(CONT, first[50:]), frame(opcode, last, rsv=4)
    )
    assert wire.pull() == []
    assert wire.reader.is_oversize
    assert wire.pull() == []
    assert wire.reader.stream()
    events = [event for _, event in wire.pull()]
    *parts, following = events
    payloads = [each.data for each in parts if isinstance(each, PartReceived)]
    assert [each.is_final for each in parts if isinstance(each, PartReceived)] == [False] * (
        len(parts) - 1
    ) + [True]
    assert max(len(each) for each in payloads) <= 2**16
    assert len(payloads) > 4
    assert b"".join(each.encode() if isinstance(each, str) else each for each in payloads) == message
    assert following == (TextReceived("next") if opcode == TEXT else BinaryReceived(b"next"))


@both_ways
def test_a_compressed_message_in_parts_has_its_own_limit() -> None:
    wire = inflating(max_message_size=1000, max_streamed_size=199_999)
    wire.give(frame(BINARY, deflated(bytes(200_000))[0], rsv=4))
    assert wire.pull() == []
    assert str(wire.reader.too_large()) == "message of at least 1001 bytes exceeds max_message_size=1000"
    assert wire.reader.stream()
    with pytest.raises(RemoteProtocolError, match="exceeds max_streamed_size=199999") as caught:
        wire.pull()
    assert caught.value.code == 1009


@both_ways
def test_a_compressed_message_that_is_not_whole_waits_for_more() -> None:
    wire = inflating()
    [payload] = deflated(b"Hello")
    data = frame(TEXT, payload, rsv=4)
    wire.give(data[:-1])
    assert wire.pull() == []
    assert wire.reader.stream()
    wire.give(data[-1:])
    assert "".join(str(each.data) for each in parts_of(wire)) == "Hello"


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_compressed_message_may_be_taken_without_an_event(opcode: int) -> None:
    wire = inflating()
    first, second = deflated(b"Hello", b"Hello")
    data = frame(opcode, first, rsv=4)
    wire.give(data[:1])
    assert wire.reader.pull_compressed() is None
    wire.give(data[1:], frame(opcode, second, rsv=4))
    for _ in range(2):
        assert wire.is_plain()
        assert wire.reader.pull_compressed() == ("Hello" if opcode == TEXT else b"Hello")
    assert wire.reader.pull_compressed() is None
    assert wire.pull() == []


def test_what_is_no_such_message_is_left_to_be_pulled() -> None:
    wire = inflating()
    for opcode, payload in [(PING, b""), (TEXT, b"plain"), (TEXT, b"")]:
        wire.give(frame(opcode, payload), frame(PONG))
        assert wire.reader.pull_compressed() is None
        # The next one must not overtake it.
        assert not wire.is_plain()
        assert [kind for kind, _ in wire.pull()] == [
            PingReceived if opcode == PING else TextReceived,
            PongReceived,
        ]
        assert wire.is_plain()


def test_a_compressed_message_in_a_bad_frame_is_left_to_be_refused() -> None:
    wire = inflating()
    wire.give(frame(TEXT, deflated(b"Hello")[0], rsv=4, mask=MASK))
    assert wire.reader.pull_compressed() is None
    with pytest.raises(RemoteProtocolError, match="mask"):
        wire.pull()


def test_a_control_frame_that_is_not_whole_is_waited_for() -> None:
    wire = inflating()
    wire.is_direct = True
    [payload] = deflated(b"Hello")
    pulled = []
    for byte in frame(PING, b"ping") + frame(TEXT, payload, rsv=4):
        wire.give(bytes([byte]))
        pulled += wire.pull()
    assert pulled == typed(PingReceived(b"ping"), TextReceived("Hello"))


def test_without_compression_there_is_no_compressed_message_to_take() -> None:
    wire = Wire()
    wire.give(frame(TEXT, b"x"))
    assert wire.reader.pull_compressed() is None
    assert wire.is_plain()
    assert wire.pull() == typed(TextReceived("x"))
