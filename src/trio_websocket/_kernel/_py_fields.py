"""The field lines of HTTP/1.1's heads, in plain Python: the specification that a compiled twin has to match."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["COMMON_FIELDS", "COMMON_NAMES", "read_fields"]

Field = tuple[bytes, bytes]

# RFC 9110 §5.1, §5.5 and §5.6.2: a token, a colon, and no control characters but the tab. Nothing that is obsolete:
# no line ends with a bare LF, and none is folded.
_FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)\r\n")

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
