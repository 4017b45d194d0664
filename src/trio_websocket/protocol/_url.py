"""WebSocket URLs, host names and resource names (RFC 6455 §3, RFC 3986; UTS #46 for other scripts)."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import urllib.parse

import idna

from trio_websocket.protocol._headers import basic_auth, shown

__all__ = [
    "WebSocketURL",
    "encode_host",
    "encode_resource",
    "make_host_header",
    "parse_authority",
    "parse_url",
    "refuse_spaces",
]

# RFC 6455 §3: 80 for "ws" and 443 for "wss" are the default ports.
_DEFAULT_PORTS = {"ws": 80, "wss": 443}

# RFC 3986 §3.2.2: reg-name, after percent-decoding and IDNA, and its length.
_HOST_NAME = re.compile(r"[a-z0-9._~!$&'()*+,;=-]+")
_MAX_HOST_NAME = 255
_ZONE = re.compile(r"[A-Za-z0-9._~-]+")
_PORT = re.compile(r"0*([0-9]{1,5})")
# The path of a Unix socket, and the resource.
_UNIX = re.compile(r"([^:?]*):?(.*)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_CONTROL_OR_SPACE = re.compile(r"[\x00-\x20\x7f]")
# What must be encoded in a path or query. The brackets and "|" are not: browsers send them as they are,
# and a signature over the URL may rest on that.
_UNSAFE = re.compile(rb"[^\x21-\x7e]|[\"<>\\^`{}]|%(?![0-9A-Fa-f]{2})")


@dataclasses.dataclass(frozen=True, slots=True)
class WebSocketURL:
    """The parts of a WebSocket URL (RFC 6455 §3), or of one for a Unix socket.

    Args:
        is_secure: True for wss:.
        host: Where to connect to: an ASCII name, or an address (IPv6 without brackets, with its zone).
        port: The port, also when it is the scheme's default.
        resource: Path and query, ready for a request line.
        user_info: User and password, percent-decoded, or None. It is not in the repr.
        unix_path: The path of the Unix socket to connect to, or None; then, host and port are only told to the server.
    """

    is_secure: bool
    host: str
    port: int
    resource: str
    user_info: tuple[str, str] | None = dataclasses.field(default=None, repr=False)
    unix_path: str | None = None

    @property
    def host_header(self) -> str:
        """The value of the Host header."""
        return make_host_header(self.host, self.port, self.is_secure)

    def __str__(self) -> str:
        """The URL without its user info: fit for a log."""
        if self.unix_path is not None:
            path = urllib.parse.quote(self.unix_path, errors="surrogateescape")
            return f"ws+unix://{path}:{self.resource}"
        return f"{'wss' if self.is_secure else 'ws'}://{self.host_header}{self.resource}"


def parse_url(url: object) -> WebSocketURL:
    """Take a ws:, wss: or ws+unix: URL apart.

    Args:
        url: Anything that `str()` turns into a URL, such as `ws+unix:///run/app.sock:/resource`. Its fragment is dropped, an
            empty path becomes "/", what is not ASCII in path and query is percent-encoded as UTF-8, in the host encoded with
            IDNA.

    Raises:
        ValueError: It is no such URL; the message says why, and never repeats a password.
    """
    text = str(url)
    refuse_spaces(text)
    # RFC 6455 §3: fragment identifiers are meaningless in the context of WebSocket URIs.
    scheme, _, rest = text.partition("#")[0].partition(":")
    # RFC 3986 §3.1: schemes are case-insensitive.
    if scheme.lower() in {"ws+unix", "wss+unix"}:
        return _parse_unix(scheme, rest)
    if scheme.lower() not in _DEFAULT_PORTS:
        raise ValueError(f"the URL must begin with ws:// or wss://, its scheme is {shown(scheme, 20)}")
    if not rest.startswith("//"):
        raise ValueError(f"the URL has no host: {scheme}: must be followed by //")
    authority = re.split("[/?]", rest[2:], maxsplit=1)[0]
    host, port, user_info = parse_authority(authority)
    return WebSocketURL(
        is_secure=scheme.lower() == "wss",
        host=host,
        port=_DEFAULT_PORTS[scheme.lower()] if port is None else port,
        resource=encode_resource(rest[2 + len(authority) :]),
        user_info=user_info,
    )


def _parse_unix(scheme: str, rest: str) -> WebSocketURL:
    """No RFC has this one: a path that ends at the first colon, and the resource behind that."""
    if scheme.lower() == "wss+unix":
        raise ValueError("there is no TLS over Unix sockets: the URL must begin with ws+unix:")
    # RFC 8089 §2: as in a file: URL, nothing stands between the slashes, which may be missing.
    path, resource = _UNIX.fullmatch(rest.removeprefix("//")).groups()  # type: ignore[union-attr] # it fits all
    unix_path = urllib.parse.unquote(path, errors="surrogateescape")
    if not path.startswith("/"):
        raise ValueError(f"the URL has no absolute path, as ws+unix:///run/app.sock has: {shown(path)}")
    if "\0" in unix_path:
        raise ValueError(f"the path of the Unix socket has a null byte: {shown(unix_path)}")
    try:
        unix_path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise ValueError(
            f"the path of the Unix socket has a lone surrogate at position {exc.start}"
        ) from None
    return WebSocketURL(False, "localhost", 80, encode_resource(resource), unix_path=unix_path)


def refuse_spaces(url: str) -> None:
    """Raise a ValueError for a URL with control characters or white space."""
    if (bad := _CONTROL_OR_SPACE.search(url)) is not None:
        raise ValueError(
            f"the URL has {bad[0]!a} at position {bad.start()}: control characters and white space "
            "must be percent-encoded"
        )


def parse_authority(authority: str) -> tuple[str, int | None, tuple[str, str] | None]:
    """Take a URL's host, its port and its user info apart (RFC 3986 §3.2).

    Returns:
        The host, encoded; the port, if there is one; user and password, percent-decoded, if there are any.

    Raises:
        ValueError: It is malformed; the message never repeats a password.
    """
    if "\\" in authority:
        # Browsers take it for "/", and so another host for the one that is meant.
        raise ValueError("the URL has a backslash before its path")
    user_info, _, host_and_port = authority.rpartition("@")
    host, port = _split_port(host_and_port)
    return host, port, _decode_user_info(user_info) if user_info else None


def _split_port(host_and_port: str) -> tuple[str, int | None]:
    if host_and_port.startswith("["):
        literal, bracket, rest = host_and_port[1:].partition("]")
        if not bracket or not (rest == "" or rest.startswith(":")):
            raise ValueError(f"the URL has a malformed IPv6 address: {shown(host_and_port)}")
        host = _encode_ipv6(_decode_zone(literal))
        port = rest[1:]
    else:
        name, _, port = host_and_port.partition(":")
        if not name:
            raise ValueError("the URL has no host")
        # RFC 3986 §3.2.2: a registered name may be percent-encoded UTF-8. A stray byte becomes U+FFFD,
        # which no name may have.
        host = encode_host(urllib.parse.unquote(name))
    if not port:
        return host, None
    match = _PORT.fullmatch(port)
    if match is None or not 1 <= int(match[1]) <= 65535:
        # What is no number may be a password with a "/" in it, so it is not shown.
        text = shown(port) if port.isdigit() else "it"
        raise ValueError(f"the URL has a bad port: {text} is not a number from 1 to 65535")
    return host, int(match[1])


def _decode_zone(literal: str) -> str:
    # RFC 6874 §2: the "%" before a zone must be percent-encoded in a URL; people write it bare, too.
    address, percent, zone = literal.partition("%")
    if zone.startswith("25") and zone != "25":
        zone = zone[2:]
    return address + percent + urllib.parse.unquote(zone)


def _decode_user_info(user_info: str) -> tuple[str, str]:
    user, _, password = user_info.partition(":")
    decoded = (
        urllib.parse.unquote(user, errors="surrogateescape"),
        urllib.parse.unquote(password, errors="surrogateescape"),
    )
    # A bad URL raises here, not when the header is made.
    basic_auth(*decoded)
    return decoded


def encode_host(host: str) -> str:
    """Give a host's ASCII form, for DNS, TLS and the Host header.

    Args:
        host: A name in any script, an IPv4 address, or an IPv6 address with or without brackets and zone.

    Returns:
        The name in lower case and IDNA-encoded (UTS #46, as browsers do it), or the address without brackets.

    Raises:
        ValueError: It is neither.
    """
    if host.startswith("[") and host.endswith("]"):
        return _encode_ipv6(host[1:-1])
    if ":" in host:
        return _encode_ipv6(host)
    if host.isascii():
        name = host.lower()
    else:
        try:
            name = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError as exc:
            raise ValueError(f"the host {shown(host)} cannot be IDNA-encoded: {exc}") from exc
    if not _HOST_NAME.fullmatch(name):
        raise ValueError(f"{shown(host)} is not a host name")
    if len(name) > _MAX_HOST_NAME:
        raise ValueError(f"the host {shown(host)} has {len(name)} characters, which exceeds {_MAX_HOST_NAME}")
    return name


def _encode_ipv6(host: str) -> str:
    address, percent, zone = host.partition("%")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        raise ValueError(f"{shown(host)} is not an IPv6 address") from None
    if percent and not _ZONE.fullmatch(zone):
        raise ValueError(f"{shown(zone)} is not an IPv6 zone")
    # The zone is a local interface's name, which may distinguish case.
    return address.lower() + percent + zone


def make_host_header(host: str, port: int, is_secure: bool) -> str:
    """Give the value of the Host header (RFC 6455 §4.1, item 4; RFC 9110 §7.2).

    Args:
        host: As for `encode_host`.
        port: The port, which is left out when it is the scheme's default.
        is_secure: True for wss:.

    Raises:
        ValueError: It is no host.
    """
    # RFC 6874 §4: the zone means nothing to any other node, so it must not be sent.
    name = encode_host(host).partition("%")[0]
    if ":" in name:
        name = f"[{name}]"
    if port == _DEFAULT_PORTS["wss" if is_secure else "ws"]:
        return name
    return f"{name}:{port}"


def encode_resource(resource: str) -> str:
    """Make a resource name ready for a request line (RFC 6455 §3).

    Args:
        resource: Path and query. It may lack its "/"; a fragment is dropped; what is not allowed is
            percent-encoded as UTF-8; what is percent-encoded stays.

    Raises:
        ValueError: It has a control character or a lone surrogate.
    """
    if (bad := _CONTROL.search(resource)) is not None:
        raise ValueError(f"the path or query has the control character {bad[0]!a} at position {bad.start()}")
    resource = resource.partition("#")[0]
    if not resource.startswith("/"):
        resource = "/" + resource
    try:
        # surrogateescape: a byte of a file name that is no UTF-8 is encoded as that byte.
        octets = resource.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as exc:
        raise ValueError(f"the path or query has a lone surrogate at position {exc.start}") from None
    return _UNSAFE.sub(lambda match: b"%%%02X" % ord(match[0]), octets).decode("ascii")
