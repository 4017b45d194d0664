"""The heads of HTTP/1.1, as nearly all peers send them, in plain Python: the specification that a compiled twin has to match."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["COMMON_FIELDS", "COMMON_NAMES", "read_fields", "read_request"]

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
_HIDDEN = frozenset({b"host", b"sec-websocket-protocol", b"sec-websocket-extensions"})

# A connection keeps the fields of its request. What nearly all requests have in common is kept once for all of them:
# names, and whole fields.
COMMON_NAMES: Final[dict[bytes, bytes]] = {
    name: name
    for name in (
        *(b"host", b"upgrade", b"connection", b"origin", b"user-agent", b"cookie", b"authorization"),
        *(b"accept", b"accept-encoding", b"accept-language", b"cache-control", b"pragma"),
        *(b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-accept"),
        *(b"sec-websocket-protocol", b"sec-websocket-extensions"),
        *(b"sec-fetch-dest", b"sec-fetch-mode", b"sec-fetch-site"),
        *(b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"),
    )
}
COMMON_FIELDS: Final[dict[Field, Field]] = {
    (COMMON_NAMES[name], value): (COMMON_NAMES[name], value)
    for name, value in (
        *((b"upgrade", b"websocket"), (b"connection", b"Upgrade"), (b"connection", b"keep-alive, Upgrade")),
        *((b"sec-websocket-version", b"13"), (b"cache-control", b"no-cache"), (b"pragma", b"no-cache")),
        *((b"accept-encoding", b"gzip, deflate"), (b"accept-encoding", b"gzip, deflate, br, zstd")),
    )
}


def read_fields(head: bytes, start: int) -> tuple[Field, ...] | None:
    """Take the field lines of a head apart, of which the first begins at `start` and an empty line is the last (RFC 9112 §5).

    Returns:
        Their names in lower case, and their values without the white space around them. None if there is anything that is
        not plainly so: somebody who knows all of HTTP's rules has to look at it.
    """
    fields = []
    while (line := _FIELD_LINE.match(head, start)) is not None:
        name, value = line[1].lower(), line[2].strip(b" \t")
        field = (COMMON_NAMES.get(name, name), value)
        fields.append(COMMON_FIELDS.get(field, field))
        start = line.end()
    return tuple(fields) if head[start:] == b"\r\n" else None


def read_request(
    head: bytes, max_fields: int
) -> tuple[bytes, tuple[Field, ...], bytes, bytes | None, bytes | None] | None:
    """Take the head of a right opening request apart, if it is a usual one (RFC 6455 §4.2.1).

    Returns:
        The path, the fields but for Host and the next two, the key, and what is proposed as Sec-WebSocket-Protocol and offered as
        Sec-WebSocket-Extensions, or None for neither. None in place of all that if there is anything to find fault with, one of
        these that comes twice, a body, or more than `max_fields`: somebody who knows all the rules has to look at it.
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
    shown = tuple([field for field in fields if field[0] not in _HIDDEN])
    return line[1], shown, key, values.get(b"sec-websocket-protocol"), values.get(b"sec-websocket-extensions")


def _are_once(names: list[bytes]) -> bool:
    """Whether no name that must not be repeated is, or whose values would have to be joined."""
    return all(names.count(name) < 2 for name in _ONCE)
