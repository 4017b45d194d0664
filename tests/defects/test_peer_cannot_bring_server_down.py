"""A peer, whatever it sends and however it goes, ends its own connection and no other.

WebSocket servers have gone down as a whole, with all their clients, over one byte in a header, over a reset at an awkward
moment, over a ping that came late, over a bug in one handler.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from hostile import exchange, reset
from support import (
    BINARY,
    CLOSE,
    HOST,
    KEY,
    MASK,
    PING,
    PONG,
    TEXT,
    RawPeer,
    client_of_raw_peer,
    echo,
    frame,
    raw_client,
    request_head,
    serving,
    url_of,
)

from trio_websocket import HandshakeError, WebSocketRequest, WebSocketServer, open_websocket_url


@asynccontextmanager
async def surviving(handler: Any = echo, **options: Any) -> AsyncIterator[WebSocketServer]:
    """A server with a client that it echoes to, before and after what the test does to it; new clients find it, too."""
    with trio.fail_after(30):
        async with serving(handler, **options) as server:
            async with open_websocket_url(url_of(server)) as ws:
                await exchange(ws)
                yield server
                await exchange(ws)
            async with open_websocket_url(url_of(server)) as ws:
                await exchange(ws)


async def answer_to(server: WebSocketServer, request: bytes) -> bytes:
    """All that a server sends to one who sends `request`."""
    async with await trio.open_tcp_stream(HOST, server.port) as stream:
        await stream.send_all(request)
        return await RawPeer(stream, is_client=True).read_to_end()


# ------------------------------------------------------------------------------------------ what stands in a request


@pytest.mark.parametrize("value", [b"\x80", b"caf\xe9", b"\xff\xfe\x00a", b"\xf0\x9f\x92\xa9"], ids=ascii)
@pytest.mark.parametrize(
    "name", [b"Host", b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions"], ids=bytes.decode
)
async def test_bytes_outside_ascii_in_a_header_get_400(name: bytes, value: bytes) -> None:
    request = request_head()
    if name == b"Host":
        request = request.replace(b"Host: test", b"Host: " + value)
    else:
        request = request_head("/", name + b": " + value)
    async with surviving() as server:
        assert (await answer_to(server, request)).startswith(b"HTTP/1.1 400 ")


async def test_bytes_outside_ascii_in_a_header_without_rules_are_handed_on() -> None:
    seen: list[Any] = []

    async def handler(request: WebSocketRequest) -> None:
        seen.extend(request.headers)
        await echo(request)

    async with surviving(handler) as server, await trio.open_tcp_stream(HOST, server.port) as stream:
        await stream.send_all(request_head("/", b"X-Name: caf\xe9"))
        assert (await RawPeer(stream, is_client=True).read_head()).startswith(b"HTTP/1.1 101 ")
    assert (b"x-name", b"caf\xe9") in seen


@pytest.mark.parametrize(
    "key", [b"x", b"", b"dGhlIHNhbXBsZSBub25jZQ", b"dGhl IHNhbXBsZSBub25jZQ==", KEY * 2], ids=ascii
)
async def test_key_that_is_no_key_gets_400_with_a_text(key: bytes) -> None:
    async with surviving() as server:
        head, _, body = (await answer_to(server, request_head().replace(KEY, key))).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"Sec-WebSocket-Key" in body


async def test_plain_http_request_gets_426_with_a_text() -> None:
    async with surviving() as server:
        answer = await answer_to(server, b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 426 ")
    assert b"upgrade: websocket" in head.lower()
    assert body.strip()


# ------------------------------------------------------------------------------------------------ how a peer leaves

MALFORMED = [
    b"GET / HTTP/1.1\r\nHost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00",
    b"\x00" * 100,
    b"BREW / HTCPCP/1.0\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 9000,
]


@pytest.mark.parametrize("request_", MALFORMED, ids=lambda data: ascii(data[:20]))
async def test_malformed_request_with_a_reset_behind_it_ends_nothing_else(request_: bytes) -> None:
    async with surviving() as server:
        for _ in range(5):
            stream = await trio.open_tcp_stream(HOST, server.port)
            await stream.send_all(request_)
            reset(stream)
            # ... and once more, when the server has begun to answer.
            stream = await trio.open_tcp_stream(HOST, server.port)
            await stream.send_all(request_)
            await trio.testing.wait_all_tasks_blocked()
            reset(stream)


async def end_of_file(stream: trio.abc.Stream) -> None:
    assert isinstance(stream, trio.SocketStream)
    await stream.send_eof()


async def close(stream: trio.abc.Stream) -> None:
    await stream.aclose()


async def drop(stream: trio.abc.Stream) -> None:
    reset(stream)


MOMENTS = {
    "before its request": b"",
    "in the middle of its request": request_head()[:40],
    "with its request": request_head(),
    "in the middle of a frame's header": request_head() + b"\x81",
    "in the middle of a frame": request_head() + frame(TEXT, b"hello", mask=MASK)[:-2],
    "in the middle of a message": request_head() + frame(TEXT, b"hello", fin=False, mask=MASK),
    "with messages that nobody will hear the echo of": request_head()
    + 50 * frame(BINARY, bytes(5000), mask=MASK),
    "with a ping": request_head() + frame(PING, b"hello", mask=MASK),
    "with a close frame": request_head() + frame(CLOSE, b"\x03\xe8", mask=MASK),
    "with a wrong frame": request_head() + frame(3, b"hello", mask=MASK),
}


@pytest.mark.parametrize("leave", [end_of_file, close, drop])
@pytest.mark.parametrize("moment", MOMENTS)
async def test_peer_that_vanishes_takes_nobody_along(moment: str, leave: Callable[[Any], Any]) -> None:
    async with surviving() as server:
        for patient in (False, True):
            stream = await trio.open_tcp_stream(HOST, server.port)
            # The server may have left first.
            async with stream:
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(MOMENTS[moment])
                    if patient:
                        await trio.testing.wait_all_tasks_blocked()
                    await leave(stream)
                    await trio.testing.wait_all_tasks_blocked()


async def test_peer_that_vanishes_before_the_handler_answers_takes_nobody_along() -> None:
    came, gone, done = trio.Event(), trio.Event(), trio.Event()

    async def handler(request: WebSocketRequest) -> None:
        if request.path == "/slow":
            came.set()
            await gone.wait()
            with pytest.raises(HandshakeError, match="before its request was answered"):
                await request.accept()
            done.set()
        await echo(request)

    async with surviving(handler) as server:
        stream = await trio.open_tcp_stream(HOST, server.port)
        await stream.send_all(request_head("/slow"))
        await came.wait()
        reset(stream)
        await trio.testing.wait_all_tasks_blocked()
        gone.set()
        await done.wait()


async def test_peer_that_vanishes_under_a_large_message_takes_nobody_along() -> None:
    async def handler(request: WebSocketRequest) -> None:
        if request.path == "/":
            await echo(request)
            return
        ws = await request.accept()
        while True:
            await ws.send_message(bytes(10_000_000))

    async with surviving(handler) as server:
        stream = await trio.open_tcp_stream(HOST, server.port)
        await stream.send_all(request_head("/much"))
        await RawPeer(stream, is_client=True).read(1_000_000)
        reset(stream)


# --------------------------------------------------------------------------------------------- pings that come late


async def test_server_lives_through_a_ping_behind_its_own_close_frame() -> None:
    async def handler(request: WebSocketRequest) -> None:
        if request.path == "/":
            await echo(request)
        else:
            await (await request.accept()).aclose(1001)

    async with surviving(handler) as server:
        peer = RawPeer(await trio.open_tcp_stream(HOST, server.port), is_client=True)
        await peer.stream.send_all(request_head("/closes"))
        await peer.read_head()
        assert await peer.read_frame() == (True, CLOSE, b"\x03\xe9")
        await peer.send_frame(PING, b"late")
        await peer.send_frame(PONG, b"later")
        await peer.send_close(1001)
        assert await peer.read_to_end() == b""
        await peer.stream.aclose()


async def test_client_lives_through_a_ping_behind_its_own_close_frame() -> None:
    async with client_of_raw_peer() as (ws, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose)
            assert await peer.read_frame() == (True, CLOSE, b"\x03\xe8")
            await peer.send_frame(PING, b"late")
            await peer.send_close()
            await peer.stream.aclose()
        assert ws.closed is not None and ws.closed.code == 1000


# --------------------------------------------------------------------------------------------- bugs in the handler


def fails(request: WebSocketRequest) -> None:
    raise RuntimeError("a bug")


async def fail_when_asked(request: WebSocketRequest) -> None:
    """Echo; but fail before or after accepting, alone or in a nursery, if the path says so."""
    if request.path == "/early":
        fails(request)
    ws = await request.accept()
    if request.path == "/late":
        fails(request)
    if request.path == "/nursery":
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.to_thread.run_sync, fails, request)
    async for message in ws:
        await ws.send_message(message)


@pytest.mark.parametrize("path", ["/late", "/nursery"])
async def test_handlers_bug_closes_its_connection_with_1011_and_is_logged_once(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with surviving(fail_when_asked) as server, open_websocket_url(url_of(server, path)) as ws:
        assert (await ws.wait_closed()).code == 1011
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name == "trio-websocket"
    assert "server-" in record.getMessage()
    assert record.exc_info is not None
    assert "a bug" in caplog.text and "in fails" in caplog.text


async def test_handlers_bug_before_an_answer_gets_500(caplog: pytest.LogCaptureFixture) -> None:
    async with surviving(fail_when_asked) as server:
        answer = await answer_to(server, request_head("/early"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"a bug" not in answer
    assert [record.exc_info is not None for record in caplog.records if record.levelno >= logging.ERROR] == [
        True
    ]


async def test_peer_that_just_leaves_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with surviving() as server:
        peer = await raw_client(server)
        await peer.send_frame(TEXT, b"hello")
        await peer.read_frame()
        reset(peer.stream)
        await trio.testing.wait_all_tasks_blocked()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
