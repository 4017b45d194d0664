"""What several tests share: servers and pairs of ours, and a peer that speaks raw bytes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import trio
import trio.testing

import trio_websocket
from trio_websocket import WebSocketConnection, WebSocketRequest, WebSocketServer, serve_websocket

HOST = "127.0.0.1"
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
MASK = b"\x37\xfa\x21\x3d"  # RFC 6455 §5.7

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


async def echo(request: WebSocketRequest) -> None:
    """A handler that sends back what it receives."""
    ws = await request.accept()
    async for message in ws:
        await ws.send_message(message)


async def check_echo(ws: WebSocketConnection) -> None:
    """Prove that a connection to `echo` works."""
    for message in ("hello", b"\x00\xff"):
        await ws.send_message(message)
        assert await ws.get_message() == message


@asynccontextmanager
async def serving(
    handler: Callable[[WebSocketRequest], Awaitable[None]] = echo, ssl_context: Any = None, **options: Any
) -> AsyncIterator[WebSocketServer]:
    """A server on a free port of the loopback interface."""
    async with trio.open_nursery() as nursery:
        yield await nursery.start(_serve, handler, ssl_context, options)
        nursery.cancel_scope.cancel()


async def _serve(handler: Any, ssl_context: Any, options: Any, task_status: Any) -> None:
    await serve_websocket(handler, HOST, 0, ssl_context, task_status=task_status, **options)


def url_of(server: WebSocketServer, path: str = "/") -> str:
    """The URL of a server that listens on one port of the loopback interface."""
    endpoint = server.listeners[0]
    assert isinstance(endpoint, trio_websocket.Endpoint)
    return endpoint.url + path


StreamPair = tuple[trio.abc.HalfCloseableStream, trio.abc.HalfCloseableStream]


# What `make_pair` makes; the fixture `transport` has a test run over both.
over_sockets = False


def make_pair(*, is_tight: bool = False) -> StreamPair:
    """Two connected streams: in memory, or sockets of this machine.

    Args:
        is_tight: What is sent waits until the peer reads it; with sockets, all but a few kilobytes.
    """
    if not over_sockets:
        return trio.testing.lockstep_stream_pair() if is_tight else trio.testing.memory_stream_pair()
    # What one sends, the other can receive at once: tests on it are repeatable.
    pair = trio.socket.socketpair()
    if is_tight:
        for each in pair:
            each.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_SNDBUF, 1)  # the system's least
    return trio.SocketStream(pair[0]), trio.SocketStream(pair[1])


class Pair(NamedTuple):
    """The two ends of one connection."""

    client: WebSocketConnection
    server: WebSocketConnection


@asynccontextmanager
async def connected_pair(*, is_tight: bool = False, **options: Any) -> AsyncIterator[Pair]:
    """A client and a server of ours, connected on this machine by `make_pair`; `options` hold for both."""
    client_stream, server_stream = make_pair(is_tight=is_tight)
    async with trio.open_nursery() as nursery:
        ends: dict[str, WebSocketConnection] = {}

        async def accept() -> None:
            request = await trio_websocket.wrap_server_stream(nursery, server_stream, **options)
            ends["server"] = await request.accept()

        async with trio.open_nursery() as opening:
            opening.start_soon(accept)
            client = await trio_websocket.wrap_client_stream(nursery, client_stream, "test", "/", **options)
        yield Pair(client, ends["server"])
        nursery.cancel_scope.cancel()


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes | None = None, rsv: int = 0
) -> bytes:
    """A frame, put together without the code under test."""
    size = len(payload)
    bit = 0x80 if mask is not None else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    if mask is None:
        return head + payload
    return head + mask + xor(payload, mask)


def xor(payload: bytes, mask: bytes) -> bytes:
    """Mask or unmask."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


class Frame(NamedTuple):
    """A frame that came."""

    fin: bool
    opcode: int
    payload: bytes


class RawPeer:
    """One end of a connection, as raw bytes and single frames, without the code under test.

    Args:
        stream: The stream to speak on.
        is_client: Whether to mask.
    """

    def __init__(self, stream: trio.abc.Stream, *, is_client: bool) -> None:
        self.stream = stream
        self.is_client = is_client
        self.buffer = bytearray()

    async def send_frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True) -> None:
        """Send one frame."""
        await self.stream.send_all(frame(opcode, payload, fin=fin, mask=MASK if self.is_client else None))

    async def send_close(self, code: int = 1000, reason: bytes = b"") -> None:
        """Send a close frame."""
        await self.send_frame(CLOSE, code.to_bytes(2, "big") + reason)

    async def read(self, size: int) -> bytes:
        """Read just so many bytes; EOFError if the stream ends before."""
        while len(self.buffer) < size:
            data = await self.stream.receive_some(65536)
            if not data:
                raise EOFError(f"{len(self.buffer)} bytes before the end, {size} wanted")
            self.buffer += data
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def read_frame(self) -> Frame:
        """Read one frame, unmasked."""
        first, second = await self.read(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(await self.read(2 if size == 126 else 8), "big")
        mask = await self.read(4) if second & 0x80 else bytes(4)
        payload = await self.read(size)
        return Frame(bool(first & 0x80), first & 0x0F, xor(payload, mask))

    async def read_head(self) -> bytes:
        """Read an HTTP head, up to and with its empty line."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await self.read(1)
        return head

    async def read_to_end(self) -> bytes:
        """Read all that comes until the end of file, or a reset."""
        try:
            while data := await self.stream.receive_some(65536):
                self.buffer += data
        except trio.BrokenResourceError:
            pass
        data = bytes(self.buffer)
        self.buffer.clear()
        return data


def request_head(path: str = "/", *extra: bytes) -> bytes:
    """A right opening request, with further header lines."""
    lines = [
        b"GET %s HTTP/1.1" % path.encode(),
        b"Host: test",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Key: " + KEY,
        b"Sec-WebSocket-Version: 13",
        *extra,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def response_head(request: bytes, *extra: bytes) -> bytes:
    """The right answer to an opening request, with further header lines."""
    key = next(line.split(b":")[1].strip() for line in request.split(b"\r\n") if b"ec-WebSocket-Key:" in line)
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # RFC 6455 §1.3
    lines = [
        b"HTTP/1.1 101 Switching Protocols",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest),
        *extra,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n"


async def raw_client(server: WebSocketServer) -> RawPeer:
    """A raw client that has shaken hands with a server of ours."""
    peer = RawPeer(await trio.open_tcp_stream(HOST, server.port), is_client=True)
    await peer.stream.send_all(request_head())
    head = await peer.read_head()
    assert head.startswith(b"HTTP/1.1 101"), head
    return peer


@asynccontextmanager
async def raw_server(
    handler: Callable[[RawPeer], Awaitable[None]], *, shake_hands: bool = True
) -> AsyncIterator[int]:
    """A raw server on a free port, which the context manager gives; `handler` gets each connection."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            peer = RawPeer(stream, is_client=False)
            try:
                if shake_hands:
                    await stream.send_all(response_head(await peer.read_head()))
                await handler(peer)
            except (trio.BrokenResourceError, EOFError):
                pass

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host=HOST)
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def client_of_raw_peer(**options: Any) -> AsyncIterator[tuple[WebSocketConnection, RawPeer]]:
    """A client of ours, connected on this machine with a raw server."""
    ours, theirs = make_pair()
    peer = RawPeer(theirs, is_client=False)
    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            await theirs.send_all(response_head(await peer.read_head()))

        nursery.start_soon(answer)
        yield await trio_websocket.wrap_client_stream(nursery, ours, "test", "/", **options), peer
        # Our end need not wait for an answer to its close.
        await theirs.aclose()
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def server_of_raw_peer(**options: Any) -> AsyncIterator[tuple[WebSocketConnection, RawPeer]]:
    """A server's connection of ours, connected on this machine with a raw client."""
    ours, theirs = make_pair()
    peer = RawPeer(theirs, is_client=True)
    async with trio.open_nursery() as nursery:
        await theirs.send_all(request_head())
        request = await trio_websocket.wrap_server_stream(nursery, ours, **options)
        ws = await request.accept()
        await peer.read_head()
        yield ws, peer
        await theirs.aclose()
        nursery.cancel_scope.cancel()
