"""A way to a server that leads through a proxy: python-socks says what a proxy has to hear, over a transport of ours.

Theory of operation
    python-socks can connect through a proxy behind another, and asks the other one for the stream (`forward`). What we give it in
    that place is `_Wire`, a transport that leads to the proxy, with TLS or without. So it connects nothing and closes nothing;
    addresses are raced, errors told and sockets closed as everywhere else here, and a connection through a plain proxy is a plain
    socket's in the end.

    It takes whatever one read gives for the answer to CONNECT. A wire gives it the whole head, and no more.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

import trio

from trio_websocket._dial._tcp import open_tcp
from trio_websocket._dial._tls import default_context, start_tls
from trio_websocket._exceptions import ConnectionFailed, HandshakeError, ProxyFailed
from trio_websocket._kernel import Buffer
from trio_websocket._transports import Transport, open_transport
from trio_websocket.protocol._headers import shown
from trio_websocket.protocol._proxies import ProxyURL

__all__ = ["load_python_socks", "open_tunnel"]

_HEAD_END = re.compile(rb"\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: ([^\n]*))?\r?\n")
_STATUS_LINE_START = b"HTTP/1."
_MAX_HEAD = 16384


def load_python_socks() -> Any:
    """Import what proxies take.

    Raises:
        ModuleNotFoundError: It is not installed; the message says how to.
    """
    try:
        return importlib.import_module("python_socks.async_.trio.v2")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "a proxy takes the package python-socks: install trio-websocket with its extra [proxy]",
            name=error.name,
        ) from error


async def open_tunnel(proxy: ProxyURL, host: str, port: int, receive_size: int | None) -> Transport:
    """Connect to `host` through `proxy`.

    Args:
        proxy: The proxy.
        host: An ASCII name, or an address without brackets.
        port: The port there.
        receive_size: Bytes to ask for at once; None for the library's choice.

    Returns:
        A transport that nobody owns yet; its addresses are those of the way to the proxy.

    Raises:
        ProxyFailed: The proxy cannot be reached, or does not give a way to the host.

    If cancelled, nothing is left open.
    """
    context = default_context() if proxy.scheme == "https" else None
    try:
        transport = open_transport(await open_tcp(proxy.host, proxy.port), receive_size)
        if context is not None:
            transport = await start_tls(transport, proxy.host, proxy.port, context)
    except HandshakeError as error:
        cause = error.__cause__ if isinstance(error, ConnectionFailed) else error
        raise ProxyFailed(f"no connection to the proxy {proxy}: {error}") from cause
    wire = _Wire(transport, f"the proxy {proxy}")
    try:
        await _ask(proxy, wire, host, port)
        wire.check_over()
    except BaseException:
        await wire.abort()
        raise
    return transport


async def _ask(proxy: ProxyURL, wire: _Wire, host: str, port: int) -> None:
    python_socks = importlib.import_module("python_socks")
    user, password = proxy.user_info or (None, None)
    if proxy.scheme.startswith("http"):
        kind = python_socks.ProxyType.HTTP
        # RFC 3986 §3.2.2, which not every version of python-socks knows.
        host = f"[{host.partition('%')[0]}]" if ":" in host else host
        if user is not None and password is not None:
            # RFC 7617 §2.1: UTF-8, by way of the Latin-1 that python-socks encodes with.
            user, password = (
                text.encode("utf-8", "surrogateescape").decode("latin-1") for text in (user, password)
            )
    else:
        is_version_5 = proxy.scheme.startswith("socks5")
        kind = python_socks.ProxyType.SOCKS5 if is_version_5 else python_socks.ProxyType.SOCKS4
    # As curl has it: with "a" and "h", the proxy looks the name up.
    is_remote = proxy.scheme in {"socks4a", "socks5h"}
    client = load_python_socks().Proxy(kind, proxy.host, proxy.port, user, password, is_remote, forward=wire)
    try:
        # The caller has a timeout of its own.
        await client.connect(host, port, timeout=math.inf)
    except python_socks.ProxyError as error:
        wire.refuse(error, str(error))
    except OSError as error:
        if isinstance(error, HandshakeError):
            raise
        wire.refuse(error, f"cannot look up {host}: {error}")
    except ValueError as error:
        # A name that cannot be sent, or an answer that makes no sense.
        wire.refuse(error, str(error))


class _Wire:
    """A transport to a proxy, as python-socks would have a stream, and the proxy before it that it asks for one."""

    intake = None

    def __init__(self, transport: Transport, proxy: str) -> None:
        self._transport = transport
        self._proxy = proxy
        self._received = bytearray()
        self._has_ended = False
        self._is_lost = False
        self._error: Exception | None = None
        self._status: tuple[int, bytes] | None = None
        self._waiters = trio.lowlevel.ParkingLot()
        transport.set_owner(self)

    # ---------------------------------------------------------------------------------------- what the transport tells

    @property
    def is_filling(self) -> bool:
        return False

    def fill(self, receive: Callable[[memoryview], int]) -> int:
        raise NotImplementedError

    def data_received(self, data: Buffer) -> None:
        self._received += data
        if len(self._received) > _MAX_HEAD:
            self._transport.pause_reading()
        self._waiters.unpark_all()

    def eof_received(self) -> None:
        self._has_ended = True
        self._waiters.unpark_all()

    def backlog_drained(self) -> None:
        pass

    def connection_lost(self, error: Exception | None) -> None:
        self._error = error
        self._is_lost = self._has_ended = True
        self._waiters.unpark_all()

    # ------------------------------------------------------------------------------------------ what python-socks asks

    async def connect(self, **_options: object) -> _Wire:
        """Be the stream to the proxy."""
        return self

    async def write(self, data: bytes) -> None:
        self._transport.write(data)

    async def read(self) -> bytes:
        """The whole head of an answer to CONNECT."""
        while (end := _HEAD_END.search(self._received, 0, _MAX_HEAD)) is None:
            self._check_status_line()
            if len(self._received) > _MAX_HEAD:
                raise ProxyFailed(f"{self._proxy} answered with headers that exceed {_MAX_HEAD} bytes")
            await self._more()
        self._check_status_line()
        return self._take(end.end())

    async def read_exactly(self, n: int) -> bytes:
        while len(self._received) < n:
            await self._more()
        return self._take(n)

    # What python-socks called them before 3.0.
    write_all = write
    read_exact = read_exactly

    async def close(self) -> None:
        """`open_tunnel` does that."""

    def _take(self, size: int) -> bytes:
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    async def _more(self) -> None:
        if self._has_ended:
            self._hung_up("before it answered")
        await self._waiters.park()

    def _check_status_line(self) -> None:
        if (line := _STATUS_LINE.match(self._received)) is not None:
            self._status = int(line[1]), (line[2] or b"").strip()
        elif b"\n" in self._received or not _STATUS_LINE_START.startswith(bytes(self._received[:7])):
            raise ProxyFailed(f"{self._proxy} does not answer with HTTP: {shown(bytes(self._received))}")

    # -------------------------------------------------------------------------------------------------- how it ended

    def _hung_up(self, when: str) -> NoReturn:
        reason = "" if self._error is None else f": {self._error.__cause__ or self._error}"
        raise ProxyFailed(f"{self._proxy} ended the connection {when}{reason}") from self._error

    def refuse(self, error: Exception, reason: str) -> NoReturn:
        """Raise what a caller sees of python-socks' error."""
        if self._status is None:
            raise ProxyFailed(f"{self._proxy} gives no way to the server: {shown(reason, 200)}") from error
        status_code, phrase = self._status
        raise ProxyFailed(
            f"{self._proxy} answered CONNECT with HTTP status {status_code}"
            + (f": {shown(phrase)}" if phrase else ""),
            status_code=status_code,
        ) from error

    def check_over(self) -> None:
        """Make sure that nothing would be lost on whoever owns the transport next.

        In TLS and in HTTP, the client speaks first: what a proxy sends ahead is no server's.
        """
        if self._has_ended:
            self._hung_up("as soon as it had answered")
        if self._received:
            raise ProxyFailed(f"{self._proxy} sent {len(self._received)} bytes behind its answer")

    async def abort(self) -> None:
        """Drop the connection. Not cancellable, and prompt."""
        self._transport.abort()
        with trio.CancelScope(shield=True):
            while not self._is_lost:
                await self._waiters.park()
