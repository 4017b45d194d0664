"""Addresses of the two ends of a connection."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import urllib.parse
from dataclasses import dataclass

import trio
from trio.socket import AF_INET, AF_INET6

__all__ = [
    "Endpoint",
    "endpoint_of_listener",
    "endpoint_of_name",
    "endpoints_of_stream",
    "name_of_unix",
    "names_of_socket",
]

_IP = (AF_INET, AF_INET6)
# Windows has none.
_UNIX = getattr(socket, "AF_UNIX", None)


@dataclass(frozen=True, init=False, repr=False)
class Endpoint:
    """An IP address and a port.

    Args:
        address: An `ipaddress` object, or a text that is one's.
        port: The TCP port.
        is_ssl: Whether TLS is spoken there.

    Raises:
        ValueError: The text is no IP address.
    """

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int
    is_ssl: bool

    def __init__(
        self, address: str | ipaddress.IPv4Address | ipaddress.IPv6Address, port: int, is_ssl: bool
    ) -> None:
        object.__setattr__(self, "address", ipaddress.ip_address(address))
        object.__setattr__(self, "port", port)
        object.__setattr__(self, "is_ssl", is_ssl)

    def __repr__(self) -> str:
        return f'Endpoint(address="{self.address}", port={self.port}, is_ssl={self.is_ssl})'

    def __str__(self) -> str:
        return self.url

    @property
    def url(self) -> str:
        """The endpoint as a URL; the scheme's default port is left out, an IPv6 address is in brackets."""
        scheme, default = ("wss", 443) if self.is_ssl else ("ws", 80)
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{scheme}://{host}" if self.port == default else f"{scheme}://{host}:{self.port}"


Name = tuple[str, int] | str
"""A socket's address, the same for IPv4 and IPv6, or a text where it has none."""


def name_of_unix(path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """A Unix socket's path as a text: `unix:/run/app.sock`, or `unix:` for a socket without a name.

    It is percent-encoded as in a URL: a client may have bound its own end to any name. An abstract socket's (Linux) begins
    with "@", as tools show it.
    """
    octets = os.fsencode(path)
    mark = "@" if octets.startswith(b"\0") else ""
    return f"unix:{mark}{urllib.parse.quote(octets[len(mark) :])}"


def names_of_socket(sock: socket.socket | trio.socket.SocketType) -> tuple[Name, Name]:
    """The local and the remote name of a socket, cheaper than endpoints. Never raises."""
    # A peer that has gone already took its name along.
    with contextlib.suppress(OSError):
        if sock.family in _IP:
            return sock.getsockname()[:2], sock.getpeername()[:2]
        if sock.family == _UNIX:
            return name_of_unix(sock.getsockname()), name_of_unix(sock.getpeername())
    # What other families have looks like IP and is not.
    return repr(sock), repr(sock)


def endpoint_of_name(name: Name, *, is_ssl: bool = False) -> Endpoint | str:
    """The endpoint of a socket's name, which is a text where there is none."""
    return name if isinstance(name, str) else Endpoint(*name, is_ssl)


def endpoints_of_stream(stream: trio.abc.Stream) -> tuple[Endpoint | str, Endpoint | str]:
    """The local and the remote end of a stream, each `repr(stream)` where it has no address. Never raises."""
    is_ssl = isinstance(stream, trio.SSLStream)
    inner = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    if isinstance(inner, trio.SocketStream):
        local, remote = names_of_socket(inner.socket)
        if local != repr(inner.socket):
            return endpoint_of_name(local, is_ssl=is_ssl), endpoint_of_name(remote, is_ssl=is_ssl)
    return repr(stream), repr(stream)


def endpoint_of_listener(
    listener: trio.abc.Listener[trio.abc.Stream], *, is_ssl: bool = False
) -> Endpoint | str:
    """Where a listener listens, or `repr(listener)` where that has no address, or is closed. Never raises."""
    is_ssl = is_ssl or isinstance(listener, trio.SSLListener)
    inner = listener.transport_listener if isinstance(listener, trio.SSLListener) else listener
    if isinstance(inner, trio.SocketListener):
        with contextlib.suppress(OSError):
            if inner.socket.family in _IP:
                address, port = inner.socket.getsockname()[:2]
                return Endpoint(address, port, is_ssl)
            if inner.socket.family == _UNIX:
                return name_of_unix(inner.socket.getsockname())
    return repr(listener)
