"""The opening handshake's rules, whatever carries it."""

from __future__ import annotations

import base64
from typing import Any

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket.protocol import PerMessageDeflate
from trio_websocket.protocol._events import Headers
from trio_websocket.protocol._handshake import (
    OpeningRequest,
    accept_value,
    check_request,
    check_response,
    error_headers,
    make_key,
    request_headers,
    response_headers,
    usual_request,
)
from trio_websocket.protocol._http1_messages import parse_request

# RFC 6455 §1.3.
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

REQUEST: Headers = (
    (b"host", b"server.example.com"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", KEY),
    (b"sec-websocket-version", b"13"),
)
RESPONSE: Headers = (
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-accept", ACCEPT),
)


def replaced(headers: Headers, name: bytes, *values: bytes) -> Headers:
    return tuple(field for field in headers if field[0] != name) + tuple((name, value) for value in values)


def refused(headers: Headers) -> RemoteProtocolError:
    with pytest.raises(RemoteProtocolError) as caught:
        check_request(b"GET", b"/", b"1.1", headers)
    return caught.value


def test_key_is_sixteen_random_bytes_in_base64() -> None:
    assert make_key(lambda size: b"the sample nonce"[:size]) == KEY
    assert base64.b64decode(make_key(bytes)) == bytes(16)


def test_accept_value_is_that_of_the_rfc() -> None:
    assert accept_value(KEY) == ACCEPT


def test_request_headers_are_those_of_the_rfc() -> None:
    headers = request_headers(
        host="server.example.com",
        key=KEY,
        subprotocols=["chat", "superchat"],
        extra_headers=[(b"Origin", b"http://example.com")],
    )
    assert headers == [
        (b"Host", b"server.example.com"),
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Key", KEY),
        (b"Sec-WebSocket-Version", b"13"),
        (b"Sec-WebSocket-Protocol", b"chat, superchat"),
        (b"Origin", b"http://example.com"),
    ]


def test_headers_have_what_is_said_of_compression() -> None:
    request = request_headers(host="", key=KEY, offers=[PerMessageDeflate(server_max_window_bits=9)])
    offer = b"permessage-deflate; server_max_window_bits=9; client_max_window_bits"
    assert request[-1] == (b"Sec-WebSocket-Extensions", offer)
    assert response_headers(key=KEY, extension=b"x")[-1] == (b"Sec-WebSocket-Extensions", b"x")


def test_request_headers_leave_out_what_is_not_asked_for() -> None:
    names = [name for name, _ in request_headers(host="", key=KEY)]
    assert b"Sec-WebSocket-Protocol" not in names
    assert b"Sec-WebSocket-Extensions" not in names


@pytest.mark.parametrize("host", ["a b", "a\r\nX: y", "a\n", "\0", "ü.example", "\x7f"])
def test_a_host_that_cannot_be_sent_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"the host .* cannot be sent in a header"):
        request_headers(host=host, key=KEY)


@pytest.mark.parametrize(
    "name",
    [
        b"Host",
        b"Upgrade",
        b"Connection",
        b"Sec-WebSocket-Key",
        b"Sec-WebSocket-Version",
        b"Sec-WebSocket-Accept",
        b"Sec-WebSocket-Extensions",
        b"Sec-WebSocket-Protocol",
        b"Content-Length",
        b"Transfer-Encoding",
    ],
)
def test_extra_headers_cannot_be_those_of_the_handshake(name: bytes) -> None:
    with pytest.raises(ValueError, match="set by the handshake itself"):
        request_headers(host="h", key=KEY, extra_headers=[(name, b"x")])
    with pytest.raises(ValueError, match="set by the handshake itself"):
        response_headers(key=KEY, extra_headers=[(name.lower(), b"x")])


def test_response_headers_are_those_of_the_rfc() -> None:
    assert response_headers(key=KEY) == [(b"Sec-WebSocket-Accept", ACCEPT)]
    assert response_headers(key=KEY, subprotocol="chat", extra_headers=[("Set-Cookie", "a=b")]) == [
        (b"Sec-WebSocket-Accept", ACCEPT),
        (b"Sec-WebSocket-Protocol", b"chat"),
        (b"Set-Cookie", b"a=b"),
    ]


def test_error_headers_are_those_that_the_status_calls_for() -> None:
    assert error_headers(405) == [(b"Allow", b"GET")]
    assert error_headers(426) == [(b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13")]
    assert error_headers(400) == []


def test_a_right_request_is_understood() -> None:
    headers = (
        *REQUEST,
        (b"sec-websocket-protocol", b"chat, superchat"),
        (b"x", b"\xff"),
        (b"sec-websocket-protocol", b"v2.chat"),
        (b"sec-websocket-extensions", b"permessage-deflate; server_max_window_bits=10, x"),
        (b"sec-websocket-extensions", b"y"),
        (b"content-length", b"0"),
    )
    request = check_request(b"GET", b"/chat?a=%C3%A4", b"1.1", headers)
    assert request.path == "/chat?a=%C3%A4"
    assert request.key == KEY
    assert request.subprotocols == ("chat", "superchat", "v2.chat")
    assert request.extensions == (
        ("permessage-deflate", [("server_max_window_bits", "10")]),
        ("x", []),
        ("y", []),
    )
    assert request.headers == (*REQUEST[1:], (b"x", b"\xff"), (b"content-length", b"0"))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (b"upgrade", [b"WebSocket"]),
        (b"upgrade", [b"h2c, websocket"]),
        (b"upgrade", [b"h2c", b"WEBSOCKET"]),
        (b"connection", [b"keep-alive, UPGRADE"]),
        (b"connection", [b"keep-alive", b"upgrade"]),
        (b"host", [b""]),
        (b"host", [b"[::1]:80"]),
        (b"sec-websocket-protocol", [b""]),
        (b"sec-websocket-extensions", [b" , "]),
        (b"content-length", [b"000"]),
    ],
)
def test_a_request_may_say_it_otherwise(name: bytes, values: list[bytes]) -> None:
    request = check_request(b"GET", b"/", b"1.1", replaced(REQUEST, name, *values))
    assert (request.subprotocols, request.extensions) == ((), ())


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://h/a?b", "/a?b"),
        (b"HTTPS://h:1", "/"),
        (b"ws://h?b", "/?b"),
        (b"wss://u@h/", "/"),
        (b"//h/a", "//h/a"),
    ],
)
def test_a_request_target_may_be_absolute(target: bytes, path: str) -> None:
    assert check_request(b"GET", target, b"1.1", REQUEST).path == path


@pytest.mark.parametrize("target", [b"*", b"h:80", b"a", b"", b"/\xff", b"/a b", b"ftp://h/"])
def test_another_request_target_gets_400(target: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"the request target '.*'") as caught:
        check_request(b"GET", target, b"1.1", REQUEST)
    assert caught.value.status_code == 400


@pytest.mark.parametrize("version", [b"1.0", b"0.9", b"2.0", b"3", b""])
def test_another_http_version_gets_505(version: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"needs HTTP/1\.1") as caught:
        check_request(b"POST", b"/", version, ())
    assert caught.value.status_code == 505


def test_a_higher_minor_http_version_is_right() -> None:
    assert check_request(b"GET", b"/", b"1.2", REQUEST).path == "/"


@pytest.mark.parametrize("method", [b"POST", b"HEAD", b"get", b"CONNECT", b"X" * 1000])
def test_another_method_gets_405(method: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="opened with GET, the request's method is") as caught:
        check_request(method, b"/", b"1.1", REQUEST)
    assert caught.value.status_code == 405
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("name", "values", "status_code", "text"),
    [
        (b"host", [], 400, "one Host header, it has 0"),
        (b"host", [b"a", b"a"], 400, "one Host header, it has 2"),
        (b"host", [b"a\xff"], 400, r"the Host header 'a\xff'"),
        (b"host", [b"a/b"], 400, "the Host header 'a/b'"),
        (b"content-length", [b"1"], 400, "must not have a body"),
        (b"transfer-encoding", [b"chunked"], 400, "must not have a body"),
        (b"upgrade", [], 426, "no 'Upgrade: websocket' header"),
        (b"upgrade", [b"h2c"], 426, "no 'Upgrade: websocket' header"),
        (b"connection", [], 426, "no 'Connection: Upgrade' header"),
        (b"connection", [b"keep-alive"], 426, "no 'Connection: Upgrade' header"),
        (b"sec-websocket-version", [], 400, "one Sec-WebSocket-Version header, it has 0"),
        (b"sec-websocket-version", [b"13", b"13"], 400, "one Sec-WebSocket-Version header, it has 2"),
        (b"sec-websocket-version", [b"8"], 426, "version served here is 13, the request has '8'"),
        (b"sec-websocket-version", [b"013"], 426, "the request has '013'"),
        (b"sec-websocket-key", [], 400, "one Sec-WebSocket-Key header, it has 0"),
        (b"sec-websocket-key", [KEY, KEY], 400, "one Sec-WebSocket-Key header, it has 2"),
        (b"sec-websocket-key", [b"x"], 400, "must be 16 bytes in base64, it is 'x'"),
        (b"sec-websocket-key", [KEY[:-2]], 400, "must be 16 bytes in base64"),
        (b"sec-websocket-key", [base64.b64encode(bytes(15))], 400, "must be 16 bytes in base64"),
        (b"sec-websocket-key", [base64.b64encode(bytes(17))], 400, "must be 16 bytes in base64"),
        (b"sec-websocket-key", [b"_" + KEY[1:]], 400, "must be 16 bytes in base64"),
        (b"sec-websocket-key", [b"\xff" * 24], 400, r"it is '\xff"),
        (b"sec-websocket-key", [KEY + b"\n"], 400, r"it is 'dGhlIHNhbXBsZSBub25jZQ==\n'"),
        (b"sec-websocket-protocol", [b"caf\xc3\xa9"], 400, "which is not a token"),
        (b"sec-websocket-protocol", [b"a b"], 400, "which is not a token"),
        (b"sec-websocket-protocol", [b"a, a"], 400, "has a subprotocol twice"),
        (b"sec-websocket-protocol", [b"a", b"a"], 400, "has a subprotocol twice"),
        (b"sec-websocket-extensions", [b"\xff"], 400, "Sec-WebSocket-Extensions header is malformed"),
    ],
)
def test_a_bad_request_gets_a_status_and_a_text(
    name: bytes, values: list[bytes], status_code: int, text: str
) -> None:
    error = refused(replaced(REQUEST, name, *values))
    assert error.status_code == status_code
    assert text in str(error)


# What a usual request says is known without all the rules; but these are what counts.

USUAL = (
    *(b"Host: h", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Key: " + KEY),
    *(b"Sec-WebSocket-Version: 13", b"Origin: http://h", b"Sec-WebSocket-Protocol: a, b"),
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
)
FIRST_LINE = b"GET /a?b HTTP/1.1"


def head(*lines: bytes, first_line: bytes = FIRST_LINE) -> bytes:
    return b"".join(line + b"\r\n" for line in (first_line, *lines, b""))


def test_a_usual_request_is_read_without_h11(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h11, "Connection", None)
    request = usual_request(head(*USUAL), 8)
    assert request is not None
    assert request.path == "/a?b"
    assert request.headers == (
        *((b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-key", KEY)),
        *((b"sec-websocket-version", b"13"), (b"origin", b"http://h")),
    )
    assert request.key == KEY
    assert request.subprotocols == ("a", "b")
    assert request.extensions == (("permessage-deflate", [("client_max_window_bits", None)]),)
    assert usual_request(head(*USUAL), 7) is None


def test_a_usual_request_may_propose_and_offer_nothing() -> None:
    request = usual_request(head(*USUAL[:5]), 128)
    assert request is not None
    assert (request.subprotocols, request.extensions) == ((), ())


def outcome(function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except RemoteProtocolError as error:
        return str(error), error.status_code


VARIANTS: dict[bytes, list[bytes]] = {
    b"Host": [b"", b"h:80", b"[::1]", b"h/", b"h h", b"h, i", b"\xff"],
    b"Upgrade": [b"WebSocket", b"websocket, h2c", b"h2c", b"", b"websockets"],
    b"Connection": [b"upgrade", b"keep-alive, Upgrade", b"Keep-Alive,Upgrade", b"close", b"", b"upgrades"],
    b"Sec-WebSocket-Key": [
        KEY[:-1],
        KEY + b"=",
        b"_" + KEY[1:],
        KEY[:-2] + b"xx",
        KEY[:-1] + b"\t",
        b"",
        KEY * 2,
    ],
    b"Sec-WebSocket-Version": [b"8", b"013", b"13, 13", b""],
    b"Sec-WebSocket-Protocol": [b"a", b"a, a", b"a b", b"", b"\xff"],
    b"Sec-WebSocket-Extensions": [b"x; y=1", b"x;;", b"", b'x; y="z'],
    b"Content-Length": [b"0", b"1", b"x", b""],
    b"Transfer-Encoding": [b"chunked", b"x"],
    b"Cookie": [b"a=b", b""],
}
FIRST_LINES = [
    *(
        b"GET / HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET http://h/a HTTP/1.1",
        b"POST / HTTP/1.1",
        b"get / HTTP/1.1",
    ),
    *(b"GET / HTTP/1.0", b"GET / HTTP/1.2", b"GET /\xff HTTP/1.1", b"GET /a b HTTP/1.1", b"GET / HTTP/1.1 "),
    *(b"GET /", b"GET / HTTP/1.1\r", b"GETS / HTTP/1.1", b"GET  / HTTP/1.1", b"GET /\x7f HTTP/1.1"),
]


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Usual requests, but for one or two lines, in any order."""
    lines = list(USUAL)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(list(VARIANTS)))
        line = name + draw(st.sampled_from([b": ", b":", b":\t"])) + draw(st.sampled_from(VARIANTS[name]))
        # In place of what there was, beside it, or not at all.
        if how := draw(st.integers(0, 2)):
            lines = [each for each in lines if not each.startswith(name)]
        if how < 2:
            lines.append(line if draw(st.booleans()) else line.lower())
    first_line = draw(st.just(FIRST_LINE) | st.sampled_from(FIRST_LINES))
    return head(*draw(st.permutations(lines)), first_line=first_line)


def said(result: Any) -> Any:
    """All that can be seen of a request, or of an error."""
    return (*result._replace(head=b""), result.headers) if isinstance(result, OpeningRequest) else result


@example(head(*USUAL))
@example(head(*USUAL, b"Host: h"))
@given(heads())
def test_a_usual_request_is_what_all_the_rules_say(data: bytes) -> None:
    usual = outcome(usual_request, data, 128)
    if usual is not None:
        unusual = outcome(lambda: check_request(*parse_request(data)))
        assert said(usual) == said(unusual)


@pytest.mark.parametrize(
    "line",
    [b"Connection: upgrade", b"connection: keep-alive, Upgrade", b"UPGRADE: WebSocket", b"host:h:8080"],
)
def test_what_browsers_send_is_usual(line: bytes) -> None:
    name = line.partition(b":")[0].lower()
    rest = [each for each in USUAL if not each.lower().startswith(name + b":")]
    assert usual_request(head(line, *rest), 128) is not None


def test_a_right_response_is_accepted() -> None:
    assert check_response(RESPONSE, KEY) == (None, None)
    assert check_response(RESPONSE, KEY, ["chat"], [PerMessageDeflate()]) == (None, None)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (b"upgrade", [b"WebSocket"]),
        (b"connection", [b"keep-alive, UPGRADE"]),
        (b"sec-websocket-extensions", [b""]),
    ],
)
def test_a_response_may_say_it_otherwise(name: bytes, values: list[bytes]) -> None:
    assert check_response(replaced(RESPONSE, name, *values), KEY) == (None, None)


def test_the_chosen_subprotocol_is_given() -> None:
    headers = replaced(RESPONSE, b"sec-websocket-protocol", b"b")
    assert check_response(headers, KEY, ["a", "b"]) == ("b", None)


def test_the_compression_that_was_agreed_on_is_given() -> None:
    answer = b"permessage-deflate; server_max_window_bits=9"
    headers = replaced(RESPONSE, b"sec-websocket-extensions", answer)
    agreed = PerMessageDeflate(server_max_window_bits=9, client_max_window_bits=15)
    assert check_response(headers, KEY, (), [PerMessageDeflate()]) == (None, agreed)


@pytest.mark.parametrize(
    ("name", "values", "text"),
    [
        (b"upgrade", [], "must have 'Upgrade: websocket', it has none"),
        (b"upgrade", [b""], "must have 'Upgrade: websocket', it has ''"),
        (b"upgrade", [b"h2c"], "must have 'Upgrade: websocket', it has 'h2c'"),
        (b"upgrade", [b"websocket, h2c"], "it has 'websocket, h2c'"),
        (b"upgrade", [b"a", b"b", b"c", b"d"], "it has 'a, b, c, d'"),
        (b"connection", [], "must have 'Connection: Upgrade', it has none"),
        (b"connection", [b""], "must have 'Connection: Upgrade', it has ''"),
        (b"connection", [b"close"], "it has 'close'"),
        (b"sec-websocket-accept", [], "it has none"),
        (b"sec-websocket-accept", [ACCEPT, ACCEPT], f"it has '{ACCEPT.decode()}, {ACCEPT.decode()}'"),
        (b"sec-websocket-accept", [ACCEPT.lower()], "one Sec-WebSocket-Accept with"),
        (b"sec-websocket-accept", [b"\xff\r" * 50], r"it has '\xff\r"),
        (b"sec-websocket-extensions", [b"permessage-deflate"], "extension that was not offered: 'perm"),
        (
            b"sec-websocket-extensions",
            [b"permessage-deflate; =1"],
            "header is malformed: 'permessage-deflate; =1'",
        ),
        (b"sec-websocket-protocol", [b"c"], "the subprotocol 'c', which was not offered; offered: a, b"),
        (b"sec-websocket-protocol", [b""], "the subprotocol '', which was not offered"),
        (b"sec-websocket-protocol", [b"A"], "the subprotocol 'A', which was not offered"),
        (b"sec-websocket-protocol", [b"a, b"], "more than one subprotocol: 'a, b'"),
        (b"sec-websocket-protocol", [b"\xff"], r"the subprotocol '\xff', which was not offered"),
        (b"sec-websocket-protocol", [b"a", b"b"], "more than one subprotocol: 'a, b'"),
    ],
)
def test_a_wrong_response_is_refused_with_what_is_wrong(name: bytes, values: list[bytes], text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        check_response(replaced(RESPONSE, name, *values), KEY, ["a", "b"])
    assert text in str(caught.value)
    assert caught.value.status_code is None
    assert len(str(caught.value)) < 400


def test_a_subprotocol_without_an_offer_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="which was not offered; offered: none"):
        check_response(replaced(RESPONSE, b"sec-websocket-protocol", b"a"), KEY)
