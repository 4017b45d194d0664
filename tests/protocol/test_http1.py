"""The opening handshake over HTTP/1.1, both roles."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket.protocol._events import (
    NEED_DATA,
    HandshakeCompleted,
    NeedData,
    RequestReceived,
    ResponseRejected,
)
from trio_websocket.protocol._http1 import ClientHandshake, ServerHandshake

# RFC 6455 §1.3.
NONCE = b"the sample nonce"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

REQUEST = (
    b"GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: " + KEY + b"\r\nOrigin: http://example.com\r\n"
    b"Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
)


def client(**options: Any) -> ClientHandshake:
    return ClientHandshake(host="h", resource="/", random_bytes=lambda size: NONCE[:size], **options)


def server_after(data: bytes, **options: Any) -> ServerHandshake:
    handshake = ServerHandshake(**options)
    handshake.receive_data(data)
    return handshake


def client_after(data: bytes, **options: Any) -> ClientHandshake:
    handshake = client(**options)
    handshake.receive_data(data)
    return handshake


def undecided_server(trailing: bytes = b"") -> ServerHandshake:
    handshake = server_after(REQUEST + trailing)
    assert isinstance(handshake.next_event(), RequestReceived)
    return handshake


def failure(handshake: ClientHandshake | ServerHandshake) -> RemoteProtocolError:
    """Give the error that the next event is, and check that it stays the same."""
    with pytest.raises(RemoteProtocolError) as caught:
        handshake.next_event()
    handshake.receive_data(b"x" * 100)
    handshake.receive_eof()
    with pytest.raises(RemoteProtocolError) as again:
        handshake.next_event()
    assert again.value is caught.value
    assert handshake.trailing_data == b""
    return caught.value


def feed(
    handshake: ClientHandshake | ServerHandshake, chunks: Iterable[bytes]
) -> RequestReceived | HandshakeCompleted | ResponseRejected | NeedData:
    """Feed chunks, pulling after each; give the event, once there is one."""
    event: RequestReceived | HandshakeCompleted | ResponseRejected | NeedData = NEED_DATA
    for chunk in chunks:
        handshake.receive_data(chunk)
        if event is NEED_DATA:
            event = handshake.next_event()
        else:
            assert handshake.next_event() is NEED_DATA
    return event


def cut(data: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    chunks = []
    while data:
        size = rng.choice([1, 2, 3, 10, 100])
        chunks.append(data[:size])
        data = data[size:]
    return chunks


def singly(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


# The client.


def test_client_sends_its_request_at_once_and_once() -> None:
    handshake = ClientHandshake(
        host="server.example.com:8080",
        resource="chat?a=ä b#f",
        subprotocols=iter(["chat", "superchat"]),
        extra_headers=[(b"Origin", b"http://example.com")],
        random_bytes=lambda size: NONCE[:size],
    )
    assert handshake.data_to_send() == (
        b"GET /chat?a=%C3%A4%20b HTTP/1.1\r\nHost: server.example.com:8080\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: chat, superchat\r\nOrigin: http://example.com\r\n\r\n"
    )
    assert handshake.data_to_send() == b""
    assert handshake.next_event() is NEED_DATA
    assert handshake.trailing_data == b""


def test_client_keys_differ() -> None:
    requests = {ClientHandshake(host="h", resource="/").data_to_send() for _ in range(5)}
    assert len(requests) == 5


@pytest.mark.parametrize(
    "options",
    [
        {"host": "h\r\nX: y", "resource": "/"},
        {"host": "h", "resource": "/ HTTP/1.1\r\nX: y"},
        {"host": "h", "resource": "/", "subprotocols": ["a b"]},
        {"host": "h", "resource": "/", "extra_headers": [(b"X", b"a\r\nY: z")]},
        {"host": "h", "resource": "/", "extra_headers": [(b"Host", b"a")]},
    ],
)
def test_client_refuses_what_cannot_be_sent(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        ClientHandshake(**options)


def test_client_accepts_a_right_response_and_keeps_what_follows() -> None:
    handshake = client_after(RESPONSE + b"\x81\x00")
    event = handshake.next_event()
    assert event == HandshakeCompleted(
        None,
        ((b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"sec-websocket-accept", ACCEPT)),
    )
    handshake.receive_data(memoryview(b"\x82\x00"))
    handshake.receive_eof()
    assert handshake.next_event() is NEED_DATA
    assert handshake.trailing_data == b"\x81\x00\x82\x00"


def test_client_is_not_upset_by_much_data_behind_the_response() -> None:
    handshake = client()
    handshake.receive_data(RESPONSE + b"x" * 200_000)
    handshake.receive_data(b"y" * 200_000)
    assert isinstance(handshake.next_event(), HandshakeCompleted)
    assert len(handshake.trailing_data) == 400_000


def test_client_bounds_what_lies_unread() -> None:
    handshake = client()
    for _ in range(18):
        handshake.receive_data(RESPONSE + b"x" * 65536)
    error = failure(handshake)
    assert str(error) == "the server sent more than 1048576 bytes ahead of the opening handshake"
    assert error.status_code is None


def test_client_skips_informational_responses() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + RESPONSE + b"rest"
    for chunks in ([data], singly(data)):
        handshake = client()
        assert isinstance(feed(handshake, chunks), HandshakeCompleted)
        assert handshake.trailing_data == b"rest"


def test_client_bounds_informational_responses() -> None:
    handshake = client(max_header_size=1000)
    with pytest.raises(RemoteProtocolError, match="the server sent headers that exceed max_header_size=1000"):
        feed(handshake, [b"HTTP/1.1 100 Continue\r\n\r\n"] * 100)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x15\x03\x01\x00\x02\x02\x0a", "sent a TLS record .*: that port may serve wss:, not ws:"),
        (b"SSH-2.0-OpenSSH_9\r\n", "something else than an HTTP/1.1 response: 'SSH-2.0-OpenSSH_9"),
        (b"\x00\x00\x12\x04\x00", r"something else than an HTTP/1.1 response: '\\x00\\x00\\x12"),
        (b"HTTP/1.1 20\n", "something else than an HTTP/1.1 response: 'HTTP/1.1 20'"),
        (b"HTTP/2.0 101 x\r\n", "something else than an HTTP/1.1 response"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "the response is malformed: .*'no colon'"),
        (RESPONSE.replace(ACCEPT, b"x"), "must have one Sec-WebSocket-Accept with '.*', it has 'x'"),
        (
            RESPONSE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: a\r\n\r\n"),
            "'a', which was not offered",
        ),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 129 + b"\r\n", "129 header fields exceed"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"b" * 20000, "exceed max_header_size=16384"),
    ],
)
def test_client_refuses_what_is_no_right_response(data: bytes, text: str) -> None:
    error = failure(client_after(data))
    with pytest.raises(RemoteProtocolError, match=text):
        raise error
    assert error.status_code is None


def test_client_tells_garbage_from_its_first_byte() -> None:
    assert feed(client(), singly(b"HTTP/1.")) is NEED_DATA
    for data in (b"\x16", b"x", b"\xff", b"HX", b"HTTP/2"):
        assert "response" in str(failure(client_after(data)))


def test_client_notices_the_end_of_the_connection() -> None:
    handshake = client()
    handshake.receive_eof()
    assert str(failure(handshake)) == "the server ended the connection before sending a response"
    # As for a connection that ends without a close frame: it may be the network's doing.
    assert failure(handshake).code == 1006
    handshake = client_after(RESPONSE[:-1])
    handshake.receive_eof()
    assert str(failure(handshake)) == "the server ended the connection in the middle of its response"
    assert failure(handshake).code == 1006


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (b"Content-Length: 0\r\n\r\n", None),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"Content-Length: 5\r\n\r\nhelloworld", b"hello"),
    ],
)
def test_client_delivers_a_rejection_with_its_body(data: bytes, body: bytes | None) -> None:
    for chunks in ([b"HTTP/1.1 401 No\r\n" + data], singly(b"HTTP/1.1 401 No\r\n" + data)):
        handshake = client()
        event = feed(handshake, chunks)
        assert isinstance(event, ResponseRejected)
        assert (event.status_code, event.body) == (401, body)
        assert len(event.headers) == 1
        assert handshake.trailing_data == b""
        handshake.receive_data(b"dropped")
        assert handshake.next_event() is NEED_DATA


@pytest.mark.parametrize("head", [b"Content-Length: 9", b"Transfer-Encoding: chunked", b"X: y"])
def test_client_delivers_what_came_when_the_body_is_cut_short(head: bytes) -> None:
    handshake = client_after(b"HTTP/1.1 500 No\r\n" + head + b"\r\n\r\n4\r\nhell")
    assert handshake.next_event() is NEED_DATA
    handshake.receive_eof()
    event = handshake.next_event()
    assert isinstance(event, ResponseRejected)
    assert event.body == (b"hell" if b"chunked" in head else b"4\r\nhell")


@pytest.mark.parametrize("max_body_size", [0, 1, 10])
def test_client_cuts_a_body_at_the_limit_without_waiting_for_its_end(max_body_size: int) -> None:
    head = b"HTTP/1.1 500 No\r\nContent-Length: 1000000\r\n\r\n"
    for chunks in ([head + b"x" * 500], [head, *singly(b"x" * 20)]):
        event = feed(client(max_body_size=max_body_size), chunks)
        assert isinstance(event, ResponseRejected)
        assert event.body == (b"x" * max_body_size or None)


@pytest.mark.parametrize("status_code", [200, 204, 301, 304, 404, 426, 503])
def test_client_takes_any_other_status_for_a_rejection(status_code: int) -> None:
    handshake = client_after(b"HTTP/1.1 %d x\r\nLocation: y\r\n\r\n" % status_code)
    handshake.receive_eof()
    assert handshake.next_event() == ResponseRejected(status_code, ((b"location", b"y"),), None)


# The server.


def test_server_gives_the_request() -> None:
    handshake = server_after(REQUEST)
    assert handshake.next_event() == RequestReceived(
        "/chat",
        (
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-key", KEY),
            (b"origin", b"http://example.com"),
            (b"sec-websocket-version", b"13"),
        ),
        ("chat", "superchat"),
    )
    assert handshake.next_event() is NEED_DATA
    assert handshake.data_to_send() == b""
    assert handshake.extensions == ()


def test_server_tells_which_extensions_are_offered() -> None:
    assert ServerHandshake().extensions == ()
    handshake = server_after(REQUEST[:-2] + b"Sec-WebSocket-Extensions: a; b=c\r\n\r\n")
    handshake.next_event()
    assert handshake.extensions == (("a", [("b", "c")]),)
    handshake.accept()
    assert b"Sec-WebSocket-Extensions" not in handshake.data_to_send()


def test_server_accepts() -> None:
    handshake = undecided_server()
    completed = handshake.accept(subprotocol="superchat", extra_headers=[(b"Set-Cookie", b"a=b")])
    assert completed == HandshakeCompleted(
        "superchat",
        (
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-accept", ACCEPT),
            (b"sec-websocket-protocol", b"superchat"),
            (b"set-cookie", b"a=b"),
        ),
    )
    assert handshake.data_to_send() == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n"
        b"Sec-WebSocket-Protocol: superchat\r\nSet-Cookie: a=b\r\n\r\n"
    )
    assert handshake.next_event() is NEED_DATA


def test_server_accepts_without_a_subprotocol() -> None:
    handshake = undecided_server()
    assert handshake.accept().subprotocol is None
    assert b"Protocol:" not in handshake.data_to_send()


@pytest.mark.parametrize(
    "options", [{"subprotocol": "other"}, {"subprotocol": ""}, {"extra_headers": [(b"X", b"\n")]}]
)
def test_server_may_accept_after_a_call_that_was_wrong(options: dict[str, Any]) -> None:
    handshake = undecided_server()
    with pytest.raises(
        ValueError, match=r"not one that the client proposed: chat, superchat|control character"
    ):
        handshake.accept(**options)
    assert handshake.data_to_send() == b""
    handshake.accept()


def test_server_says_when_nothing_was_proposed() -> None:
    handshake = server_after(REQUEST.replace(b"Sec-WebSocket-Protocol: chat, superchat\r\n", b""))
    handshake.next_event()
    with pytest.raises(ValueError, match="'chat' is not one that the client proposed: none"):
        handshake.accept(subprotocol="chat")


def test_server_rejects() -> None:
    handshake = undecided_server(b"trailing")
    handshake.reject(403, extra_headers=[(b"X-A", b"b")], body=b"no\n")
    assert handshake.data_to_send() == (
        b"HTTP/1.1 403 Forbidden\r\nX-A: b\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n"
    )
    handshake.receive_data(b"dropped")
    handshake.receive_eof()
    assert handshake.next_event() is NEED_DATA
    assert handshake.trailing_data == b""


def test_server_rejects_without_the_fields_that_are_not_the_callers() -> None:
    handshake = undecided_server()
    fields = [(b"Connection", b"keep-alive"), (b"X-A", b"b"), (b"transfer-encoding", b"chunked")]
    handshake.reject(403, extra_headers=fields)
    assert handshake.data_to_send() == (
        b"HTTP/1.1 403 Forbidden\r\nX-A: b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )


def test_server_may_reject_after_a_call_that_was_wrong() -> None:
    handshake = undecided_server()
    with pytest.raises(ValueError, match="from 200 to 599"):
        handshake.reject(101)
    handshake.reject(404)


def test_server_answers_once_and_only_a_request() -> None:
    handshake = ServerHandshake()
    for answer in (handshake.accept, lambda: handshake.reject(404)):
        with pytest.raises(RuntimeError, match="no request has come yet"):
            answer()
    handshake.receive_data(REQUEST)
    handshake.next_event()
    handshake.accept()
    for answer in (handshake.accept, lambda: handshake.reject(404)):
        with pytest.raises(RuntimeError, match="was accepted before"):
            answer()
    rejected = undecided_server()
    rejected.reject(404)
    for answer in (rejected.accept, lambda: rejected.reject(404)):
        with pytest.raises(RuntimeError, match="was rejected before"):
            answer()


def test_server_keeps_what_the_client_sends_ahead() -> None:
    handshake = server_after(REQUEST + b"abc")
    assert handshake.trailing_data == b""
    handshake.next_event()
    handshake.receive_data(bytearray(b"def"))
    assert handshake.trailing_data == b"abcdef"
    handshake.accept()
    handshake.receive_data(b"ghi")
    handshake.receive_eof()
    assert handshake.next_event() is NEED_DATA
    assert handshake.trailing_data == b"abcdefghi"


def test_server_bounds_what_the_client_sends_ahead() -> None:
    handshake = undecided_server(b"x" * 65536)
    handshake.receive_data(b"y" * 1000)
    handshake.receive_data(b"z")
    with pytest.raises(RemoteProtocolError, match="the client sent more than 65536 bytes ahead"):
        handshake.accept()
    error = failure(handshake)
    assert error.status_code == 400
    assert handshake.data_to_send().startswith(b"HTTP/1.1 400 ")


def test_server_does_not_answer_twice_if_the_bound_is_broken_after_accepting() -> None:
    handshake = undecided_server(b"x" * 70000)
    handshake.accept()
    handshake.data_to_send()
    handshake.receive_data(b"y")
    failure(handshake)
    assert handshake.data_to_send() == b""


def test_server_notices_that_the_client_left_before_the_answer() -> None:
    handshake = undecided_server()
    handshake.receive_eof()
    handshake.receive_eof()
    for answer in (handshake.accept, lambda: handshake.reject(404)):
        with pytest.raises(RemoteProtocolError, match="ended the connection before its request was answered"):
            answer()
    failure(handshake)
    assert handshake.data_to_send().count(b"HTTP/1.1 400 ") == 1
    handshake = server_after(REQUEST)
    handshake.receive_eof()
    assert "before its request was answered" in str(failure(handshake))


def test_server_notices_the_end_of_the_connection() -> None:
    handshake = ServerHandshake()
    handshake.receive_eof()
    error = failure(handshake)
    assert str(error) == "the client ended the connection before sending a request"
    assert error.status_code is None
    assert handshake.data_to_send() == b""
    handshake = server_after(REQUEST[:-1])
    handshake.receive_eof()
    error = failure(handshake)
    assert str(error) == "the client ended the connection in the middle of its request"
    assert error.status_code == 400
    assert handshake.data_to_send().startswith(b"HTTP/1.1 400 ")


def changed(old: bytes, new: bytes) -> bytes:
    assert old in REQUEST
    return REQUEST.replace(old, new)


@pytest.mark.parametrize(
    ("data", "status_code", "text"),
    [
        (b"\x16\x03\x01\x02\x00\x01", 400, "sent a TLS record .*: this port serves ws:, not wss:"),
        (b"hello\n", 400, "something else than an HTTP/1.1 request: 'hello'"),
        (b"\r\n", 400, r"something else than an HTTP/1.1 request: ''"),
        (b"\xff", 400, r"something else than an HTTP/1.1 request: '\\xff'"),
        (b"\r", 400, r"something else than an HTTP/1.1 request: '\\r'"),
        (b"GET /\r\n", 400, "something else than an HTTP/1.1 request: 'GET /'"),
        (b"GET /\xc3\xa4 HTTP/1.1\r\n", 400, "something else than an HTTP/1.1 request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "Host"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400, "the request is malformed: .*'no colon'"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: \x00\r\n\r\n", 400, "the request is malformed"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 128 + b"\r\n", 431, "129 header fields exceed"),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"b" * 20000, 431, "exceed max_header_size=16384"),
        (b"GET /" + b"a" * 20000, 431, "exceed max_header_size=16384"),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", 426, "no 'Upgrade: websocket' header"),
        (b"GET / HTTP/1.0\r\n\r\n", 505, "needs HTTP/1.1"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "needs HTTP/1.1"),
        (changed(b"GET", b"POST"), 405, "opened with GET"),
        (changed(KEY, b"x"), 400, "16 bytes in base64, it is 'x'"),
        (changed(b"Version: 13", b"Version: 8"), 426, "is 13, the request has '8'"),
        (changed(b"server.example.com", b"\xff"), 400, r"the Host header '\\xff'"),
        (changed(b"superchat", b"caf\xc3\xa9"), 400, "which is not a token"),
    ],
)
def test_server_answers_a_bad_request_with_a_status_and_a_text(
    data: bytes, status_code: int, text: str
) -> None:
    handshake = server_after(data)
    error = failure(handshake)
    assert error.status_code == status_code
    with pytest.raises(RemoteProtocolError, match=text):
        raise error
    head, _, body = handshake.data_to_send().partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0].startswith(b"HTTP/1.1 %d " % status_code)
    assert b"Content-Type: text/plain; charset=utf-8" in lines
    assert b"Content-Length: %d" % len(body) in lines
    assert body == f"{error}\n".encode("ascii")
    assert (b"Allow: GET" in lines) == (status_code == 405)
    assert (b"Upgrade: websocket" in lines) == (status_code == 426)
    assert (b"Sec-WebSocket-Version: 13" in lines) == (status_code == 426)
    assert (b"Connection: Upgrade, close" if status_code == 426 else b"Connection: close") in lines
    with pytest.raises(RemoteProtocolError):
        handshake.accept()


def test_server_answers_head_without_a_body() -> None:
    handshake = server_after(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert failure(handshake).status_code == 405
    assert handshake.data_to_send().endswith(b"\r\n\r\n")


def test_server_refuses_a_dribbled_head_as_soon_as_it_is_too_large() -> None:
    data = b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"b" * 1000
    handshake = ServerHandshake(max_header_size=1000)
    for byte in singly(data[:1000]):
        handshake.receive_data(byte)
        assert handshake.next_event() is NEED_DATA
    handshake.receive_data(data[1000:1001])
    assert failure(handshake).status_code == 431


def test_a_head_of_just_the_limit_is_taken() -> None:
    handshake = server_after(REQUEST + b"trailing", max_header_size=len(REQUEST))
    assert isinstance(handshake.next_event(), RequestReceived)
    handshake = server_after(REQUEST + b"trailing", max_header_size=len(REQUEST) - 1)
    assert failure(handshake).status_code == 431


def test_server_takes_a_head_that_ends_its_lines_with_line_feeds() -> None:
    handshake = ServerHandshake()
    assert isinstance(feed(handshake, singly(REQUEST.replace(b"\r\n", b"\n"))), RequestReceived)


# Both.


FRAGMENTS: list[bytes] = [
    *(b"GET ", b"/", b" HTTP/1.1", b"HTTP/1.1 ", b"101 x", b"200 OK", b"100 x", REQUEST, RESPONSE),
    *(b"\r\n", b"\n", b"\r", b":", b" ", b"\t", b"\0", b"\xff", REQUEST[:-2], RESPONSE[:-2]),
    *(b"Host: h", b"Content-Length: 3", b"Transfer-Encoding: chunked", b"3;x", b"Connection: Upgrade"),
    *(b"Sec-WebSocket-Protocol: ", b"Sec-WebSocket-Extensions: ", b'a="'),
]
HOSTILE = st.binary(max_size=300) | st.lists(st.sampled_from(FRAGMENTS), max_size=30).map(b"".join)


@example(data=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\n", seed=0, ends=True)
@given(data=HOSTILE, seed=st.integers(0, 5), ends=st.booleans())
@pytest.mark.parametrize("make", [client, ServerHandshake])
def test_any_bytes_are_an_event_a_wait_or_a_protocol_error(
    make: Callable[[], ClientHandshake | ServerHandshake], data: bytes, seed: int, ends: bool
) -> None:
    handshake = make()
    message = ""
    try:
        feed(handshake, cut(data, seed))
        if ends:
            handshake.receive_eof()
        handshake.next_event()
    except RemoteProtocolError as exc:
        message = str(exc)
    assert message.isascii()
    assert len(message) < 1000


@given(data=HOSTILE, seed=st.integers(0, 5))
def test_how_bytes_are_cut_makes_no_difference(data: bytes, seed: int) -> None:
    def outcome(handshake: ClientHandshake | ServerHandshake, chunks: list[bytes]) -> object:
        try:
            return feed(handshake, chunks), handshake.trailing_data
        except RemoteProtocolError as exc:
            return exc.status_code

    for make in (client, ServerHandshake):
        whole = outcome(make(), [data])
        cut_up = outcome(make(), cut(data, seed))
        if isinstance(whole, tuple) and isinstance(whole[0], ResponseRejected):
            # A malformed body is cut where its fault is seen.
            assert isinstance(cut_up, tuple)
            assert isinstance(cut_up[0], ResponseRejected)
            assert (cut_up[0].status_code, cut_up[0].headers) == (whole[0].status_code, whole[0].headers)
        else:
            assert cut_up == whole


TOKENS = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8)


@given(
    offered=st.lists(TOKENS, unique=True, max_size=4),
    choice=st.integers(0, 4),
    resource=st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=20),
    seeds=st.tuples(st.integers(0, 99), st.integers(0, 99)),
    trailing=st.tuples(st.binary(max_size=20), st.binary(max_size=20)),
)
def test_a_client_and_a_server_agree_however_their_bytes_are_cut(
    offered: list[str], choice: int, resource: str, seeds: tuple[int, int], trailing: tuple[bytes, bytes]
) -> None:
    connecting = ClientHandshake(host="h", resource=resource, subprotocols=offered)
    serving = ServerHandshake()
    request = feed(serving, cut(connecting.data_to_send() + trailing[0], seeds[0]))
    assert isinstance(request, RequestReceived)
    assert request.subprotocols == tuple(offered)
    chosen = offered[choice] if choice < len(offered) else None
    accepted = serving.accept(subprotocol=chosen)
    completed = feed(connecting, cut(serving.data_to_send() + trailing[1], seeds[1]))
    assert completed == accepted
    assert completed.subprotocol == chosen
    assert (serving.trailing_data, connecting.trailing_data) == trailing


@pytest.mark.slow
def test_work_is_linear_in_bytes_that_come_singly() -> None:
    # With quadratic work, this would take minutes.
    data = REQUEST[:-2] + b"A: b\r\n" * 50 + b"B: " + b"c" * 2_000_000 + b"\r\n\r\n"
    handshake = ServerHandshake(max_header_size=len(data))
    assert feed(handshake, (data[i : i + 7] for i in range(0, len(data), 7))) is not NEED_DATA
