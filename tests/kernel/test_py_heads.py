"""The heads of HTTP/1.1, as nearly all peers send them."""

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


@pytest.mark.parametrize("head", ["text", None])
def test_a_head_is_bytes(kernel: Any, head: Any) -> None:
    with pytest.raises(TypeError):
        kernel.read_fields(head, 0)


# ------------------------------------------------------------------------------------------------------- requests

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
LINES = {
    b"Host": b"h",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Key": KEY,
    b"Sec-WebSocket-Version": b"13",
    b"X-A": b"b",
}


def request(first_line: bytes = b"GET /a HTTP/1.1", **lines: bytes | None) -> bytes:
    """A right request, but for these lines; None leaves one out."""
    changed = {name.replace("_", "-").encode(): value for name, value in lines.items()}
    fields = [name + b": " + value for name, value in {**LINES, **changed}.items() if value is not None]
    return b"\r\n".join([first_line, *fields, b"", b""])


def test_a_request_tells_its_path_and_its_key(kernel: Any) -> None:
    assert kernel.read_request(request(), 6) == (b"/a", KEY, None, None)


def test_a_request_tells_what_is_proposed_and_offered(kernel: Any) -> None:
    lines = {"Sec_WebSocket_Protocol": b" p, q ", "Sec_WebSocket_Extensions": b""}
    assert kernel.read_request(request(**lines), 8) == (b"/a", KEY, b"p, q", b"")


@pytest.mark.parametrize(
    "lines",
    [
        {"Host": b""},
        {"Host": b"[::1]:80"},
        {"Upgrade": b"WebSocket"},
        {"Connection": b"upgrade"},
        {"Connection": b"keep-alive, Upgrade"},
        {"Connection": b"Upgrade ,keep-alive"},
        {"Connection": b",\tUPGRADE\t,"},
        {"x_a": b"c"},
    ],
)
def test_a_usual_request_need_not_be_written_alike(kernel: Any, lines: dict[str, bytes]) -> None:
    assert kernel.read_request(request(**lines), 128) is not None


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GET", id="method alone"),
        pytest.param(b"GET /", id="no version"),
        pytest.param(b"GET / HTTP/1.1\r\n", id="no end"),
        pytest.param(request(b"POST / HTTP/1.1"), id="method"),
        pytest.param(request(b"GET * HTTP/1.1"), id="no path"),
        pytest.param(request(b"GET / HTTP/1.0"), id="version"),
        pytest.param(request(b"GET /a b HTTP/1.1"), id="space in the path"),
        pytest.param(request(b"GET /\x7f HTTP/1.1"), id="control character in the path"),
        pytest.param(request(b"GET /\xff HTTP/1.1"), id="path that is not ASCII"),
        pytest.param(request(b"GET / HTTP/1.1 "), id="space behind the version"),
        pytest.param(request(Host=None), id="no host"),
        pytest.param(request(Host=b"h/"), id="host"),
        pytest.param(request(Host=b"h\xff"), id="host that is not ASCII"),
        pytest.param(request(Upgrade=None), id="no upgrade"),
        pytest.param(request(Upgrade=b"h2c"), id="upgrade"),
        pytest.param(request(Connection=None), id="no connection"),
        pytest.param(request(Connection=b"close"), id="connection"),
        pytest.param(request(Connection=b""), id="connection without an option"),
        pytest.param(request(Connection=b"upgraded, xupgrade, up grade"), id="other options"),
        pytest.param(request(Sec_WebSocket_Key=None), id="no key"),
        pytest.param(request(Sec_WebSocket_Key=KEY[1:]), id="short key"),
        pytest.param(request(Sec_WebSocket_Key=KEY + b"="), id="long key"),
        pytest.param(request(Sec_WebSocket_Key=b"_" + KEY[1:]), id="key not in base64"),
        pytest.param(request(Sec_WebSocket_Key=KEY[:-1] + b"A"), id="key of more bytes"),
        pytest.param(request(Sec_WebSocket_Version=None), id="no WebSocket version"),
        pytest.param(request(Sec_WebSocket_Version=b"8"), id="WebSocket version"),
        pytest.param(request(Content_Length=b"0"), id="length"),
        pytest.param(request(Transfer_Encoding=b"chunked"), id="coding"),
        pytest.param(request(host=b"h"), id="two hosts"),
        pytest.param(request(sec_websocket_key=KEY), id="two keys"),
        pytest.param(request(upgrade=b"websocket"), id="two upgrades"),
        pytest.param(request(connection=b"x"), id="two connections"),
        pytest.param(request(sec_websocket_version=b"13"), id="two versions"),
        pytest.param(request(Sec_WebSocket_Extensions=b"a", sec_websocket_extensions=b"b"), id="two offers"),
        pytest.param(request(Sec_WebSocket_Protocol=b"a", sec_websocket_protocol=b"b"), id="two lists"),
        pytest.param(request(**{"X A": b"c"}), id="no token"),
        pytest.param(request() + b"\x81", id="something behind"),
    ],
)
def test_a_request_that_is_not_usual_is_left_to_others(kernel: Any, head: bytes) -> None:
    assert kernel.read_request(head, 128) is None


def test_a_request_with_too_many_fields_is_left_to_others(kernel: Any) -> None:
    assert kernel.read_request(request(), 5) is None
