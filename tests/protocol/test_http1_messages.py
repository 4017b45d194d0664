"""HTTP/1.1 messages, put together and taken apart."""

from __future__ import annotations

import http
from typing import Any

import h11
import pytest

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket.protocol._http1_messages import (
    ResponseParser,
    final_response,
    get_request,
    parse_request,
    switching_response,
)


def parser() -> ResponseParser:
    return ResponseParser(16384)


def test_a_request_is_put_together() -> None:
    assert (
        get_request("/a?b", [(b"Host", b"h"), (b"X", b"")]) == b"GET /a?b HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n"
    )


def test_a_101_response_is_put_together() -> None:
    expected = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    assert switching_response([(b"Upgrade", b"websocket")]) == expected


def test_a_final_response_says_how_long_it_is_and_that_it_is_the_last() -> None:
    assert final_response(403, [("X-A", "b")], b"no\n") == (
        b"HTTP/1.1 403 Forbidden\r\nX-A: b\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n"
    )
    assert final_response(404, (), None).endswith(b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def test_the_answer_to_head_leaves_out_the_body_only() -> None:
    whole = final_response(405, (), b"text")
    assert final_response(405, (), b"text", is_body_sent=False) == whole.removesuffix(b"text")


def test_a_status_without_a_phrase_is_sent_with_its_space() -> None:
    assert final_response(599, (), None).startswith(b"HTTP/1.1 599 \r\n")


def test_a_member_of_http_status_is_sent_as_its_number() -> None:
    assert final_response(http.HTTPStatus.NOT_FOUND, (), None).startswith(b"HTTP/1.1 404 Not Found\r\n")


@pytest.mark.parametrize("status_code", [204, 304])
def test_a_response_that_cannot_have_a_body_has_no_length(status_code: int) -> None:
    response = final_response(status_code, (), b"")
    assert b"Content-Length" not in response
    with pytest.raises(ValueError, match=f"status {status_code} cannot have a body"):
        final_response(status_code, (), b"x")


def test_a_205_response_has_length_zero() -> None:
    assert b"\r\nContent-Length: 0\r\n" in final_response(205, (), None)


def test_a_length_may_be_given_if_it_is_right() -> None:
    response = final_response(200, [(b"content-length", b"2")], b"ok")
    assert response.lower().count(b"content-length") == 1
    with pytest.raises(ValueError, match="the Content-Length '3' is not that of the body, 2"):
        final_response(200, [(b"Content-Length", b"3")], b"ok")


def test_an_upgrade_header_comes_with_its_connection_option() -> None:
    assert b"\r\nConnection: Upgrade, close\r\n" in final_response(426, [(b"Upgrade", b"websocket")], None)


@pytest.mark.parametrize("name", ["Connection", "connection", "Transfer-Encoding", "transfer-encoding"])
def test_headers_that_would_break_the_response_are_left_out(name: str) -> None:
    wanted = final_response(400, [(b"A", b"1"), (b"B", b"2")], b"body")
    assert final_response(400, [(b"A", b"1"), (name, b"chunked"), (b"B", b"2")], b"body") == wanted
    assert final_response(400, [(b"A", b"1"), (name.encode(), b"x"), (b"B", b"2")], b"body") == wanted


def test_a_header_that_is_left_out_has_to_be_well_formed() -> None:
    with pytest.raises(ValueError, match="Connection"):
        final_response(400, [(b"Connection", b"close\r\nX: y")], None)


def test_a_connection_header_of_the_caller_does_not_hide_the_upgrade_option() -> None:
    response = final_response(426, [(b"connection", b"keep-alive"), (b"Upgrade", b"websocket")], None)
    assert response.lower().count(b"\r\nconnection:") == 1
    assert b"\r\nConnection: Upgrade, close\r\n" in response


@pytest.mark.parametrize("status_code", [0, 99, 101, 199, 600, -1])
def test_a_final_status_is_from_200_to_599(status_code: int) -> None:
    with pytest.raises(ValueError, match=f"from 200 to 599, not {status_code}"):
        final_response(status_code, (), None)


@pytest.mark.parametrize("status_code", ["404", 404.0, None])
def test_a_status_is_an_int(status_code: Any) -> None:
    with pytest.raises(TypeError, match="an HTTP status must be an int"):
        final_response(status_code, (), None)


def test_a_body_is_bytes() -> None:
    text: Any = "text"
    with pytest.raises(TypeError):
        final_response(404, (), text)


def test_a_request_is_taken_apart() -> None:
    head = b"GET /a HTTP/1.1\r\nHost: h\r\nX-A:  b \xff\t\r\n\r\n"
    assert parse_request(head) == (b"GET", b"/a", b"1.1", ((b"host", b"h"), (b"x-a", b"b \xff")))


@pytest.mark.parametrize(
    ("head", "status_code", "text"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, "Missing mandatory Host"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400, r"'no colon'$"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: \x00\r\n\r\n", 400, r"'A: \\x00'$"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"\x00" * 999 + b"\r\n\r\n", 400, r"\.\.\.$"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "chunked"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 400, "Content-Length"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 128 + b"\r\n", 431, "129 header fields .* 128"),
    ],
)
def test_a_malformed_request_is_refused(head: bytes, status_code: int, text: str) -> None:
    with pytest.raises(RemoteProtocolError, match=text) as caught:
        parse_request(head)
    assert caught.value.status_code == status_code
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_the_most_headers_are_taken() -> None:
    head = b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 127 + b"\r\n"
    assert len(parse_request(head)[3]) == 128


def test_the_heads_of_responses_are_taken_apart() -> None:
    responses = parser()
    assert responses.parse_head(b"HTTP/1.1 100 Continue\r\n\r\n") == (100, ())
    assert responses.parse_head(b"HTTP/1.1 101 x\r\nUpgrade: a\r\n\r\n") == (101, ((b"upgrade", b"a"),))


def test_a_malformed_response_is_refused_with_the_cause() -> None:
    with pytest.raises(RemoteProtocolError, match=r"the response is malformed: .*'no colon'$") as caught:
        parser().parse_head(b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n")
    assert isinstance(caught.value.__cause__, h11.RemoteProtocolError)
    assert caught.value.status_code is None


def test_a_response_has_a_bounded_number_of_headers() -> None:
    with pytest.raises(RemoteProtocolError, match="129 header fields") as caught:
        parser().parse_head(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 129 + b"\r\n")
    assert caught.value.status_code is None


@pytest.mark.parametrize(
    ("head", "parts", "is_eof", "expected"),
    [
        (b"Content-Length: 5", [b"hel", b"lo"], False, (b"hello", True)),
        (b"Content-Length: 5", [b"hel"], False, (b"hel", False)),
        (b"Content-Length: 5", [b"hel"], True, (b"hel", True)),
        (b"Content-Length: 0", [b""], False, (b"", True)),
        (b"Content-Length: 1", [b"ab"], False, (b"a", True)),
        (b"Transfer-Encoding: chunked", [b"2\r\nhe\r\n", b"1\r\nl\r\n0\r\n\r\n"], False, (b"hel", True)),
        (b"Transfer-Encoding: chunked", [b"2\r\nhe\r\nx\r\n"], False, (b"he", True)),
        (b"Transfer-Encoding: chunked", [b"2\r\nhe\r\n1;" + b"x" * 20000], False, (b"he", True)),
        (b"X: y", [b"hel", b"lo"], False, (b"hello", False)),
        (b"X: y", [b"hel"], True, (b"hel", True)),
        (b"X: y", [b""], True, (b"", True)),
    ],
)
def test_a_body_is_read_to_its_end(
    head: bytes, parts: list[bytes], is_eof: bool, expected: tuple[bytes, bool]
) -> None:
    responses = parser()
    responses.parse_head(b"HTTP/1.1 404 x\r\n" + head + b"\r\n\r\n")
    content = b""
    is_complete = False
    for index, part in enumerate(parts):
        assert not is_complete
        more, is_complete = responses.parse_body(part, is_eof and index == len(parts) - 1)
        content += more
    # What a malformed body had before its fault may be lost with it, if it came in the same bytes.
    assert (content, is_complete) == expected
