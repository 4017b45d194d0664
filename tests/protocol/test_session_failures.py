"""A peer that breaks a rule or goes over a limit: 1002, 1007, 1009."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable

import pytest
from core_support import (
    close_frame,
    cut,
    dies,
    from_peer,
    head_from_peer,
    pull,
    receive,
    sent_by,
    typed,
)
from support import BINARY, CLOSE, CONT, MASK, PING, PONG, TEXT, frame

from trio_websocket.protocol import (
    DEFAULT_MAX_FRAGMENTS,
    DEFAULT_MAX_MESSAGE_SIZE,
    BinaryReceived,
    CloseReason,
    Role,
    Session,
    TextReceived,
)

CLIENT, SERVER = Role.CLIENT, Role.SERVER


# ------------------------------------------------------------------------------------------------- broken rules: 1002


def wrong_mask(role: Role) -> bytes:
    return frame(TEXT, b"x", mask=MASK if role is CLIENT else None)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        *(
            (lambda r, n=n: from_peer(r, TEXT, b"", rsv=n), f"reserved bits set: {n:03b}")
            for n in range(1, 8)
        ),
        *(
            (lambda r, n=n: from_peer(r, n), f"unknown opcode {n}")
            for n in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]
        ),
        (wrong_mask, "masked frame"),
        (lambda r: from_peer(r, PING, b"", fin=False), "fragmented control frame"),
        (lambda r: from_peer(r, PONG, b"", fin=False), "fragmented control frame"),
        (lambda r: from_peer(r, CLOSE, b"", fin=False), "fragmented control frame"),
        (lambda r: head_from_peer(r, "897e007e"), "control frame of 126 bytes exceeds 125"),
        (lambda r: head_from_peer(r, "887f0000000000010000"), "control frame of 65536 bytes exceeds 125"),
        (lambda r: head_from_peer(r, "827e007d"), "length 125 is not written in the fewest bytes"),
        (
            lambda r: head_from_peer(r, "827f000000000000ffff"),
            "length 65535 is not written in the fewest bytes",
        ),
        (lambda r: head_from_peer(r, "827f8000000000000000"), "64-bit length has its highest bit set"),
        (lambda r: from_peer(r, CONT, b"x"), "continuation frame without a message"),
        (lambda r: from_peer(r, CONT, b"", fin=False), "continuation frame without a message"),
        (
            lambda r: from_peer(r, TEXT, b"", fin=False) + from_peer(r, TEXT),
            "new message inside of a fragmented one",
        ),
        (lambda r: from_peer(r, TEXT, b"a") + from_peer(r, CONT), "continuation frame without a message"),
        (lambda r: from_peer(r, CLOSE, b"\x03"), "half a close code"),
        *(
            (lambda r, n=n: from_peer(r, CLOSE, n.to_bytes(2, "big")), f"close frame with code {n}")
            for n in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535]
        ),
    ],
)
def test_a_broken_rule_is_answered_with_1002_and_its_reason(
    session: Session, role: Role, make: Callable[[Role], bytes], text: str
) -> None:
    session.receive_data(from_peer(role, TEXT, b"fine"))
    assert pull(session) == typed(TextReceived("fine"))
    session.receive_data(make(role) + from_peer(role, PING, b"behind"))
    error = dies(session, 1002, text)
    assert sent_by(session) == [close_frame(1002, str(error).encode())]
    assert session.close_sent == session.close_reason == CloseReason(1002, str(error))
    assert session.close_received is None
    assert session.initiator == "local"


# ------------------------------------------------------------------------------------------------ invalid UTF-8: 1007


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0", b"\xe0\x80", b"\xed\xa0", b"\xf4\x90", b"\xc3a"])
def test_invalid_utf8_is_answered_with_1007_in_the_middle_of_a_frame(
    session: Session, role: Role, bad: bytes
) -> None:
    wire = from_peer(role, TEXT, "Gruß ".encode() + bad + bytes(100))
    session.receive_data(wire[: -100 - len(bad)])
    assert pull(session) == []
    for byte in cut(wire[-100 - len(bad) : -101], [1]):
        session.receive_data(byte)
        assert pull(session) == []
    session.receive_data(wire[-101:-100])
    error = dies(session, 1007, "not UTF-8")
    assert sent_by(session) == [close_frame(1007, str(error).encode())]


@pytest.mark.parametrize(
    "fragments",
    [[b"\xff"], [b"ok", b"\xe2\x82"], [b"\xe2", b"\x82", b"a"], [b"", b"\x80"], [b"\xed", b"\xa0", b"\x80"]],
)
def test_invalid_utf8_is_answered_with_1007_in_fragments(session: Session, fragments: list[bytes]) -> None:
    for i, part in enumerate(fragments):
        receive(session, (CONT if i else TEXT, part, i + 1 == len(fragments)))
    error = dies(session, 1007, "text message that is not UTF-8")
    assert sent_by(session) == [close_frame(1007, str(error).encode())]


def test_an_invalid_close_reason_is_answered_with_1007(session: Session) -> None:
    receive(session, (CLOSE, b"\x03\xe8\xff"))
    error = dies(session, 1007, "reason that is not UTF-8")
    assert sent_by(session) == [close_frame(1007, str(error).encode())]
    assert session.close_received is None


def test_invalid_utf8_before_the_end_is_told_rather_than_the_end(session: Session, role: Role) -> None:
    session.receive_data(from_peer(role, TEXT, b"\xff and more")[:-1])
    session.receive_eof()
    dies(session, 1007, "not UTF-8")
    assert session.close_reason is not None
    assert session.close_reason.code == 1007


# ------------------------------------------------------------------------------------------------------- limits: 1009


def test_the_defaults_are_one_mebibyte_and_64_ki_fragments(role: Role) -> None:
    assert (DEFAULT_MAX_MESSAGE_SIZE, DEFAULT_MAX_FRAGMENTS) == (2**20, 2**16)
    session = Session(role)
    session.receive_data(head_from_peer(role, "827f0000000000100000"))  # just at the limit
    assert pull(session) == []
    session = Session(role)
    session.receive_data(head_from_peer(role, "827f0000000000100001"))
    dies(session, 1009, "message of 1048577 bytes exceeds max_message_size=1048576")


@pytest.mark.parametrize("fragments", [[b"x" * 10], [b"x" * 9, b"x"], [b"", b"x" * 10, b""]])
def test_a_message_at_max_message_size_is_right(role: Role, fragments: list[bytes]) -> None:
    session = Session(role, max_message_size=10)
    for i, part in enumerate(fragments):
        receive(session, (CONT if i else BINARY, part, i + 1 == len(fragments)))
    assert pull(session) == typed(BinaryReceived(b"x" * 10))


@pytest.mark.parametrize("fragments", [[], [b"x" * 10], [b"x" * 5, b"", b"x" * 4]])
def test_a_message_over_max_message_size_is_answered_with_1009(role: Role, fragments: list[bytes]) -> None:
    session = Session(role, max_message_size=10)
    for i, part in enumerate(fragments):
        receive(session, (CONT if i else TEXT, part, False))
    assert pull(session) == []
    size = 11 - sum(map(len, fragments))
    opcode = CONT if fragments else TEXT
    session.receive_data(from_peer(role, opcode, bytes(size))[:-size])  # the header is enough
    error = dies(session, 1009, "message of 11 bytes exceeds max_message_size=10")
    assert sent_by(session) == [close_frame(1009, str(error).encode())]


@pytest.mark.parametrize("limit", [2**20, math.inf])
@pytest.mark.parametrize("length", ["0000000080000000", "7fffffffffffffff"])
def test_a_declared_length_takes_no_memory(role: Role, limit: float, length: str) -> None:
    session = Session(role, max_message_size=limit)
    tracemalloc.start()
    try:
        session.receive_data(head_from_peer(role, "827f" + length))
        if limit == math.inf:
            assert pull(session) == []
        else:
            dies(session, 1009, f"message of {int(length, 16)} bytes exceeds")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200_000


def test_control_frames_do_not_count_as_fragments_or_size(role: Role) -> None:
    session = Session(role, max_message_size=2, max_fragments=2)
    receive(session, (BINARY, b"a", False), *[(PONG, b"12345")] * 5, (CONT, b"b"))
    assert pull(session)[-1:] == typed(BinaryReceived(b"ab"))


def test_a_message_over_max_fragments_is_answered_with_1009(role: Role) -> None:
    session = Session(role, max_fragments=3)
    receive(session, (BINARY, b"", False), (CONT, b"", False), (CONT, b""))
    receive(session, (BINARY, b"", False), (CONT, b"", False), (CONT, b"", False))
    assert pull(session) == typed(BinaryReceived(b""))
    receive(session, (CONT, b""))
    error = dies(session, 1009, "message exceeds max_fragments=3")
    assert sent_by(session) == [close_frame(1009, str(error).encode())]
