"""HTTP/1.1 messages, as far as an opening handshake needs them (RFC 9112): put together, and taken apart.

A head of the form that nearly every peer sends is taken apart by the kernel: a request in `usual_request`, a response
here. The kernel takes less than h11 does, and tests hold that it reads it the same; so h11 says what is right, and why
something is wrong, and a usual handshake does not pay the 34 µs that h11 takes. (httptools, which is compiled, takes 2.3,
and the kernel 0.3, with all checks; but httptools takes requests without a Host or with two, and refuses methods that are
well-formed.)

h11 is used here and nowhere else, for heads and for a rejection's body; none of its types or errors leaves this
module.
"""

from __future__ import annotations

import http
import re
from collections.abc import Iterable

import h11

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket._kernel import read_fields
from trio_websocket.protocol._events import Headers
from trio_websocket.protocol._headers import HeaderInput, build_headers, shown

__all__ = [
    "MAX_HEADERS",
    "SWITCHED",
    "ResponseParser",
    "final_response",
    "get_request",
    "parse_request",
    "switching_response",
]

MAX_HEADERS = 128
# RFC 6455 §4.2.2, item 5: what each 101 response of ours begins with, and the fields in it, with lower-case names.
_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
SWITCHED = ((b"upgrade", b"websocket"), (b"connection", b"Upgrade"))
# RFC 9112 §4, without what is obsolete.
_SWITCHING_LINE = re.compile(rb"HTTP/1\.1 101(?: [\t\x20-\x7e\x80-\xff]*)?\r\n")
_OF_A_BODY = frozenset({b"content-length", b"transfer-encoding"})
_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}
# RFC 9110 §15.3.5, §15.3.6, §15.4.5: these have no content.
_WITHOUT_BODY = frozenset({204, 205, 304})
# RFC 9110 §7.6.1, RFC 9112 §6.1: what they say of the connection and of the body's coding is ours to say.
_OURS_IN_REJECTION = frozenset({b"connection", b"transfer-encoding"})


def get_request(resource: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Make a GET request out of a checked resource name and checked header fields."""
    return _serialize(b"GET %b HTTP/1.1\r\n" % resource.encode("ascii"), headers)


def switching_response(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Make a 101 response out of checked header fields, behind those of `SWITCHED`."""
    return _serialize(_SWITCHING, headers)


def _serialize(first_line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join([first_line, *[b"%b: %b\r\n" % field for field in headers], b"\r\n"])


def _status_line(status_code: int) -> bytes:
    # RFC 9112 §4: the space after the code is there even when the reason phrase is empty.
    return f"HTTP/1.1 {status_code} {_PHRASES.get(status_code, '')}\r\n".encode("ascii")


def final_response(
    status_code: int, extra_headers: HeaderInput, body: bytes | None, *, is_body_sent: bool = True
) -> bytes:
    """Make a final response, after which the connection closes.

    Args:
        status_code: From 200 to 599.
        extra_headers: Further header fields; a Content-Length must be right, Connection and Transfer-Encoding
            are left out.
        body: The content, or None for none.
        is_body_sent: False for the answer to HEAD, which is the same without its content.

    Raises:
        TypeError: An argument is of another type.
        ValueError: An argument cannot be sent.
    """
    if not isinstance(status_code, int):
        raise TypeError(f"an HTTP status must be an int, not {type(status_code).__name__}")
    status_code = int(status_code)  # Of a member of http.HTTPStatus, which prints itself otherwise.
    if not 200 <= status_code <= 599:
        raise ValueError(f"a final HTTP status is from 200 to 599, not {status_code}")
    content = b"" if body is None else bytes(memoryview(body))
    if content and status_code in _WITHOUT_BODY:
        raise ValueError(f"a response with status {status_code} cannot have a body")
    headers = build_headers(extra_headers, ())
    headers = [field for field in headers if field[0].lower() not in _OURS_IN_REJECTION]
    names = {name.lower() for name, _ in headers}
    for name, value in headers:
        if name.lower() == b"content-length" and value != b"%d" % len(content):
            raise ValueError(f"the Content-Length {shown(value)} is not that of the body, {len(content)}")
    # RFC 9110 §8.6: no Content-Length in a 204 response; in a 304 it would be that of another response.
    if b"content-length" not in names and status_code not in (204, 304):
        headers.append((b"Content-Length", b"%d" % len(content)))
    # RFC 9110 §7.8: who sends Upgrade MUST also send the connection option "Upgrade".
    headers.append((b"Connection", b"Upgrade, close" if b"upgrade" in names else b"close"))
    return _serialize(_status_line(status_code), headers) + (content if is_body_sent else b"")


def parse_request(head: bytes) -> tuple[bytes, bytes, bytes, Headers]:
    """Take a whole head apart: method, target, version, header fields with lower-case names."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError as exc:
        raise RemoteProtocolError(
            f"the request is malformed: {_reason(exc)}", status_code=exc.error_status_hint
        ) from exc
    assert isinstance(event, h11.Request)
    _check_count(len(event.headers), 431)
    return event.method, event.target, event.http_version, _fields_of(event)


def _fields_of(event: h11.Request | h11.InformationalResponse | h11.Response) -> Headers:
    return tuple((bytes(name), bytes(value)) for name, value in event.headers)


def _reason(error: h11.RemoteProtocolError) -> str:
    # h11 quotes whole lines, as bytearray(b'...').
    text = (
        re.sub(r"bytearray\(b(.*)\)", r"\1", str(error)).encode("ascii", "backslashreplace").decode("ascii")
    )
    return text if len(text) <= 100 else text[:100] + "..."


def _check_count(count: int, status_code: int | None) -> None:
    if count > MAX_HEADERS:
        raise RemoteProtocolError(
            f"{count} header fields exceed the limit of {MAX_HEADERS}", status_code=status_code
        )


class ResponseParser:
    """Takes the response's heads and body apart."""

    __slots__ = ("_connection", "_max_header_size")

    def __init__(self, max_header_size: int) -> None:
        self._max_header_size = max_header_size
        # Made for the first head that needs it: the 101 response of a right handshake does not.
        self._connection: h11.Connection | None = None

    def parse_head(self, head: bytes) -> tuple[int, Headers]:
        """Take a whole head apart: status, header fields with lower-case names."""
        if (line := _SWITCHING_LINE.match(head)) is not None:
            headers = read_fields(head, line.end())
            # RFC 9112 §6: what h11 knows the rules of.
            if headers is not None and not any(name in _OF_A_BODY for name, _ in headers):
                _check_count(len(headers), None)
                return 101, headers
        connection = self._connected()
        connection.receive_data(head)
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError as exc:
            raise RemoteProtocolError(f"the response is malformed: {_reason(exc)}") from exc
        assert isinstance(event, (h11.InformationalResponse, h11.Response))
        _check_count(len(event.headers), None)
        return event.status_code, _fields_of(event)

    def _connected(self) -> h11.Connection:
        if self._connection is None:
            # The limit is for lines between the chunks of a body; heads come whole.
            self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=self._max_header_size)
            # h11 has to know that it was a GET which asked for an upgrade.
            headers = [(b"Host", b""), (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
            self._connection.send(h11.Request(method=b"GET", target=b"/", headers=headers))
            self._connection.send(h11.EndOfMessage())
        return self._connection

    def parse_body(self, data: bytes, is_eof: bool) -> tuple[bytes, bool]:
        """Give the content that `data` has, and whether it was the last.

        Whatever ends a body ends it: who reads it is a person who wants to know about the rejection.
        """
        content = bytearray()
        connection = self._connected()
        try:
            if data:
                connection.receive_data(data)
            if is_eof:
                connection.receive_data(b"")
            while isinstance(event := connection.next_event(), h11.Data):
                content += event.data
        except h11.RemoteProtocolError:
            return bytes(content), True
        return bytes(content), event is not h11.NEED_DATA
