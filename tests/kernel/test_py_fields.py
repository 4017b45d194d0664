"""The field lines of HTTP/1.1's heads."""

from __future__ import annotations

from typing import Any

import pytest

TCHARS = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def test_fields_are_taken_apart(kernel: Any) -> None:
    lines = b"Host: h\r\nX-A:b \xff\r\nX-a:\r\nB: \t c d \t\r\n"
    fields = ((b"host", b"h"), (b"x-a", b"b \xff"), (b"x-a", b""), (b"b", b"c d"))
    assert kernel.read_fields(lines + b"\r\n", 0) == fields


def test_lines_before_the_start_are_left_alone(kernel: Any) -> None:
    head = b"GET / HTTP/1.1\r\nA: b\r\n\r\n"
    assert kernel.read_fields(head, head.index(b"A")) == ((b"a", b"b"),)
    assert kernel.read_fields(head, 0) is None


def test_there_may_be_no_field(kernel: Any) -> None:
    assert kernel.read_fields(b"\r\n", 0) == ()


def test_a_start_outside_of_the_head_has_no_end(kernel: Any) -> None:
    assert kernel.read_fields(b"\r\n", 2) is None
    assert kernel.read_fields(b"\r\n", 3) is None


@pytest.mark.parametrize("byte", range(256))
def test_a_name_has_the_characters_of_a_token(kernel: Any, byte: int) -> None:
    name = b"a" + bytes([byte])
    fields = kernel.read_fields(name + b": b\r\n\r\n", 0)
    if byte == ord(":"):
        assert fields == ((b"a", b": b"),)
    else:
        assert fields == (((name.lower(), b"b"),) if byte in TCHARS else None)


@pytest.mark.parametrize("byte", range(256))
def test_a_value_has_no_control_characters_but_the_tab(kernel: Any, byte: int) -> None:
    value = b"b" + bytes([byte]) + b"c"
    is_right = byte == ord("\t") or (byte >= 0x20 and byte != 0x7F)
    assert kernel.read_fields(b"a:" + value + b"\r\n\r\n", 0) == (((b"a", value),) if is_right else None)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"A: b\r\n", id="no empty line"),
        pytest.param(b"A: b\r\n\r", id="half an empty line"),
        pytest.param(b"A: b\r\n\n", id="empty line with a bare LF"),
        pytest.param(b"A: b\n\r\n", id="bare LF"),
        pytest.param(b"A: b\r\r\n\r\n", id="CR before CRLF"),
        pytest.param(b"A: b\r\n\r\nC", id="something behind"),
        pytest.param(b"A: b\r\n c\r\n\r\n", id="folded"),
        pytest.param(b" A: b\r\n\r\n", id="space first"),
        pytest.param(b"A : b\r\n\r\n", id="space before colon"),
        pytest.param(b": b\r\n\r\n", id="no name"),
        pytest.param(b"A\r\n\r\n", id="no colon"),
        pytest.param(b"A", id="name alone"),
        pytest.param(b"A:", id="colon alone"),
        pytest.param(b"A: b", id="no end of line"),
        pytest.param(b"A: b\r", id="half an end of line"),
    ],
)
def test_what_is_not_plain_is_left_to_others(kernel: Any, lines: bytes) -> None:
    assert kernel.read_fields(lines, 0) is None


def test_what_most_requests_have_is_kept_once(kernel: Any) -> None:
    lines = b"HOST: h\r\nUpgrade:websocket \r\nX-A: b\r\n\r\n"
    first, second = kernel.read_fields(lines, 0), kernel.read_fields(lines.lower(), 0)
    assert first == second
    assert first[0][0] is second[0][0]
    assert first[1] is second[1]
    assert first[2] is not second[2]


@pytest.mark.parametrize("head", ["text", None])
def test_a_head_is_bytes(kernel: Any, head: Any) -> None:
    with pytest.raises(TypeError):
        kernel.read_fields(head, 0)
