"""HTTP/1.1 messages, as far as an opening handshake needs them (RFC 9112): put together, and taken apart.

h11 is used here and nowhere else, as a parser of whole heads and of a rejection's body; none of its types or
errors leaves this module.
"""

from __future__ import annotations

import http
import re
from collections.abc import Collection, Iterable

import h11

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket.protocol._events import Headers
from trio_websocket.protocol._headers import HeaderInput, build_headers, shown

__all__ = ["ResponseParser", "final_response", "get_request", "parse_request", "switching_response"]

_MAX_HEADERS = 128
_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}
# RFC 9110 §15.3.5, §15.3.6, §15.4.5: these have no content.
_WITHOUT_BODY = frozenset({204, 205, 304})
# RFC 9110 §7.6.1, RFC 9112 §6.1: what they say of the connection and of the body's coding is ours to say.
_OURS_IN_REJECTION = frozenset({b"connection", b"transfer-encoding"})


def get_request(resource: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Make a GET request out of a checked resource name and checked header fields."""
    return _serialize(f"GET {resource} HTTP/1.1", headers)


def switching_response(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Make a 101 response out of checked header fields."""
    return _serialize(_status_line(101), headers)


def _serialize(first_line: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    fields = (b"%b: %b\r\n" % field for field in headers)
    return b"%b\r\n%b\r\n" % (first_line.encode("ascii"), b"".join(fields))


def _status_line(status_code: int) -> str:
    # RFC 9112 §4: the space after the code is there even when the reason phrase is empty.
    return f"HTTP/1.1 {status_code} {_PHRASES.get(status_code, '')}"


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
    return event.method, event.target, event.http_version, _checked_count(event.headers, 431)


def _reason(error: h11.RemoteProtocolError) -> str:
    # h11 quotes whole lines, as bytearray(b'...').
    text = (
        re.sub(r"bytearray\(b(.*)\)", r"\1", str(error)).encode("ascii", "backslashreplace").decode("ascii")
    )
    return text if len(text) <= 100 else text[:100] + "..."


def _checked_count(headers: Collection[tuple[bytes, bytes]], status_code: int | None) -> Headers:
    if len(headers) > _MAX_HEADERS:
        raise RemoteProtocolError(
            f"{len(headers)} header fields exceed the limit of {_MAX_HEADERS}", status_code=status_code
        )
    return tuple((bytes(name), bytes(value)) for name, value in headers)


class ResponseParser:
    """Takes the response's heads and body apart."""

    def __init__(self, max_header_size: int) -> None:
        # The limit is for lines between the chunks of a body; heads come whole.
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=max_header_size)
        # h11 has to know that it was a GET which asked for an upgrade.
        headers = [(b"Host", b""), (b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")]
        self._connection.send(h11.Request(method=b"GET", target=b"/", headers=headers))
        self._connection.send(h11.EndOfMessage())

    def parse_head(self, head: bytes) -> tuple[int, Headers]:
        """Take a whole head apart: status, header fields with lower-case names."""
        self._connection.receive_data(head)
        try:
            event = self._connection.next_event()
        except h11.RemoteProtocolError as exc:
            raise RemoteProtocolError(f"the response is malformed: {_reason(exc)}") from exc
        assert isinstance(event, (h11.InformationalResponse, h11.Response))
        return event.status_code, _checked_count(event.headers, None)

    def parse_body(self, data: bytes, is_eof: bool) -> tuple[bytes, bool]:
        """Give the content that `data` has, and whether it was the last.

        Whatever ends a body ends it: who reads it is a person who wants to know about the rejection.
        """
        content = bytearray()
        try:
            if data:
                self._connection.receive_data(data)
            if is_eof:
                self._connection.receive_data(b"")
            while isinstance(event := self._connection.next_event(), h11.Data):
                content += event.data
        except h11.RemoteProtocolError:
            return bytes(content), True
        return bytes(content), event is not h11.NEED_DATA
