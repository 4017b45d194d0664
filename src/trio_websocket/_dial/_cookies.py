"""Cookies of a jar of `http.cookiejar`, which knows http: and https: only (RFC 6265).

Where http.cookiejar expects the requests and responses of urllib.request, it gets as much of them as it says it needs. So
who has no jar does not import urllib.request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from trio_websocket.protocol import Headers
from trio_websocket.protocol._url import WebSocketURL

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

__all__ = ["cookie_value", "keep_cookies"]


class _Request:
    """What a jar asks of a request; the names are urllib.request's."""

    def __init__(self, url: WebSocketURL) -> None:
        self.type = "https" if url.is_secure else "http"
        self.host = url.host_header
        self.origin_req_host = url.host
        # RFC 2965 §3.3.6: the user asked for it, or the server that they asked for.
        self.unverifiable = False
        self.cookie: str | None = None
        self._url = f"{self.type}://{self.host}{url.resource}"

    def get_full_url(self) -> str:
        return self._url

    def has_header(self, _name: str) -> bool:
        return False

    def add_unredirected_header(self, name: str, value: str) -> None:
        # "Cookie2", of RFC 2965, is history.
        if name == "Cookie":
            self.cookie = value


class _Response:
    """What a jar asks of a response, and of its header fields."""

    def __init__(self, headers: Headers) -> None:
        self._headers = headers

    def info(self) -> _Response:
        return self

    def get_all(self, name: str, default: list[str]) -> list[str]:
        wanted = name.lower().encode("ascii")
        # As http.client does it; `cookie_value` gives the same bytes again.
        return [value.decode("latin-1") for key, value in self._headers if key == wanted] or default


def cookie_value(jar: CookieJar, url: WebSocketURL) -> bytes | None:
    """Give the value of the Cookie header that a jar has for a URL, or None.

    Raises:
        ValueError: A cookie cannot be sent.
    """
    request = _Request(url)
    jar.add_cookie_header(cast("Any", request))
    return None if request.cookie is None else request.cookie.encode("latin-1")


def keep_cookies(jar: CookieJar, url: WebSocketURL, headers: Headers) -> None:
    """Put into a jar what a response sets, as far as the jar's policy lets it."""
    jar.extract_cookies(cast("Any", _Response(headers)), cast("Any", _Request(url)))
