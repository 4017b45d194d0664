"""What a session sends: messages, fragments, masks, byte by byte."""

from __future__ import annotations

import ctypes
import inspect
import itertools
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from core_support import close_frame, pull, receive, sent_by, typed
from support import BINARY, CLOSE, CONT, MASK, PING, PONG, TEXT, Frame, frame

from trio_websocket.protocol import (
    BinaryReceived,
    CloseReceived,
    LocalProtocolError,
    PingReceived,
    PongReceived,
    Role,
    Session,
    SessionState,
    TextReceived,
)

CLIENT, SERVER = Role.CLIENT, Role.SERVER


@pytest.mark.parametrize(
    ("message", "opcode", "payload"),
    [
        ("", TEXT, b""),
        ("Grüße 😀", TEXT, "Grüße 😀".encode()),
        (b"", BINARY, b""),
        (b"\xff\x00", BINARY, b"\xff\x00"),
        (bytearray(b"abc"), BINARY, b"abc"),
        (memoryview(b"abc"), BINARY, b"abc"),
        (memoryview(b"abcdef")[1:4], BINARY, b"bcd"),
        (memoryview(b"abcdef")[::2], BINARY, b"ace"),
        (memoryview(b"abcdefgh").cast("H"), BINARY, b"abcdefgh"),
        (memoryview(b"abcdef").cast("B", (2, 3)), BINARY, b"abcdef"),
        (memoryview(b"abcd").cast("I", ()), BINARY, b"abcd"),
        (memoryview((ctypes.c_uint16 * 2).from_buffer_copy(b"abcd")), BINARY, b"abcd"),
    ],
)
@pytest.mark.parametrize("is_fragment", [False, True], ids=["message", "fragment"])
def test_a_message_is_sent_as_one_frame(
    session: Session, message: Any, opcode: int, payload: bytes, is_fragment: bool
) -> None:
    if is_fragment:
        session.send_fragment(message, is_final=True)
    else:
        session.send_message(message)
    assert sent_by(session) == [Frame(True, opcode, payload)]
    assert session.data_to_send() == b""


@pytest.mark.parametrize("message", [None, 5, ["x"], object()])
def test_what_is_no_message_is_refused(session: Session, message: Any) -> None:
    text = f"a message is str, bytes, bytearray or memoryview, not {type(message).__name__}"
    with pytest.raises(ValueError, match=text):
        session.send_message(message)
    with pytest.raises(ValueError, match=text):
        session.send_fragment(message, is_final=False)
    assert session.data_to_send() == b""
    session.send_message("still open, and no fragment begun")


def test_text_that_has_no_utf8_is_refused(session: Session) -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        session.send_message("\ud800")
    assert session.data_to_send() == b""


def test_fragments_are_continued_until_the_last(session: Session) -> None:
    for _ in range(2):
        session.send_fragment("a", is_final=False)
        session.send_fragment("", is_final=False)
        session.send_fragment("b", is_final=True)
    session.send_fragment(b"c", is_final=False)
    session.send_fragment(bytearray(b"d"), is_final=True)
    session.send_message("whole")
    text = [Frame(False, TEXT, b"a"), Frame(False, CONT, b""), Frame(True, CONT, b"b")]
    binary = [Frame(False, BINARY, b"c"), Frame(True, CONT, b"d")]
    assert sent_by(session) == [*text, *text, *binary, Frame(True, TEXT, b"whole")]


@pytest.mark.parametrize(("first", "other"), [("a", b"b"), (b"a", "b")])
def test_fragments_are_all_text_or_all_binary(session: Session, first: Any, other: Any) -> None:
    session.send_fragment(first, is_final=False)
    with pytest.raises(ValueError, match="must be str, or all must be bytes"):
        session.send_fragment(other, is_final=True)
    session.send_fragment(first, is_final=True)
    assert [sent.opcode for sent in sent_by(session)] == [BINARY if first == b"a" else TEXT, CONT]


def test_a_message_waits_for_the_end_of_a_fragmented_one(session: Session) -> None:
    session.send_fragment("a", is_final=False)
    with pytest.raises(LocalProtocolError, match="a fragmented message is open"):
        session.send_message("b")
    session.send_ping(b"c")  # RFC 6455 §5.4: control frames may be injected
    session.send_fragment("d", is_final=True)
    session.send_message("b")
    assert [sent.payload for sent in sent_by(session)] == [b"a", b"c", b"d", b"b"]


def test_a_client_masks_with_the_random_bytes_it_is_given() -> None:
    asked: list[int] = []
    keys = itertools.cycle([MASK, b"abcd"])

    def random_bytes(size: int) -> bytes:
        asked.append(size)
        return next(keys)

    session = Session(CLIENT, random_bytes=random_bytes)
    session.send_message("Hello")
    session.send_message("Hello")
    assert session.data_to_send() == frame(TEXT, b"Hello", mask=MASK) + frame(TEXT, b"Hello", mask=b"abcd")
    assert asked == [4, 4]


def test_a_client_masks_with_secrets_unless_told_otherwise() -> None:
    assert inspect.signature(Session).parameters["random_bytes"].default is secrets.token_bytes
    session = Session(CLIENT)
    masks = set()
    for _ in range(20):
        session.send_message("Hello")
        masks.add(session.data_to_send()[2:6])
    assert len(masks) > 15


def test_a_server_asks_for_no_random_bytes() -> None:
    def random_bytes(size: int) -> bytes:
        raise AssertionError("a server does not mask")

    session = Session(SERVER, random_bytes=random_bytes)
    session.send_message("Hello")
    assert session.data_to_send() == b"\x81\x05Hello"


@pytest.mark.parametrize("name", ["send_ping", "send_pong"])
def test_control_payloads_have_their_bound(session: Session, name: str) -> None:
    send = getattr(session, name)
    send(bytes(125))
    with pytest.raises(ValueError, match="control payload of 126 bytes exceeds 125"):
        send(bytes(126))
    opcode = PING if name == "send_ping" else PONG
    assert sent_by(session) == [Frame(True, opcode, bytes(125))]


def test_a_close_is_1000_without_a_reason_unless_told_otherwise(session: Session) -> None:
    session.send_close()
    assert sent_by(session) == [close_frame(1000)]


def test_a_close_may_stand_in_the_middle_of_fragments(session: Session) -> None:
    session.send_fragment("begun", is_final=False)
    session.send_close(1011)
    assert sent_by(session) == [Frame(False, TEXT, b"begun"), close_frame(1011)]
    receive(session, (TEXT, b"begun too", False), (CLOSE, b"\x03\xe8"))
    assert pull(session) == typed(CloseReceived(1000, ""))


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1004, None), (1006, None), (1015, None), (999, None), (1005, "x"), (1000, "x" * 124)],
)
def test_a_close_that_must_not_be_sent_is_refused_and_changes_nothing(
    session: Session, code: int, reason: str | None
) -> None:
    with pytest.raises(ValueError, match=r"RFC 6455"):
        session.send_close(code, reason)
    assert session.state is SessionState.OPEN
    assert (session.close_sent, session.initiator) == (None, None)
    assert session.data_to_send() == b""


# ---------------------------------------------------------------------------------------- RFC 6455 §5.7, byte by byte


def hello_to_client(session: Session) -> None:
    session.send_fragment("Hel", is_final=False)
    session.send_fragment("lo", is_final=True)


@pytest.mark.parametrize(
    ("role", "act", "wire"),
    [
        (SERVER, lambda s: s.send_message("Hello"), "8105 48656c6c6f"),
        (CLIENT, lambda s: s.send_message("Hello"), "8185 37fa213d 7f9f4d5158"),
        (SERVER, hello_to_client, "0103 48656c 8002 6c6f"),
        (SERVER, lambda s: s.send_ping(b"Hello"), "8905 48656c6c6f"),
        (CLIENT, lambda s: (s.receive_data(b"\x89\x05Hello"), s.next_event()), "8a85 37fa213d 7f9f4d5158"),
        (SERVER, lambda s: s.send_message(bytes(256)), "827e0100" + "00" * 256),
        (SERVER, lambda s: s.send_message(bytes(65536)), "827f0000000000010000" + "00" * 65536),
    ],
)
def test_examples_of_the_rfc_are_sent(role: Role, act: Callable[[Session], object], wire: str) -> None:
    session = Session(role, random_bytes=lambda size: MASK)
    act(session)
    assert session.data_to_send() == bytes.fromhex(wire)


@pytest.mark.parametrize(
    ("role", "wire", "event"),
    [
        (CLIENT, "8105 48656c6c6f", TextReceived("Hello")),
        (SERVER, "8185 37fa213d 7f9f4d5158", TextReceived("Hello")),
        (CLIENT, "0103 48656c 8002 6c6f", TextReceived("Hello")),
        (CLIENT, "8905 48656c6c6f", PingReceived(b"Hello")),
        (SERVER, "8a85 37fa213d 7f9f4d5158", PongReceived(b"Hello")),
        (CLIENT, "827e0100" + "00" * 256, BinaryReceived(bytes(256))),
        (CLIENT, "827f0000000000010000" + "00" * 65536, BinaryReceived(bytes(65536))),
    ],
)
def test_examples_of_the_rfc_are_received(role: Role, wire: str, event: Any) -> None:
    session = Session(role)
    session.receive_data(bytes.fromhex(wire))
    assert pull(session) == typed(event)
