"""HTTP/1.1 messages, put together and taken apart."""

from __future__ import annotations

import http
import re
from collections.abc import Callable
from typing import Any

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket.protocol._http1_messages import (
    SWITCHED,
    ResponseParser,
    final_response,
    get_request,
    parse_request,
    switching_response,
)


def parser() -> ResponseParser:
    return ResponseParser(16384)


def without_h11(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h11, "Connection", None)


def test_a_request_is_put_together() -> None:
    assert (
        get_request("/a?b", [(b"Host", b"h"), (b"X", b"")]) == b"GET /a?b HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n"
    )


def test_a_101_response_is_put_together() -> None:
    response = switching_response([(b"X-A", b"b")])
    assert response.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert ResponseParser(1000).parse_head(response) == (101, (*SWITCHED, (b"x-a", b"b")))


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


# Responses of the usual form are read without h11, which is what says how they are to be read.


@pytest.mark.parametrize(
    "first_line", [b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 101 ", b"HTTP/1.1 101"]
)
def test_a_usual_101_response_is_read_without_h11(monkeypatch: pytest.MonkeyPatch, first_line: bytes) -> None:
    without_h11(monkeypatch)
    head = first_line + b"\r\nUpgrade: websocket\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n"
    cookies = ((b"set-cookie", b"a"), (b"set-cookie", b"b"))
    assert parser().parse_head(head) == (101, ((b"upgrade", b"websocket"), *cookies))


@pytest.mark.parametrize("name", [b"Content-Length", b"Transfer-Encoding"])
def test_what_is_said_of_a_body_is_read_by_h11(name: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="malformed"):
        parser().parse_head(b"HTTP/1.1 101 x\r\n" + name + b": nonsense\r\n\r\n")


def request_by_h11(head: bytes) -> object:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as exc:
        return exc.error_status_hint
    assert isinstance(event, h11.Request)
    return event.method, event.target, event.http_version, tuple(event.headers)


def response_by_h11(head: bytes) -> object:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "h"), ("Upgrade", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return None
    assert isinstance(event, (h11.InformationalResponse, h11.Response))
    return event.status_code, tuple(event.headers)


def outcome(parse: Callable[[bytes], object], head: bytes) -> object:
    try:
        return parse(head)
    except RemoteProtocolError as exc:
        return exc.status_code


LINE_ENDS = st.sampled_from([b"\r\n"] * 6 + [b"\n", b"\r\r\n", b"\r", b" \r\n"])
FIRST_LINES = [
    *[b"GET / HTTP/1.1"] * 8,
    *(b"GET http://h/ HTTP/1.1", b"get / HTTP/1.1", b"POST / HTTP/1.1", b"GET * HTTP/1.1", b"GET / HTTP/1.0"),
    *(b"GET / HTTP/1.2", b"GET / HTTP/2.0", b"GET / http/1.1", b"GET  / HTTP/1.1", b"GET /\t HTTP/1.1"),
    *(b"GET / HTTP/1.1 ", b" GET / HTTP/1.1", b"GET /", b"GET /\xff HTTP/1.1", b"GET /\x01 HTTP/1.1", b""),
]
STATUS_LINES = [
    *[b"HTTP/1.1 101 x"] * 8,
    *(b"HTTP/1.1 101", b"HTTP/1.1 101 \xff\t", b"HTTP/1.1 101 \x00", b"HTTP/1.1 101 \x01", b"HTTP/1.0 101 x"),
    *(b"HTTP/1.1 1010 x", b"HTTP/1.1 100 x", b"HTTP/1.1 200 x", b"HTTP/1.1  101 x", b"HTTP/1.1 101x", b""),
]
LINES = st.one_of(
    st.sampled_from([b"Host: h", b"Upgrade: websocket", b"Connection: Upgrade", b"A:", b"x-y:\tz \t"]),
    st.sampled_from(
        [b"Host : h", b"Host\t: h", b": h", b"no colon", b" folded", b"\tA: b", b"HOST: i", b"A B: c"]
    ),
    st.sampled_from(
        [b"Content-Length: 0", b"content-length: 3", b"Content-Length: +1", b"CONTENT-LENGTH: 0, 0"]
    ),
    st.sampled_from(
        [b"Transfer-Encoding: chunked", b"transfer-Encoding: gzip", b"Transfer-Encoding: chunked, a"]
    ),
    st.tuples(
        st.text("aZ9-_~\x00\r \xff\x7f(", max_size=3).map(lambda text: text.encode("latin-1")),
        st.sampled_from([b":", b": ", b""]),
        st.text("aZ:,\t \x00\x01\x0b\x0c\x1f\x7f\x80\xff\r", max_size=6).map(
            lambda text: text.encode("latin-1")
        ),
    ).map(b"".join),
)
HEAD = re.compile(rb".*?\n\r?\n", re.DOTALL)


def heads(first_lines: list[bytes]) -> st.SearchStrategy[bytes]:
    """Give heads of any kind, each to its first empty line, as that is what ends a head."""
    lines = st.tuples(st.sampled_from(first_lines), st.just(b"\r\n")) | st.tuples(
        st.sampled_from(first_lines), LINE_ENDS
    )
    fields = st.lists(st.just((b"Host: h", b"\r\n")) | st.tuples(LINES, LINE_ENDS), max_size=5)
    return st.tuples(lines, fields).map(
        lambda parts: first_head(b"".join(line + end for line, end in [parts[0], *parts[1]]) + b"\r\n\r\n")
    )


def first_head(data: bytes) -> bytes:
    match = HEAD.match(data)
    assert match is not None
    return match[0]


@example(b"GET / HTTP/1.1\r\nHost: h\r\nA B: c\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nA: b\rC: d\r\n\r\n")
@example(b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n folded: c\r\n\r\n")
@given(heads(FIRST_LINES))
def test_requests_are_read_as_h11_reads_them(head: bytes) -> None:
    assert outcome(parse_request, head) == request_by_h11(head)


@given(heads(STATUS_LINES))
def test_responses_are_read_as_h11_reads_them(head: bytes) -> None:
    assert outcome(parser().parse_head, head) == response_by_h11(head)


GET = b"GET / HTTP/1.1\r\nHost: h\r\n"


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(GET + b"A : b\r\n\r\n", id="space before colon"),
        pytest.param(GET + b"A\t: b\r\n\r\n", id="tab before colon"),
        pytest.param(GET + b": b\r\n\r\n", id="empty name"),
        pytest.param(GET + b"A(: b\r\n\r\n", id="name that is no token"),
        pytest.param(GET + b"A\xff: b\r\n\r\n", id="name that is not ASCII"),
        pytest.param(GET + b"A: b\rC: d\r\n\r\n", id="bare CR"),
        pytest.param(GET + b"A: b\r\r\n\r\n", id="CR before CRLF"),
        pytest.param(GET + b"A: \x00\r\n\r\n", id="NUL"),
        pytest.param(b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", id="folding of the first field"),
        pytest.param(GET + b"Content-Length: 0\r\nContent-Length: 1\r\n\r\n", id="two lengths"),
        pytest.param(GET + b"Content-Length: +1\r\n\r\n", id="signed length"),
        pytest.param(GET + b"Content-Length:\r\n\r\n", id="empty length"),
        pytest.param(GET + b"Transfer-Encoding: xchunked\r\n\r\n", id="unknown coding"),
        pytest.param(b"GET / HTTP/1.1\r\nA: b\r\n\r\n", id="no host"),
        pytest.param(GET + b"host: h\r\n\r\n", id="two hosts"),
        pytest.param(b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", id="two spaces"),
        pytest.param(b"GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n", id="tab in the request line"),
        pytest.param(b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", id="space behind the version"),
        pytest.param(b"GET /\r\nHost: h\r\n\r\n", id="no version"),
        pytest.param(b"\r\n" + GET + b"\r\n", id="empty line ahead"),
    ],
)
def test_what_is_not_http_is_refused(head: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="the request is malformed"):
        parse_request(first_head(head))
