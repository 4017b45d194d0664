"""The opening handshake's rules, whatever carries it (RFC 6455 §4).

What a bad request gets is in the error: `status_code`, and a text for people. `error_headers` gives the
header fields that a status calls for.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket._kernel import read_fields, read_request
from trio_websocket.protocol._deflate import PerMessageDeflate
from trio_websocket.protocol._deflate_negotiation import check_answer, make_offers
from trio_websocket.protocol._events import Headers
from trio_websocket.protocol._headers import (
    Extension,
    HeaderInput,
    build_headers,
    check_subprotocols,
    parse_extensions,
    parse_tokens,
    shown,
    split_list,
    values_by_name,
)

__all__ = [
    "OpeningAnswer",
    "OpeningRequest",
    "accept_value",
    "check_request",
    "check_response",
    "error_headers",
    "make_key",
    "request_headers",
    "response_headers",
    "usual_request",
]

# RFC 6455 §1.3: the string that proves that the server understood the handshake.
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# RFC 6455 §4.1, item 9: the version must be 13.
_VERSION = b"13"
# RFC 4648 §4: 16 bytes are 22 digits and two of padding.
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_HTTP_VERSION = re.compile(rb"1\.[1-9]")
# RFC 3986 §3.2.2 and §3.2.3: what a host and a port may have.
_HOST = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=%:\[\]]*")
_VISIBLE = re.compile(rb"[\x21-\x7e]+")
# RFC 9112 §3.2.2: a server MUST accept the absolute-form; RFC 6455 §4.2.1, item 1 says so, too.
_ABSOLUTE_FORM = re.compile(r"(?:https?|wss?)://[^/?#]*", re.IGNORECASE)

# By lower-case name; what several fields say is one list.
_Values = Mapping[bytes, bytes]

_RESERVED = frozenset(
    {
        b"host",
        b"upgrade",
        b"connection",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
        b"content-length",
        b"transfer-encoding",
    }
)
# RFC 9112 §3.2, RFC 6455 §11.3.1 and §11.3.5: these MUST NOT appear more than once in a request.
_ONCE = {
    b"host": "Host",
    b"sec-websocket-key": "Sec-WebSocket-Key",
    b"sec-websocket-version": "Sec-WebSocket-Version",
}
_NOT_IN_EVENT = frozenset({b"host", b"sec-websocket-extensions", b"sec-websocket-protocol"})
_ERROR_HEADERS = {
    # RFC 9110 §15.5.6: the origin server MUST generate an Allow header field in a 405 response.
    405: [(b"Allow", b"GET")],
    # RFC 9110 §15.5.22: the server MUST send an Upgrade header field in a 426 response; RFC 6455 §4.4: it
    # lists the versions that it is capable of.
    426: [(b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", _VERSION)],
}


class OpeningRequest(NamedTuple):
    """What a right request says (RFC 6455 §4.2.1).

    `extensions` are the client's offers. `head` is what came, or, for a request that is not a usual one, its fields.
    """

    path: str
    key: bytes
    subprotocols: tuple[str, ...]
    extensions: tuple[Extension, ...]
    head: bytes | Headers

    @property
    def headers(self) -> Headers:
        """The header fields but for Host, Sec-WebSocket-Extensions and Sec-WebSocket-Protocol.

        Few ask for them, and taken apart they would be most of what a connection keeps; so they are taken apart anew each time.
        """
        head = self.head
        fields = read_fields(head, head.index(b"\n") + 1) if isinstance(head, bytes) else head
        assert fields is not None
        return tuple([field for field in fields if field[0] not in _NOT_IN_EVENT])


class OpeningAnswer(NamedTuple):
    """What a right response says: the header fields that are not the handshake's own, and to what request."""

    path: str
    headers: Headers


def make_key(random_bytes: Callable[[int], bytes]) -> bytes:
    """Make the value of Sec-WebSocket-Key: 16 random bytes, base64-encoded (RFC 6455 §4.1, item 7)."""
    return base64.b64encode(random_bytes(16))


def accept_value(key: bytes) -> bytes:
    """Give the value of Sec-WebSocket-Accept that answers a key (RFC 6455 §4.2.2, item 5.4)."""
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def error_headers(status_code: int) -> list[tuple[bytes, bytes]]:
    """Give the header fields that an error's status calls for."""
    return list(_ERROR_HEADERS.get(status_code, ()))


def request_headers(
    host: str,
    key: bytes,
    subprotocols: Iterable[str] = (),
    extra_headers: HeaderInput = (),
    offers: Sequence[PerMessageDeflate] = (),
) -> list[tuple[bytes, bytes]]:
    """Make the header fields of a client's request (RFC 6455 §4.1).

    Args:
        host: The value of the Host header, sent as it is.
        key: From `make_key`.
        subprotocols: In the order of preference.
        extra_headers: Further header fields.
        offers: Of compression, in the order of preference.

    Raises:
        TypeError: An argument is of another type.
        ValueError: The host has a character that a header must not have; a subprotocol is no token or is
            there twice; a header is malformed or is one that the handshake sets itself.
    """
    if not (host == "" or (host.isascii() and _VISIBLE.fullmatch(host.encode("ascii")))):
        raise ValueError(
            f"the host {shown(host)} cannot be sent in a header: "
            "it has white space, a control character, or one that is not ASCII"
        )
    headers = [
        (b"Host", host.encode("ascii")),
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Key", key),
        (b"Sec-WebSocket-Version", _VERSION),
    ]
    if names := check_subprotocols(subprotocols):
        headers.append((b"Sec-WebSocket-Protocol", ", ".join(names).encode("ascii")))
    if offers:
        headers.append((b"Sec-WebSocket-Extensions", make_offers(offers)))
    return headers + build_headers(extra_headers, _RESERVED)


def response_headers(
    key: bytes,
    subprotocol: str | None = None,
    extra_headers: HeaderInput = (),
    extension: bytes | None = None,
) -> list[tuple[bytes, bytes]]:
    """Make the header fields of a server's 101 response, but for those that all have (RFC 6455 §4.2.2, item 5).

    Args:
        key: The client's key.
        subprotocol: One that the client proposed, or None.
        extra_headers: Further header fields.
        extension: What answers the client's offer of an extension, or None.

    Raises:
        TypeError: An argument is of another type.
        ValueError: A header is malformed or is one that the handshake sets itself.
    """
    headers = [(b"Sec-WebSocket-Accept", accept_value(key))]
    if subprotocol is not None:
        headers.append((b"Sec-WebSocket-Protocol", subprotocol.encode("ascii")))
    if extension is not None:
        headers.append((b"Sec-WebSocket-Extensions", extension))
    return headers + build_headers(extra_headers, _RESERVED) if extra_headers else headers


def usual_request(head: bytes, max_fields: int) -> OpeningRequest | None:
    """Take the whole head of a request over HTTP/1.1 apart, and check it, as `check_request` would: the short way.

    Returns:
        None if it is not as usual, whether right or wrong.

    Raises:
        RemoteProtocolError: As `check_request`.
    """
    usual = read_request(head, max_fields)
    if usual is None:
        return None
    path, key, subprotocols, extensions = usual
    return OpeningRequest(
        path.decode("ascii"),
        key,
        _proposed_subprotocols(subprotocols),
        _offered_extensions(extensions),
        head,
    )


def check_request(method: bytes, target: bytes, http_version: bytes, headers: Headers) -> OpeningRequest:
    """Check a client's request (RFC 6455 §4.2.1).

    Args:
        method: The method, `b"GET"` if it is right.
        target: The request target.
        http_version: The version, such as `b"1.1"`.
        headers: Its header fields, with lower-case names.

    Raises:
        RemoteProtocolError: It is no right opening handshake; `status_code` is what it gets.
    """
    # RFC 6455 §4.2.1, item 1: an HTTP/1.1 or higher GET request.
    if http_version != b"1.1" and not _HTTP_VERSION.fullmatch(http_version):
        raise _bad_request(
            f"a WebSocket needs HTTP/1.1, the request's version is {shown(http_version, 10)}", 505
        )
    if method != b"GET":
        raise _bad_request(
            f"a WebSocket is opened with GET, the request's method is {shown(method, 20)}", 405
        )
    path = _path_of(target)
    values = values_by_name(headers)
    if len(values) < len(headers):
        _check_repeated(headers)
    _check_message(values)
    _check_upgrade(values)
    _check_version(values)
    key = _check_key(values)
    subprotocols = _proposed_subprotocols(values.get(b"sec-websocket-protocol"))
    extensions = _offered_extensions(values.get(b"sec-websocket-extensions"))
    return OpeningRequest(path, key, subprotocols, extensions, headers)


def _bad_request(message: str, status_code: int = 400) -> RemoteProtocolError:
    return RemoteProtocolError(message, status_code=status_code)


def _path_of(target: bytes) -> str:
    if not _VISIBLE.fullmatch(target):
        raise _bad_request(f"the request target {shown(target)} has a character that must be percent-encoded")
    path = target.decode("ascii")
    if path.startswith("/"):
        return path
    if (absolute := _ABSOLUTE_FORM.match(path)) is not None:
        path = path[absolute.end() :]
        if not path.startswith("/"):
            path = "/" + path
    if not path.startswith("/"):
        raise _bad_request(f"the request target {shown(target)} is not a path")
    return path


def _check_repeated(headers: Headers) -> None:
    names = [name for name, _ in headers]
    for name in _ONCE:
        if (count := names.count(name)) > 1:
            raise _not_one(name, count)


def _not_one(name: bytes, count: int) -> RemoteProtocolError:
    return _bad_request(f"the request must have one {_ONCE[name]} header, it has {count}")


def _required(values: _Values, name: bytes) -> bytes:
    value = values.get(name)
    if value is None:
        raise _not_one(name, 0)
    return value


def _check_message(values: _Values) -> None:
    # RFC 9112 §3.2: 400 to a request that lacks Host, or has one with an invalid value.
    host = _required(values, b"host")
    if not _HOST.fullmatch(host):
        raise _bad_request(f"the Host header {shown(host)} has a character that no host may have")
    # What a body would mean is not said anywhere, and its bytes must not be taken for frames.
    if b"transfer-encoding" in values or values.get(b"content-length", b"").strip(b"0"):
        raise _bad_request("the request must not have a body")


def _check_upgrade(values: _Values) -> None:
    # RFC 6455 §4.2.1, items 3 and 4: "websocket" and the token "Upgrade", both case-insensitive.
    if not _has_element(values.get(b"upgrade", b""), b"websocket"):
        raise _bad_request(
            "only WebSocket connections are served here: the request has no 'Upgrade: websocket' header", 426
        )
    if not _has_element(values.get(b"connection", b""), b"upgrade"):
        raise _bad_request("the request has no 'Connection: Upgrade' header", 426)


def _has_element(value: bytes, element: bytes) -> bool:
    """Whether a list has an element, whatever the case of its letters."""
    text = value.lower()
    return text == element or element in split_list(text)


def _check_version(values: _Values) -> None:
    # RFC 6455 §4.2.1, item 6: a request without it is no opening handshake, so it gets what any other bad
    # request gets.
    version = _required(values, b"sec-websocket-version")
    # RFC 6455 §4.2.2, item 4: to another version, the answer is an error such as 426 with our version.
    if version != _VERSION:
        raise _bad_request(
            f"the WebSocket version served here is 13, the request has {shown(version, 20)}", 426
        )


def _check_key(values: _Values) -> bytes:
    # RFC 6455 §4.2.1, item 5: a base64-encoded value that, when decoded, is 16 bytes in length.
    key = _required(values, b"sec-websocket-key")
    if not _KEY.fullmatch(key):
        raise _bad_request(f"the Sec-WebSocket-Key header must be 16 bytes in base64, it is {shown(key)}")
    return key


def _proposed_subprotocols(value: bytes | None) -> tuple[str, ...]:
    # RFC 6455 §11.3.4: in a request the header MAY appear multiple times.
    if value is None:
        return ()
    names = parse_tokens(value, "Sec-WebSocket-Protocol")
    # RFC 6455 §4.1, item 10: they MUST all be unique strings.
    if len(set(names)) != len(names):
        raise _bad_request("the Sec-WebSocket-Protocol header has a subprotocol twice")
    return tuple(names)


def _offered_extensions(value: bytes | None) -> tuple[Extension, ...]:
    return () if value is None else tuple(parse_extensions(value))


def check_response(
    headers: Headers,
    key: bytes,
    offered_subprotocols: Sequence[str] = (),
    offers: Sequence[PerMessageDeflate] = (),
) -> tuple[str | None, PerMessageDeflate | None]:
    """Check the header fields of a server's 101 response (RFC 6455 §4.1, from "Once the client's ...").

    Args:
        headers: The response's header fields, with lower-case names.
        key: The key that was sent.
        offered_subprotocols: Those that were offered.
        offers: Of compression, which were sent.

    Returns:
        The subprotocol that the server chose, and the compression that is agreed on; each may be None.

    Raises:
        RemoteProtocolError: It is not the answer to this handshake.
    """
    values = values_by_name(headers)
    # RFC 6455 §4.1, item 2: an Upgrade header field with the value "websocket", case-insensitive.
    upgrade = values.get(b"upgrade")
    if split_list((upgrade or b"").lower()) != [b"websocket"]:
        raise RemoteProtocolError(f"the response must have 'Upgrade: websocket', it has {_shown(upgrade)}")
    # Item 3: a Connection header field with the token "Upgrade", case-insensitive.
    connection = values.get(b"connection")
    if not _has_element(connection or b"", b"upgrade"):
        raise RemoteProtocolError(
            f"the response must have 'Connection: Upgrade', it has {_shown(connection)}"
        )
    # Item 4: Sec-WebSocket-Accept, with the value that our key gives.
    accept = values.get(b"sec-websocket-accept")
    expected = accept_value(key)
    if accept != expected:
        raise RemoteProtocolError(
            f"the response must have one Sec-WebSocket-Accept with {shown(expected)}, it has {_shown(accept)}"
        )
    # Item 5: no extension that was not asked for.
    compression = check_answer(_chosen_extensions(values), offers)
    return _chosen_subprotocol(values, offered_subprotocols), compression


def _chosen_extensions(values: _Values) -> Sequence[Extension]:
    try:
        return parse_extensions(values.get(b"sec-websocket-extensions", b""))
    except RemoteProtocolError as error:
        # A status is what a client gets.
        raise RemoteProtocolError(str(error)) from None


def _chosen_subprotocol(values: _Values, offered: Sequence[str]) -> str | None:
    chosen = values.get(b"sec-websocket-protocol")
    if chosen is None:
        return None
    # RFC 6455 §11.3.4: it MUST NOT appear more than once in a response; several fields are a list here.
    if b"," in chosen:
        raise RemoteProtocolError(f"the server chose more than one subprotocol: {shown(chosen)}")
    # RFC 6455 §4.1, item 6: a subprotocol that was not requested fails the connection.
    for name in offered:
        if name.encode("ascii") == chosen:
            return name
    raise RemoteProtocolError(
        f"the server chose the subprotocol {shown(chosen)}, which was not offered; offered: "
        + (", ".join(offered) or "none")
    )


def _shown(value: bytes | None) -> str:
    return "none" if value is None else shown(value, 80)
