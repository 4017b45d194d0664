"""Proxies: their URLs, and which one the environment names for a WebSocket URL.

The variables mean what they mean to urllib.request: the lower-case name wins, an empty value is none, and HTTP_PROXY is not
taken from a CGI request. Beyond that, `no_proxy` knows networks and IPv6 addresses, as it does for curl. The system settings of
macOS and Windows, which urllib.request reads as well, are not the environment, and their exceptions may ask DNS and block.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Mapping

from trio_websocket.protocol._url import WebSocketURL, encode_host, parse_authority, refuse_spaces

__all__ = ["ProxyURL", "find_proxy", "parse_proxy"]

# RFC 9110 §4.2 for the first two. IANA has 1080 for SOCKS.
_DEFAULT_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclasses.dataclass(frozen=True, slots=True)
class ProxyURL:
    """The parts of a proxy's URL; its text is the URL without the user info.

    Args:
        scheme: http, https, socks4, socks4a, socks5 or socks5h.
        host: An ASCII name, or an address without brackets.
        port: The port, also when it is the scheme's default.
        user_info: User and password, percent-decoded, or None. It is not in the repr.
    """

    scheme: str
    host: str
    port: int
    user_info: tuple[str, str] | None = dataclasses.field(default=None, repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_proxy(url: str) -> ProxyURL:
    """Take a proxy's URL apart.

    Raises:
        ValueError: It is no such URL; the message says why, and never repeats a password.
    """
    refuse_spaces(url)
    match = _SCHEME.match(url)
    scheme = match[1].lower() if match is not None else ""
    # Where there is no scheme, what stands first may be a secret.
    if match is None or scheme not in _DEFAULT_PORTS:
        known = ", ".join(f"{name}://" for name in _DEFAULT_PORTS)
        raise ValueError(
            f"the URL of a proxy must begin with one of {known}" + (f", not {scheme}://" * bool(scheme))
        )
    authority, _, path = url[match.end() :].partition("/")
    if path or "?" in authority or "#" in authority:
        raise ValueError("the URL of a proxy has no path, query or fragment")
    host, port, user_info = parse_authority(authority)
    if user_info is not None:
        _check_user(scheme, *user_info)
    return ProxyURL(scheme, host, _DEFAULT_PORTS[scheme] if port is None else port, user_info)


def _check_user(scheme: str, user: str, password: str) -> None:
    if scheme.startswith("http"):
        # python-socks would send neither.
        if password and not user:
            raise ValueError("the password of a proxy needs a user name")
        return
    if not (user + password).isascii():
        raise ValueError("the user name and password of a SOCKS proxy must be ASCII")
    # RFC 1929 §2.
    if scheme.startswith("socks5") and not (1 <= len(user) <= 255 and 1 <= len(password) <= 255):
        raise ValueError("the user name and password of a SOCKS5 proxy must have 1 to 255 characters each")


def find_proxy(url: WebSocketURL, environ: Mapping[str, str]) -> ProxyURL | None:
    """Give the proxy that the environment has for a URL, or None.

    Args:
        url: Where to connect to.
        environ: The environment: `ws_proxy`, or else `http_proxy`, or else `all_proxy`, for wss: `wss_proxy` and
            `https_proxy`; and `no_proxy`. A value without a scheme is an http: proxy.

    Raises:
        ValueError: The value is no proxy's URL.
    """
    if _is_excepted(url, _value(environ, "no_proxy")):
        return None
    for name in (
        ("wss_proxy", "https_proxy", "all_proxy")
        if url.is_secure
        else ("ws_proxy", "http_proxy", "all_proxy")
    ):
        if value := _value(environ, name):
            try:
                return parse_proxy(value if "://" in value else "http://" + value)
            except ValueError as error:
                raise ValueError(f"{name} in the environment: {error}") from None
    return None


def _value(environ: Mapping[str, str], name: str) -> str:
    if (value := environ.get(name)) is not None:
        return value.strip()
    # CVE-2016-1000110: to a CGI script, HTTP_PROXY is the header "Proxy" of whoever sent the request.
    if name == "http_proxy" and "REQUEST_METHOD" in environ:
        return ""
    return environ.get(name.upper(), "").strip()


def _is_excepted(url: WebSocketURL, no_proxy: str) -> bool:
    host = url.host.partition("%")[0].rstrip(".")
    return any(
        entry == "*" or _matches(host, url.port, entry) for entry in re.split(r"[,\s]+", no_proxy) if entry
    )


def _matches(host: str, port: int, entry: str) -> bool:
    if entry.startswith("["):
        name, _, entry_port = entry[1:].partition("]")
        entry_port = entry_port.removeprefix(":")
    elif entry.count(":") == 1:
        name, _, entry_port = entry.partition(":")
    else:
        name, entry_port = entry, ""
    if entry_port and entry_port != str(port):
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _is_within(host, name)
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


def _is_within(host: str, domain: str) -> bool:
    try:
        domain = encode_host(domain.removeprefix("*").strip("."))
    except ValueError:
        return False
    return host == domain or host.endswith("." + domain)
