"""From a URL to an open connection: through a proxy or not, after redirects, with cookies."""

from __future__ import annotations

import dataclasses
import logging
import os
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING

import trio

from trio_websocket._connection import WebSocketConnection
from trio_websocket._dial import (
    Connect,
    connect_tcp,
    cookie_value,
    default_context,
    find_stand_in,
    keep_cookies,
    load_python_socks,
    look_up,
    open_tunnel,
    open_unix,
    start_tls,
)
from trio_websocket._endpoint import name_of_unix
from trio_websocket._exceptions import ConnectionRejected, ConnectionTimeout, HandshakeError
from trio_websocket._opening import ClientOpening
from trio_websocket._options import ConnectionOptions, HeaderList
from trio_websocket._transports import Transport, open_transport
from trio_websocket.protocol import ClientHandshake
from trio_websocket.protocol._headers import basic_auth, build_headers, check_subprotocols
from trio_websocket.protocol._proxies import ProxyURL, find_proxy, parse_proxy
from trio_websocket.protocol._redirects import is_same_origin, redirect_of, without_credentials
from trio_websocket.protocol._url import WebSocketURL, encode_host, encode_resource, parse_url

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

__all__ = ["Dialling", "Route", "to_host", "to_url"]

logger = logging.getLogger("trio-websocket")

_SHOWN_URL = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Route:
    """What a caller may set for the way to a server.

    Args:
        proxy: A proxy's URL; True for the environment's; None or False for none.
        max_redirects: How many redirects are followed.
        cookies: Cookies to send, and to keep those in that servers set.

    Raises:
        TypeError: An argument is of another type.
        ValueError: `max_redirects` is negative.
    """

    # Not in the repr: it may have a password.
    proxy: bool | str | None = dataclasses.field(default=None, repr=False)
    max_redirects: int = 0
    cookies: CookieJar | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.proxy, bool | str | None):
            raise TypeError(f"proxy must be a bool, a str or None, not {type(self.proxy).__name__}")
        if not isinstance(self.max_redirects, int):
            raise TypeError(f"max_redirects must be an int, not {type(self.max_redirects).__name__}")
        if self.max_redirects < 0:
            raise ValueError(f"max_redirects={self.max_redirects} is not a number of at least 0")
        if self.cookies is not None and not hasattr(self.cookies, "extract_cookies"):
            raise TypeError(f"cookies must be an http.cookiejar.CookieJar, not {type(self.cookies).__name__}")

    def proxy_for(self, url: WebSocketURL) -> ProxyURL | None:
        """Give the proxy to go through, or None.

        Raises:
            ValueError: There is one, and it is no proxy's URL, or `url` is that of a Unix socket.
        """
        if not self.proxy or (self.proxy is True and url.unix_path is not None):
            return None
        if url.unix_path is not None:
            raise ValueError("no proxy leads to a Unix socket")
        return find_proxy(url, os.environ) if self.proxy is True else parse_proxy(self.proxy)


class Dialling:
    """One opening of a connection, from the first request to the last redirect.

    Args:
        url: Where to begin.
        ssl_context: For TLS, wherever there is some; None for Python's default context.
        subprotocols: The subprotocols to propose.
        extra_headers: Pairs of bytes to send along.
        route: How to get there.
        options: What holds for the connection.

    Raises:
        ModuleNotFoundError: There is a proxy, and no python-socks.
        TypeError: An argument is of another type.
        ValueError: An argument can't be right.
    """

    def __init__(
        self,
        url: WebSocketURL,
        ssl_context: ssl.SSLContext | None,
        subprotocols: Iterable[str] | None,
        extra_headers: HeaderList | None,
        route: Route,
        options: ConnectionOptions,
    ) -> None:
        self.options = options
        self._route = route
        self._ssl_context = ssl_context
        self._subprotocols = check_subprotocols(subprotocols or ())
        self._extra_headers = tuple(build_headers(extra_headers or (), ()))
        self._doing = ""
        # Redirects: the requests that were answered with one.
        self._redirected: list[tuple[WebSocketURL, HeaderList]] = []
        self._prepare(url)

    def _prepare(self, url: WebSocketURL) -> None:
        """Make the next request."""
        self._url = url
        self._headers = self._extra_headers
        if url.user_info is not None and not self._has_header(b"authorization"):
            self._headers += ((b"Authorization", basic_auth(*url.user_info)),)
        # RFC 6265 §5.4: no more than one Cookie header. The caller's own counts, as for urllib.request.
        if self._route.cookies is not None and not self._has_header(b"cookie"):
            cookie = cookie_value(self._route.cookies, url)
            if cookie is not None:
                self._headers += ((b"Cookie", cookie),)
        self._handshake = ClientHandshake(
            host=url.host_header,
            resource=url.resource,
            subprotocols=self._subprotocols,
            extra_headers=self._headers,
            compression=self.options.compression,
        )
        if url.is_secure and self._ssl_context is None:
            self._ssl_context = default_context()
        self._proxy = self._route.proxy_for(url)
        if self._proxy is not None:
            load_python_socks()

    def _has_header(self, wanted: bytes) -> bool:
        return any(name.lower() == wanted for name, _ in self._extra_headers)

    @trio.lowlevel.enable_ki_protection
    async def connect(self) -> WebSocketConnection:
        """Open the connection. To be called once.

        Raises:
            HandshakeError: It could not be opened; `history` has what redirected.

        If cancelled, nothing is left open.
        """
        if self._route.cookies is not None:
            # It may have changed since.
            self._prepare(self._url)
        try:
            while (connection := await self._ask()) is None:
                pass
        except HandshakeError as error:
            error.history = self._history()
            raise
        return connection

    async def _ask(self) -> WebSocketConnection | None:
        """Send one request; None if it was redirected."""
        try:
            connection = await self._open()
        except ConnectionRejected as error:
            self._keep_cookies(error.headers or ())
            if not self._follow(error):
                raise
            return None
        try:
            self._keep_cookies(connection.handshake_headers)
        except BaseException:
            # A jar's policy may be anyone's.
            await trio.aclose_forcefully(connection)
            raise
        return connection

    async def _open(self) -> WebSocketConnection:
        # From hand to hand without a checkpoint: whoever waits closes what it has, if cancelled.
        url = self._url
        stand_in = find_stand_in()
        transport = await (self._reach() if stand_in is None else self._reach_in_memory(stand_in))
        if url.is_secure and stand_in is None:
            assert self._ssl_context is not None
            self._doing = "shaking hands with TLS"
            transport = await start_tls(transport, url.host, url.port, self._ssl_context)
        self._doing = "waiting for the server's answer"
        return await ClientOpening(transport, self._handshake, self.options).connect(url.resource)

    async def _reach_in_memory(self, connect: Connect) -> Transport:
        self._doing = "connecting"
        return open_transport(await connect(self._url.host, self._url.port), self.options.receive_size)

    async def _reach(self) -> Transport:
        """Get to where the request is to be sent, or TLS begins."""
        url, proxy, receive_size = self._url, self._proxy, self.options.receive_size
        if proxy is not None:
            self._doing = f"connecting through the proxy {proxy}"
            return await open_tunnel(proxy, url.host, url.port, receive_size)
        if url.unix_path is not None:
            self._doing = "connecting"
            return open_transport(await open_unix(url.unix_path), receive_size)
        self._doing = "looking up the host"
        addresses = await look_up(url.host, url.port)
        self._doing = "connecting"
        return open_transport(await connect_tcp(url.host, url.port, addresses), receive_size)

    def _keep_cookies(self, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        if self._route.cookies is not None:
            keep_cookies(self._route.cookies, self._url, headers)

    def _follow(self, rejection: ConnectionRejected) -> bool:
        """Make the request that a response redirects to, if it does so."""
        limit = self._route.max_redirects
        if limit == 0:
            return False
        url = self._url
        self._redirected.append((url, self._headers))
        try:
            target = redirect_of(url, rejection.status_code, rejection.headers or ())
            if target is None:
                self._redirected.pop()
                return False
            if len(self._redirected) > limit:
                raise ValueError(f"it leads to {_cut(target)}, which is one more than max_redirects={limit}")
            if not is_same_origin(url, target):
                self._extra_headers = without_credentials(self._extra_headers)
            self._prepare(target)
            if (target, self._headers) in self._redirected:
                raise ValueError(f"it leads to {_cut(target)} again")
        except (ValueError, ModuleNotFoundError) as error:
            raise HandshakeError(
                f"cannot follow the redirect from {_cut(url)} with HTTP status {rejection.status_code}: {error}"
            ) from rejection
        logger.debug("%s redirects to %s", url, target)
        return True

    def _history(self) -> tuple[str, ...]:
        return tuple(str(url) for url, _ in self._redirected)

    def timed_out(self) -> ConnectionTimeout:
        """Make the error for a connection that took too long."""
        url = self._url
        where = f"{url.host} port {url.port}" if url.unix_path is None else name_of_unix(url.unix_path)
        error = ConnectionTimeout(
            f"no WebSocket connection to {where}"
            f" within connect_timeout={self.options.connect_timeout} seconds: still {self._doing}"
        )
        error.history = self._history()
        return error


def _cut(url: WebSocketURL) -> str:
    """What a message has of a URL, which may be as long as a server likes."""
    text = str(url)
    return text if len(text) <= _SHOWN_URL else f"{text[:_SHOWN_URL]}..."


def to_host(
    host: str,
    port: int,
    resource: str,
    use_ssl: bool | ssl.SSLContext,
    subprotocols: Iterable[str] | None,
    extra_headers: HeaderList | None,
    route: Route,
    options: ConnectionOptions,
) -> Dialling:
    """Make a `Dialling` to a host and port."""
    if not isinstance(use_ssl, bool | ssl.SSLContext):
        raise TypeError(f"use_ssl must be a bool or an SSLContext, not {type(use_ssl).__name__}")
    if not 0 < port < 65536:
        raise ValueError(f"port {port} is not between 1 and 65535")
    context = use_ssl if isinstance(use_ssl, ssl.SSLContext) else None
    url = WebSocketURL(use_ssl is not False, encode_host(host), port, encode_resource(resource))
    return Dialling(url, context, subprotocols, extra_headers, route, options)


def to_url(
    url: object,
    ssl_context: ssl.SSLContext | None,
    subprotocols: Iterable[str] | None,
    extra_headers: HeaderList | None,
    route: Route,
    options: ConnectionOptions,
) -> Dialling:
    """Make a `Dialling` to a URL."""
    parts = parse_url(url)
    if ssl_context is not None and not parts.is_secure:
        raise ValueError("an ssl_context makes no sense for a ws: URL; use wss:")
    return Dialling(parts, ssl_context, subprotocols, extra_headers, route, options)
