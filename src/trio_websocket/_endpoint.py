"""Addresses of the two ends of a connection."""

from __future__ import annotations

import contextlib
import ipaddress
from dataclasses import dataclass

import trio
from trio.socket import AF_INET, AF_INET6

__all__ = ["Endpoint", "endpoint_of_listener", "endpoints_of_stream"]

_IP = (AF_INET, AF_INET6)


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


def _from_socket_name(family: int, name: tuple[str, int], *, is_ssl: bool) -> Endpoint | None:
    # A Unix socket's name is a path, and what other families have looks like IP and is not.
    return Endpoint(name[0], name[1], is_ssl) if family in _IP else None


def endpoints_of_stream(stream: trio.abc.Stream) -> tuple[Endpoint | str, Endpoint | str]:
    """The local and the remote end of a stream, each `repr(stream)` where it has no IP address. Never raises."""
    is_ssl = isinstance(stream, trio.SSLStream)
    inner = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    local = remote = None
    if isinstance(inner, trio.SocketStream):
        # A peer that has gone already took its name along.
        with contextlib.suppress(OSError):
            local = _from_socket_name(inner.socket.family, inner.socket.getsockname(), is_ssl=is_ssl)
            remote = _from_socket_name(inner.socket.family, inner.socket.getpeername(), is_ssl=is_ssl)
    return local or repr(stream), remote or repr(stream)


def endpoint_of_listener(listener: trio.abc.Listener[trio.abc.Stream]) -> Endpoint | str:
    """Where a listener listens, or `repr(listener)` where that is no IP address, or is closed. Never raises."""
    is_ssl = isinstance(listener, trio.SSLListener)
    inner = listener.transport_listener if isinstance(listener, trio.SSLListener) else listener
    endpoint = None
    if isinstance(inner, trio.SocketListener):
        with contextlib.suppress(OSError):
            endpoint = _from_socket_name(inner.socket.family, inner.socket.getsockname(), is_ssl=is_ssl)
    return endpoint or repr(listener)
