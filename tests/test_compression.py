"""Connections that compress their messages (RFC 7692), over each transport."""

from __future__ import annotations

import contextlib
import random
import zlib
from typing import Any

import pytest
import trio
from support import (
    BINARY,
    HOST,
    TEXT,
    RawPeer,
    client_of_raw_peer,
    connected_pair,
    frame,
    make_pair,
    raw_server,
    request_head,
    response_head,
    serving,
    url_of,
)

from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    PerMessageDeflate,
    WebSocketConnection,
    WebSocketRequest,
    open_websocket_url,
    wrap_client_stream,
    wrap_server_stream,
)
from trio_websocket.testing import open_websocket_pair

pytestmark = pytest.mark.usefixtures("transport")

# Exact bytes are those of the standard library's zlib.
ALWAYS = PerMessageDeflate(level=9, threshold=0)
HELLO = bytes.fromhex("f2 48 cd c9 c9 07 00")  # RFC 7692 §7.2.3.1
DEFLATE = b"Sec-WebSocket-Extensions: permessage-deflate"

JSON = '{"type": "update", "items": [' + ", ".join(f'{{"id": {n}, "active": true}}' for n in range(50)) + "]}"


@pytest.mark.parametrize("compression", [None, False, True, PerMessageDeflate(level=1), [ALWAYS]])
async def test_messages_arrive_whatever_was_agreed_on(compression: Any) -> None:
    async with connected_pair(compression=compression) as (client, server):
        for message in ("", "short", JSON, JSON.encode(), b"\xff" * 100_000):
            for sender, receiver in ((client, server), (server, client)):
                for compress in (None, True, False):
                    await sender.send_message(message, compress=compress)
                    assert await receiver.get_message() == message


async def test_both_ends_tell_what_was_agreed_on() -> None:
    async with connected_pair() as (client, server):
        assert client.compression is server.compression is None
    async with connected_pair(compression=PerMessageDeflate(server_max_window_bits=10)) as (client, server):
        agreed = PerMessageDeflate(server_max_window_bits=10, client_max_window_bits=15)
        assert client.compression == server.compression == agreed


@pytest.mark.parametrize(("mine", "theirs"), [(True, None), (None, True)])
async def test_one_end_alone_gets_no_compression(mine: Any, theirs: Any) -> None:
    async with (
        serving(compression=theirs) as server,
        open_websocket_url(url_of(server), compression=mine) as ws,
    ):
        assert ws.compression is None
        await ws.send_message(JSON, compress=True)
        assert await ws.get_message() == JSON


async def test_pairs_in_memory_compress_as_well() -> None:
    async with open_websocket_pair(compression=True) as pair:
        assert pair.client.compression == pair.server.compression is not None


async def test_compression_of_another_kind_is_refused_at_once() -> None:
    with pytest.raises(
        TypeError, match="compression must be a bool, a PerMessageDeflate or several, not 'yes'"
    ):
        open_websocket_url("ws://localhost", compression="yes")  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def server_of_raw_client(*extra: bytes, **options: Any) -> Any:
    """A server's connection, the raw client that has made this offer, and what it was answered."""
    ours, theirs = make_pair()
    peer = RawPeer(theirs, is_client=True)
    async with trio.open_nursery() as nursery:
        await theirs.send_all(request_head("/", *extra))
        request = await wrap_server_stream(nursery, ours, **options)
        ws = await request.accept()
        yield ws, peer, await peer.read_head()
        await theirs.aclose()
        nursery.cancel_scope.cancel()


async def test_nothing_is_different_on_the_wire_without_it() -> None:
    async with server_of_raw_client(DEFLATE) as (ws, peer, head):
        assert b"xtensions" not in head
        await ws.send_message(JSON)
        assert await peer.read(len(JSON) + 4) == frame(TEXT, JSON.encode())
        # RFC 6455 §5.2: RSV1 has no meaning then.
        await peer.stream.send_all(frame(TEXT, HELLO, rsv=4, mask=b"1234"))
        with pytest.raises(ConnectionClosed) as caught:
            await ws.get_message()
        assert caught.value.reason is not None
        assert caught.value.reason.code == 1002
    async with client_of_raw_peer() as (client, _):
        assert client.compression is None


async def test_wire_has_what_the_rfc_says() -> None:
    async with server_of_raw_client(DEFLATE, compression=ALWAYS) as (ws, peer, head):
        assert DEFLATE + b"\r\n" in head
        await ws.send_message("Hello")
        await ws.send_message("Hello")
        await ws.send_message(b"Hello", compress=False)
        expected = frame(TEXT, HELLO, rsv=4) + frame(TEXT, bytes.fromhex("f2 00 11 00 00"), rsv=4)
        expected += frame(BINARY, b"Hello")
        assert await peer.read(len(expected)) == expected
        await peer.stream.send_all(frame(TEXT, HELLO, rsv=4, mask=b"1234"))
        assert await ws.get_message() == "Hello"


async def test_short_messages_go_out_as_they_are() -> None:
    terms = PerMessageDeflate(level=9, threshold=5)
    async with server_of_raw_client(DEFLATE, compression=terms) as (ws, peer, _):
        await ws.send_message("Hell")
        ws.send_message_nowait("Hello")
        ws.send_message_nowait("Hello", compress=False)
        expected = frame(TEXT, b"Hell") + frame(TEXT, HELLO, rsv=4) + frame(TEXT, b"Hello")
        assert await peer.read(len(expected)) == expected


async def test_wrong_answer_fails_the_handshake() -> None:
    ours, theirs = make_pair()
    peer = RawPeer(theirs, is_client=False)

    async def answer() -> None:
        await theirs.send_all(response_head(await peer.read_head(), DEFLATE + b"; client_max_window_bits"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with pytest.raises(HandshakeError, match="client_max_window_bits has no value"):
            await wrap_client_stream(nursery, ours, "test", "/", compression=True)
        await theirs.aclose()


async def test_several_offers_are_sent_in_their_order() -> None:
    heads: list[bytes] = []

    async def handler(peer: RawPeer) -> None:
        heads.append(await peer.read_head())
        await peer.stream.send_all(response_head(heads[0], DEFLATE))
        await peer.read_frame()
        await peer.send_close()

    offers = [PerMessageDeflate(server_max_window_bits=10), PerMessageDeflate(level=5)]
    async with (
        raw_server(handler, shake_hands=False) as port,
        open_websocket_url(f"ws://{HOST}:{port}", compression=offers) as ws,
    ):
        pass
    wanted = b"permessage-deflate; server_max_window_bits=10; client_max_window_bits, permessage-deflate; client_max_window_bits"
    assert b"Sec-WebSocket-Extensions: " + wanted + b"\r\n" in heads[0]
    # The first one asks for a smaller window than the answer grants.
    assert ws.compression is not None
    assert ws.compression.level == 5


async def test_bomb_closes_the_connection_with_1009() -> None:
    context = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = (context.compress(bytes(2**20)) + context.flush(zlib.Z_FULL_FLUSH)) * 900
    assert 2**19 < len(bomb) < 2**20
    async with server_of_raw_client(DEFLATE, compression=True) as (ws, peer, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_quietly, peer, frame(BINARY, bomb, rsv=4, mask=b"\0\0\0\0"))
            with pytest.raises(
                ConnectionClosed, match="at least 1048577 bytes exceeds max_message_size"
            ) as caught:
                await ws.get_message()
            nursery.cancel_scope.cancel()
        assert caught.value.reason is not None
        assert caught.value.reason.code == 1009


async def send_quietly(peer: RawPeer, data: bytes) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        await peer.stream.send_all(data)


async def test_what_is_no_deflate_data_closes_the_connection_with_1007() -> None:
    async with server_of_raw_client(DEFLATE, compression=True) as (ws, peer, _):
        await peer.stream.send_all(frame(TEXT, b"\xff\xff", rsv=4, mask=b"1234"))
        with pytest.raises(ConnectionClosed, match="no DEFLATE data") as caught:
            await ws.get_message()
        assert caught.value.reason is not None
        assert caught.value.reason.code == 1007


async def test_cancelled_sends_leave_both_contexts_together() -> None:
    """Messages that refer to each other, of which many senders are cancelled while they wait for room."""
    numbers = random.Random(7)
    words = [numbers.randbytes(300) for _ in range(20)]
    arrived: list[bytes] = []
    handed_over: list[bytes] = []
    has_ended = trio.Event()

    async def handler(request: WebSocketRequest) -> None:
        ws = await request.accept()
        async for message in ws:
            assert isinstance(message, bytes)
            arrived.append(message)
            if message == b"the end":
                has_ended.set()
            # Slowly, so that senders have to wait.
            await trio.lowlevel.checkpoint()

    async def send(ws: WebSocketConnection, message: bytes) -> None:
        await ws.send_message(message)
        handed_over.append(message)

    options: dict[str, Any] = {"compression": True, "write_backlog": 0}
    async with serving(handler, **options) as server, open_websocket_url(url_of(server), **options) as ws:
        for _ in range(60):
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    message = b"".join(numbers.choices(words, k=20)) + numbers.randbytes(2000)
                    nursery.start_soon(send, ws, message)
                for _ in range(numbers.randrange(4)):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        await ws.send_message(b"the end")
        handed_over.append(b"the end")
        await has_ended.wait()
    # A message that was cancelled has not gone out; one that went out can be read.
    assert sorted(arrived) == sorted(handed_over)
    assert 0 < len(arrived) < 300
