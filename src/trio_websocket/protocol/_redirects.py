"""Redirects of an opening handshake: where to, and what may go along (RFC 6455 §4.1, RFC 9110 §15.4).

A Location is whatever a server likes to write. It only ever becomes a ws: or wss: URL that passes `parse_url`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from trio_websocket.protocol._events import Headers
from trio_websocket.protocol._headers import shown
from trio_websocket.protocol._url import WebSocketURL, encode_resource, parse_url, refuse_spaces

__all__ = ["is_same_origin", "redirect_of", "without_credentials"]

# RFC 9110 §15.4. The request is a GET, so all of these mean the same; 300, 304 and 305 are no redirects.
_STATUS_CODES = frozenset({301, 302, 303, 307, 308})
# Servers behind a gateway know nothing of ws:.
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_USER_INFO = re.compile(r"//[^/?#]*@")
_CREDENTIALS = frozenset({b"authorization", b"cookie", b"proxy-authorization"})


def redirect_of(url: WebSocketURL, status_code: int, headers: Headers) -> WebSocketURL | None:
    """Give where a response sends us, or None if it is no redirect.

    Args:
        url: What was asked. Its user info goes along to the same origin; what Location has of that is dropped.
        status_code: The response's status.
        headers: Its header fields, with lower-case names.

    Raises:
        ValueError: It is a redirect that must not be followed; the message has the Location, escaped and cut.
    """
    locations = {value for name, value in headers if name == b"location"}
    if status_code not in _STATUS_CODES or not locations:
        return None
    if len(locations) > 1:
        raise ValueError(f"it has {len(locations)} Location headers")
    location = locations.pop()
    try:
        return _resolve(url, location.decode("utf-8"))
    except ValueError as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        text = _USER_INFO.sub("//", location.decode("latin-1"))
        raise ValueError(f"it leads to {shown(text, 100)}: {reason}") from None


def _resolve(url: WebSocketURL, location: str) -> WebSocketURL:
    """RFC 3986 §5.2.2: a reference is absolute, or takes from `url` what it lacks."""
    refuse_spaces(location)
    location = location.partition("#")[0]
    if (scheme := _SCHEME.match(location)) is not None:
        if scheme[1].lower() not in _SCHEMES:
            raise ValueError(f"the scheme {shown(scheme[1], 20)} is not that of a WebSocket")
        target = parse_url(f"{_SCHEMES[scheme[1].lower()]}:{location[scheme.end() :]}")
    elif location.startswith("//"):
        target = parse_url(f"{'wss' if url.is_secure else 'ws'}:{location}")
    else:
        return dataclasses.replace(url, resource=encode_resource(_resolve_path(url.resource, location)))
    if url.is_secure and not target.is_secure:
        raise ValueError("a connection that began with wss: never goes on with ws:")
    return dataclasses.replace(target, user_info=url.user_info if is_same_origin(url, target) else None)


def _resolve_path(base: str, location: str) -> str:
    base_path = base.partition("?")[0]
    path, question_mark, query = location.partition("?")
    if not path:
        return base_path + question_mark + query if question_mark else base
    if not path.startswith("/"):
        # RFC 3986 §5.2.3: all but what follows the last slash.
        path = base_path[: base_path.rindex("/") + 1] + path
    return _remove_dots(path) + question_mark + query


def _remove_dots(path: str) -> str:
    """RFC 3986 §5.2.4."""
    first, *segments = path.split("/")
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/".join([first, *kept])


def is_same_origin(one: WebSocketURL, other: WebSocketURL) -> bool:
    """Whether scheme, host and port are the same (RFC 6454 §5), and the Unix socket if there is one."""
    return (one.is_secure, one.host, one.port, one.unix_path) == (
        other.is_secure,
        other.host,
        other.port,
        other.unix_path,
    )


def without_credentials(headers: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Leave out what is meant for one server only."""
    return tuple(field for field in headers if field[0].lower() not in _CREDENTIALS)
