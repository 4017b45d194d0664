"""The heads of HTTP/1.1, as nearly all peers send them, in plain Python: the specification that a compiled twin has to match."""

from __future__ import annotations

import re

__all__ = ["read_fields", "read_request"]

Field = tuple[bytes, bytes]

# RFC 9110 §5.1, §5.5 and §5.6.2: a token, a colon, and no control characters but the tab. Nothing that is obsolete:
# no line ends with a bare LF, and none is folded.
_FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)\r\n")

_REQUEST_LINE = re.compile(rb"GET (/[\x21-\x7e]*) HTTP/1\.1\r\n")
# As in `protocol._handshake`.
_HOST = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=%:\[\]]*")
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_OF_A_BODY = frozenset({b"content-length", b"transfer-encoding"})
_ONCE = frozenset(
    {
        *(b"host", b"upgrade", b"connection", b"sec-websocket-key", b"sec-websocket-version"),
        *(b"sec-websocket-protocol", b"sec-websocket-extensions"),
    }
)


def read_fields(head: bytes, start: int) -> tuple[Field, ...] | None:
    """Take the field lines of a head apart, of which the first begins at `start` and an empty line is the last (RFC 9112 §5).

    Returns:
        Their names in lower case, and their values without the white space around them. None if there is anything that is
        not plainly so: somebody who knows all of HTTP's rules has to look at it.
    """
    fields = []
    while (line := _FIELD_LINE.match(head, start)) is not None:
        fields.append((line[1].lower(), line[2].strip(b" \t")))
        start = line.end()
    return tuple(fields) if head[start:] == b"\r\n" else None


def read_request(head: bytes, max_fields: int) -> tuple[bytes, bytes, bytes | None, bytes | None] | None:
    """Look whether a head is that of a right opening request, and a usual one (RFC 6455 §4.2.1).

    Returns:
        The path, the key, and what is proposed as Sec-WebSocket-Protocol and offered as Sec-WebSocket-Extensions, or None for
        neither; `read_fields` will take the head apart. None in place of all that if there is anything to find fault with, one
        of these fields or of those that make it a request for a WebSocket twice, a body, or more than `max_fields`: somebody
        who knows all the rules has to look at it.
    """
    line = _REQUEST_LINE.match(head)
    fields = None if line is None else read_fields(head, line.end())
    if line is None or fields is None or len(fields) > max_fields:
        return None
    values = dict(fields)
    host, key = values.get(b"host"), values.get(b"sec-websocket-key")
    if host is None or key is None or not _HOST.fullmatch(host) or not _KEY.fullmatch(key):
        return None
    if values.get(b"sec-websocket-version") != b"13" or not _OF_A_BODY.isdisjoint(values):
        return None
    if len(values) < len(fields) and not _are_once([name for name, _ in fields]):
        return None
    options = [option.strip(b" \t") for option in values.get(b"connection", b"").lower().split(b",")]
    if values.get(b"upgrade", b"").lower() != b"websocket" or b"upgrade" not in options:
        return None
    return line[1], key, values.get(b"sec-websocket-protocol"), values.get(b"sec-websocket-extensions")


def _are_once(names: list[bytes]) -> bool:
    """Whether no name that must not be repeated is, or whose values would have to be joined."""
    return all(names.count(name) < 2 for name in _ONCE)
