"""A connection that has ended is gone at once: nothing of it is left for the garbage collector to find.

Cycles would be found in the end; but each run of the collector stops everything, and takes a fifth of a server's time when
many connections come and go.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import trio
import trio.testing
from certificates import Certificates
from hostile import reset
from support import HOST, MASK, TEXT, RawPeer, frame, raw_client, raw_server, request_head, serving, url_of

from trio_websocket import ConnectionClosed, HandshakeError, WebSocketRequest, open_websocket_url

pytestmark = pytest.mark.usefixtures("transport")


@contextmanager
def leaving_no_garbage() -> Iterator[None]:
    """What goes in this block goes without the garbage collector."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield
        gc.collect()
        ours = sorted(
            {
                type(each).__qualname__
                for each in gc.garbage
                if type(each).__module__.startswith("trio_websocket")
            }
        )
        assert ours == []
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def leave(peer: RawPeer) -> None:
    """End the TCP connection without a word."""


async def drop(peer: RawPeer) -> None:
    """Reset it."""
    assert isinstance(peer.stream, trio.SocketStream)
    reset(peer.stream)


async def close(peer: RawPeer) -> None:
    """Close as one should."""
    await peer.send_close(1000)
    await peer.read_frame()


async def break_a_rule(peer: RawPeer) -> None:
    """Send an opcode that there is not."""
    await peer.send_frame(11)
    await peer.read_frame()


async def break_the_text(peer: RawPeer) -> None:
    """Send a text that is no UTF-8."""
    await peer.send_frame(TEXT, b"\xff")
    await peer.read_frame()


async def break_off(peer: RawPeer) -> None:
    """Leave in the middle of a message."""
    await peer.stream.send_all(frame(TEXT, b"hello", mask=MASK)[:-2])


Peer = Callable[[RawPeer], Awaitable[None]]
PEERS: list[Peer] = [leave, drop, close, break_a_rule, break_the_text, break_off]


async def receive(request: WebSocketRequest) -> None:
    """A handler that is told by an error that its connection has ended."""
    ws = await request.accept()
    try:
        while True:
            await ws.get_message()
    except ConnectionClosed:
        pass


async def receive_all(request: WebSocketRequest) -> None:
    """A handler that lets the error out."""
    ws = await request.accept()
    async for _ in ws:
        pass


Handler = Callable[[WebSocketRequest], Awaitable[None]]


@pytest.mark.parametrize("handler", [receive, receive_all])
@pytest.mark.parametrize("peer", PEERS)
async def test_a_client_that_has_gone_leaves_a_server_no_garbage(peer: Peer, handler: Handler) -> None:
    has_ended = trio.Event()

    async def handle(request: WebSocketRequest) -> None:
        try:
            await handler(request)
        finally:
            has_ended.set()

    with leaving_no_garbage():
        async with serving(handle) as server:
            client = await raw_client(server)
            await trio.testing.wait_all_tasks_blocked()
            await peer(client)
            await client.stream.aclose()
            await has_ended.wait()
            await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize(
    "request_head", [request_head().replace(b"13", b"12"), b"GET / HTTP/1.1\r\nA B: x\r\n\r\n"]
)
async def test_a_bad_request_leaves_no_garbage(request_head: bytes) -> None:
    with leaving_no_garbage():
        async with serving(receive) as server:
            stream = await trio.open_tcp_stream(HOST, server.port)
            await stream.send_all(request_head)
            assert (await RawPeer(stream, is_client=True).read_to_end()).startswith(b"HTTP/1.1 4")
            await stream.aclose()
            await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("peer", PEERS)
async def test_a_server_that_has_gone_leaves_a_client_no_garbage(peer: Peer) -> None:
    async with raw_server(peer) as port:
        with leaving_no_garbage():
            with suppress(ConnectionClosed):
                async with open_websocket_url(f"ws://{HOST}:{port}/") as ws:
                    await ws.get_message()
            await trio.testing.wait_all_tasks_blocked()


async def test_a_server_that_speaks_something_else_leaves_a_client_no_garbage() -> None:
    async def answer(peer: RawPeer) -> None:
        await peer.read_head()
        await peer.stream.send_all(b"SSH-2.0-OpenSSH_9.6\r\n")

    async with raw_server(answer, shake_hands=False) as port:
        with leaving_no_garbage():
            with pytest.raises(HandshakeError, match="something else"):
                async with open_websocket_url(f"ws://{HOST}:{port}/"):
                    pass
            await trio.testing.wait_all_tasks_blocked()


async def fail(request: WebSocketRequest) -> None:
    """A handler with a bug."""
    ws = await request.accept()
    await ws.get_message()
    raise ZeroDivisionError


@pytest.mark.parametrize("handler", [receive, fail])
@pytest.mark.parametrize("is_tls", [False, True])
async def test_two_of_ours_leave_no_garbage(
    handler: Handler, is_tls: bool, certificates: Certificates
) -> None:
    contexts = (certificates.server_context(), certificates.client_context()) if is_tls else (None, None)
    with leaving_no_garbage():
        async with (
            serving(handler, contexts[0]) as server,
            open_websocket_url(url_of(server), contexts[1]) as ws,
        ):
            await ws.send_message("hello")
