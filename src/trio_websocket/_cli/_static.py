"""Pages beside a WebSocket server, on the same port: plain HTTP requests are answered here, all others are passed on."""

from __future__ import annotations

import mimetypes
import ssl
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import h11
import trio

__all__ = ["PageListener", "Pages"]

# What a client may take for its request, as the library has it by default.
_REQUEST_SECONDS = 60
_AT_ONCE = 2**16


class Page(NamedTuple):
    """An answer to an HTTP request."""

    status: int
    content_type: str
    body: bytes


class Pages:
    """A file, which is the page `/`, or a directory.

    Args:
        root: Its path, resolved.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def find(self, target: str) -> Page:
        """The page for a request target (RFC 9112 §3.2.1)."""
        try:
            path = self._path(unquote(target.partition("?")[0]))
            if path is not None:
                return Page(200, _content_type(path), path.read_bytes())
        except (OSError, ValueError):
            pass  # no file, no right to read it, or a name that no file can have
        return Page(404, "text/plain; charset=utf-8", b"Not found.\n")

    def _path(self, name: str) -> Path | None:
        if self._root.is_file():
            return self._root if name == "/" else None
        parts = name.split("/")[1:]
        # What begins with a dot is hidden on purpose, or leads upwards.
        if any(part.startswith(".") or "\\" in part for part in parts):
            return None
        path = self._root.joinpath(*parts, *(["index.html"] if name.endswith("/") else []))
        # A link may lead out.
        return path if path.resolve().is_relative_to(self._root) else None


def _content_type(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


class PageListener(trio.abc.Listener[trio.abc.Stream]):
    """Gives a server the connections of another listener on which something else is asked for than a page.

    Args:
        listener: Where the connections come from; `run` has to run.
        context: For TLS; None for none.
        pages: What to answer plain HTTP requests with.
    """

    def __init__(self, listener: trio.SocketListener, context: ssl.SSLContext | None, pages: Pages) -> None:
        self._listener = listener
        self._context = context
        self._pages = pages
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](0)

    async def run(self) -> None:
        """Accept connections and serve pages until cancelled."""
        await trio.serve_listeners(self._serve, [self._listener])

    async def accept(self) -> trio.abc.Stream:
        """Wait for a connection that asks for no page."""
        return await self._receive.receive()

    async def aclose(self) -> None:
        """Do nothing: `run` closes the other listener."""
        await trio.lowlevel.checkpoint()

    async def _serve(self, stream: trio.abc.Stream) -> None:
        if self._context is not None:
            stream = trio.SSLStream(stream, self._context, server_side=True, https_compatible=True)
        passed_on: _Replayed | None = None
        try:
            with trio.move_on_after(_REQUEST_SECONDS):
                http = h11.Connection(h11.SERVER)
                request, received = await _read_request(stream, http)
                if request is not None and _asks_for_page(request):
                    await self._answer(stream, http, request)
                else:
                    replayed = _Replayed(stream, received)
                    await self._send.send(replayed)
                    passed_on = replayed
        except trio.BrokenResourceError:
            pass  # the client has gone, or speaks no TLS
        finally:
            if passed_on is None:
                await trio.aclose_forcefully(stream)
        if passed_on is not None:
            # Trio closes the stream when this returns. The server closes it in any case, in its own time.
            with trio.CancelScope(shield=True):
                await passed_on.is_closed.wait()

    async def _answer(self, stream: trio.abc.Stream, http: h11.Connection, request: h11.Request) -> None:
        page = await trio.to_thread.run_sync(self._pages.find, request.target.decode("ascii"))
        headers = [
            ("Content-Type", page.content_type),
            ("Content-Length", str(len(page.body))),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
            ("Connection", "close"),
        ]
        answer = (
            http.send(
                h11.Response(status_code=page.status, reason=HTTPStatus(page.status).phrase, headers=headers)
            )
            or b""
        )
        if request.method != b"HEAD":
            answer += http.send(h11.Data(data=page.body)) or b""
        await stream.send_all(answer)
        await stream.aclose()


async def _read_request(stream: trio.abc.Stream, http: h11.Connection) -> tuple[h11.Request | None, bytes]:
    """The head of a request, None if it is no right one, and all the bytes that came."""
    received = b""
    while True:
        data = bytes(await stream.receive_some(_AT_ONCE))
        received += data
        try:
            # It bounds what it takes for a head.
            http.receive_data(data)
            event = http.next_event()
        except h11.RemoteProtocolError:
            return None, received
        if event is not h11.NEED_DATA:
            return event if isinstance(event, h11.Request) else None, received


def _asks_for_page(request: h11.Request) -> bool:
    return request.method in {b"GET", b"HEAD"} and not any(name == b"upgrade" for name, _ in request.headers)


class _Replayed(trio.abc.Stream):
    """A stream from which some bytes were read already, and are to be read again.

    Attributes:
        is_closed: Set when it is closed.
    """

    def __init__(self, stream: trio.abc.Stream, received: bytes) -> None:
        self._stream = stream
        self._received = received
        self.is_closed = trio.Event()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive what was read, then what comes."""
        if not self._received:
            return bytes(await self._stream.receive_some(max_bytes))
        await trio.lowlevel.checkpoint()
        size = len(self._received) if max_bytes is None else max_bytes
        data, self._received = self._received[:size], self._received[size:]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close."""
        try:
            await self._stream.aclose()
        finally:
            self.is_closed.set()
