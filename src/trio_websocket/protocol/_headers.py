"""Header fields: reading the peer's lists, checking the caller's (RFC 9110 §5, RFC 6455 §9.1 and §11.3).

The peer's values stay bytes until they are known to be ASCII, so that no byte of theirs can raise a
UnicodeDecodeError; the caller's values are checked so that none of them can end a line of ours.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterable

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket.protocol._events import Headers

__all__ = [
    "Extension",
    "HeaderInput",
    "basic_auth",
    "build_headers",
    "check_subprotocols",
    "parse_extensions",
    "parse_tokens",
    "shown",
    "split_list",
    "values_by_name",
]

HeaderInput = Iterable[tuple[bytes | str, bytes | str]]
"""Header fields as callers give them: pairs of name and value, bytes or ASCII text."""

Extension = tuple[str, list[tuple[str, str | None]]]
"""An element of Sec-WebSocket-Extensions: its name, and its parameters, each with a value or None."""

# RFC 9110 §5.6.2: token = 1*tchar.
_TOKEN_PATTERN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TOKEN = re.compile(_TOKEN_PATTERN)
# RFC 9110 §5.5: a field value has no control characters but the tab; CR, LF and NUL are dangerous.
_NOT_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
# RFC 6455 §9.1: extension-param = token [ "=" (token | quoted-string) ]; its grammar is that of RFC 2616,
# which lets white space stand between any two parts.
_EXTENSION_NAME = re.compile(rb"[ \t]*(" + _TOKEN_PATTERN + rb")[ \t]*")
_EXTENSION_PARAMETER = re.compile(
    rb";[ \t]*(" + _TOKEN_PATTERN + rb")[ \t]*"
    rb"(?:=[ \t]*(?:(" + _TOKEN_PATTERN + rb')|"((?:[^"\\]|\\.)*)")[ \t]*)?',
    re.DOTALL,
)
_EMPTY_ELEMENTS = re.compile(rb"[ \t,]*")
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)


def shown(value: bytes | bytearray | str, limit: int = 60) -> str:
    """Quote what the peer or the caller gave for a message: escaped, and cut at `limit`."""
    text = value[:limit]
    if not isinstance(text, str):
        text = text.decode("latin-1")
    return ascii(text) + ("..." if len(value) > limit else "")


def values_by_name(headers: Headers) -> dict[bytes, bytes]:
    """Give the value of each lower-case name; several fields of one name are one list (RFC 9110 §5.2)."""
    values = dict(headers)
    if len(values) < len(headers):
        # Seldom, so it may begin anew.
        lists: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            lists.setdefault(name, []).append(value)
        values = {name: b", ".join(parts) for name, parts in lists.items()}
    return values


def split_list(value: bytes) -> list[bytes]:
    """Split a comma-separated list into its elements, without checking these (RFC 9110 §5.6.1)."""
    # RFC 9110 §5.6.1.2: a recipient MUST parse and ignore a reasonable number of empty list elements.
    return [stripped for element in value.split(b",") if (stripped := element.strip(b" \t"))]


def parse_tokens(value: bytes, field: str) -> list[str]:
    """Read a comma-separated list of tokens.

    Args:
        value: The list.
        field: Whose value it is, for the message.

    Raises:
        RemoteProtocolError: An element is no token; `status_code` is 400.
    """
    elements = split_list(value)
    for element in elements:
        if not _TOKEN.fullmatch(element):
            raise RemoteProtocolError(
                f"the {field} header has {shown(element)}, which is not a token", status_code=400
            )
    return [element.decode("ascii") for element in elements]


def parse_extensions(value: bytes) -> list[Extension]:
    """Read Sec-WebSocket-Extensions (RFC 6455 §9.1).

    Returns:
        The extensions in the order in which they are listed, so also several of one name.

    Raises:
        RemoteProtocolError: It is malformed; `status_code` is 400.
    """
    extensions: list[Extension] = []
    position = _skip_empty_elements(value, 0)
    while position < len(value):
        start = position
        name = _EXTENSION_NAME.match(value, start)
        if name is None:
            raise _malformed_extensions(value, start)
        parameters: list[tuple[str, str | None]] = []
        position = name.end()
        while (parameter := _EXTENSION_PARAMETER.match(value, position)) is not None:
            parameters.append((parameter[1].decode("ascii"), _parameter_value(parameter, start)))
            position = parameter.end()
        extensions.append((name[1].decode("ascii"), parameters))
        # What follows an extension is a comma, or nothing.
        if value[position : position + 1] not in (b",", b""):
            raise _malformed_extensions(value, start)
        position = _skip_empty_elements(value, position)
    return extensions


def _skip_empty_elements(value: bytes, position: int) -> int:
    match = _EMPTY_ELEMENTS.match(value, position)
    assert match is not None  # It matches nothing as well.
    return match.end()


def _parameter_value(parameter: re.Match[bytes], start: int) -> str | None:
    if parameter[3] is None:
        return None if parameter[2] is None else parameter[2].decode("ascii")
    # RFC 6455 §9.1: when quoted, the value after unescaping MUST conform to 'token'.
    unquoted = _QUOTED_PAIR.sub(rb"\1", parameter[3])
    if not _TOKEN.fullmatch(unquoted):
        raise _malformed_extensions(parameter.string, start)
    return unquoted.decode("ascii")


def _malformed_extensions(value: bytes, start: int) -> RemoteProtocolError:
    """The error for an extension that begins at `start`."""
    return RemoteProtocolError(
        f"the Sec-WebSocket-Extensions header is malformed: {shown(value[start:])}", status_code=400
    )


def build_headers(extra_headers: HeaderInput, reserved: Collection[bytes]) -> list[tuple[bytes, bytes]]:
    """Check header fields that a caller gives.

    Args:
        extra_headers: Pairs of name and value. Text must be ASCII; bytes of a value may be any but
            control characters. White space around a value is taken off.
        reserved: Lower-case names that the handshake sets itself.

    Returns:
        The fields as pairs of bytes.

    Raises:
        TypeError: It is not a pair of bytes or str.
        ValueError: A name is no token or is reserved, a value has a control character, text is not ASCII.
    """
    fields = []
    for field in extra_headers:
        name, value = _as_pair(field)
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{shown(name)} is not a header name")
        if name.lower() in reserved:
            raise ValueError(
                f"the header {shown(name)} is set by the handshake itself, so it must not be given"
            )
        # Not the value: it may be a secret.
        if _NOT_IN_VALUE.search(value):
            raise ValueError(f"the value of the header {shown(name)} has a control character")
        fields.append((name, value.strip(b" \t")))
    return fields


def _as_pair(field: object) -> tuple[bytes, bytes]:
    if not isinstance(field, (tuple, list)) or len(field) != 2:
        raise TypeError(f"a header must be a pair of name and value, not {type(field).__name__}")
    return _as_bytes(field[0]), _as_bytes(field[1])


def _as_bytes(part: object) -> bytes:
    if isinstance(part, str):
        if not part.isascii():
            raise ValueError("a header given as str must be ASCII; give bytes for any other encoding")
        return part.encode("ascii")
    if isinstance(part, (bytes, bytearray)):
        return bytes(part)
    raise TypeError(f"the name and the value of a header must be bytes or str, not {type(part).__name__}")


def check_subprotocols(subprotocols: Iterable[str]) -> tuple[str, ...]:
    """Check the names of subprotocols that a caller offers.

    Raises:
        TypeError: It is one str, or an element is not a str.
        ValueError: A name is no token, or is there twice.
    """
    if isinstance(subprotocols, (str, bytes)):
        raise TypeError("subprotocols must be an iterable of str, not one str")
    names = tuple(subprotocols)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a subprotocol must be a str, not {type(name).__name__}")
        # RFC 6455 §4.1, item 10: non-empty strings of U+0021 to U+007E without separators, all unique.
        if not (name.isascii() and _TOKEN.fullmatch(name.encode("ascii"))):
            raise ValueError(f"the subprotocol {shown(name)} is not a token")
        if names.count(name) > 1:
            raise ValueError(f"the subprotocol {shown(name)} is offered twice")
    return names


def basic_auth(user: str, password: str) -> bytes:
    """Give the value of an Authorization header for Basic authentication, in UTF-8 (RFC 7617).

    Raises:
        ValueError: The user has a colon, or one of the two a control character.
    """
    # RFC 7617 §2: a user-id containing a colon character is invalid, as the first colon separates the two.
    if ":" in user:
        raise ValueError("the user name of Basic authentication must not have a colon")
    try:
        # surrogateescape: bytes that are no UTF-8, which came percent-encoded in a URL, stay as they were.
        credentials = f"{user}:{password}".encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError("the user name or password of Basic authentication is not valid Unicode") from None
    # RFC 7617 §2: the user-id and password MUST NOT contain any control characters.
    if _NOT_IN_VALUE.search(credentials) or b"\t" in credentials:
        raise ValueError("the user name or password of Basic authentication has a control character")
    return b"Basic " + base64.b64encode(credentials)
