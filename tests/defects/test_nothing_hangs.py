"""Every wait ends: with what it waited for, with the peer's end, or with the timeout that was asked for.

The opening handshake used to sit out a minute, or for ever, after the peer had gone; closing used to wait for a peer that
never would; pings and closes stopped silently behind messages that nobody fetched.

Tests without a mock clock have a timeout only as a safety net: what they prove is that nothing waits for it.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from certificates import Certificates
from hostile import MemoryListener, count_open_files, dial_in_memory, drain, reset
from support import (
    CLOSE,
    HOST,
    PING,
    PONG,
    TEXT,
    RawPeer,
    client_of_raw_peer,
    connected_pair,
    echo,
    raw_server,
    request_head,
    response_head,
    serving,
)

from trio_websocket import (
    ConnectionClosed,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
    WebSocketRequest,
    WebSocketServer,
    connect_websocket,
    open_websocket,
    wrap_client_stream,
    wrap_server_stream,
)

# A test that hangs is to fail before the test run does.
SAFETY_NET = 30

# ------------------------------------------------------------------ a peer that goes during the opening handshake


async def end(peer: RawPeer) -> None:
    await peer.stream.aclose()


async def drop(peer: RawPeer) -> None:
    reset(peer.stream)


async def end_in_the_answer(peer: RawPeer) -> None:
    await peer.stream.send_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: webs")
    await peer.stream.aclose()


async def drop_after_the_request(peer: RawPeer) -> None:
    await peer.read_head()
    reset(peer.stream)


LEAVE = [end, drop, end_in_the_answer, drop_after_the_request]


@pytest.mark.parametrize("leave", LEAVE)
async def test_client_notices_at_once_that_the_server_has_gone(leave: Callable[[RawPeer], Any]) -> None:
    with trio.fail_after(SAFETY_NET):
        async with raw_server(leave, shake_hands=False) as port:
            with pytest.raises(HandshakeError, match=r"connection|reset") as caught:
                async with open_websocket(HOST, port, "/", use_ssl=False, connect_timeout=math.inf):
                    pass
    assert not isinstance(caught.value, ConnectionTimeout)


@asynccontextmanager
async def tcp_pair() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """Two ends of a TCP connection."""
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    async with listener:
        near = await trio.open_tcp_stream(*listener.socket.getsockname())
        async with near, await listener.accept() as far:
            yield near, far


@pytest.mark.parametrize("leave", LEAVE)
async def test_wrapped_client_stream_notices_at_once_that_the_server_has_gone(
    leave: Callable[[RawPeer], Any],
) -> None:
    with trio.fail_after(SAFETY_NET):
        async with tcp_pair() as (ours, theirs), trio.open_nursery() as nursery:
            nursery.start_soon(leave, RawPeer(theirs, is_client=False))
            with pytest.raises(HandshakeError):
                await wrap_client_stream(nursery, ours, "test", "/")


@pytest.mark.parametrize(
    "sent", [b"", b"GET", request_head()[:-2]], ids=["nothing", "a little", "nearly all"]
)
@pytest.mark.parametrize("leave", [end, drop])
async def test_wrapped_server_stream_notices_at_once_that_the_client_has_gone(
    leave: Callable[[RawPeer], Any], sent: bytes
) -> None:
    with trio.fail_after(SAFETY_NET):
        async with tcp_pair() as (ours, theirs), trio.open_nursery() as nursery:
            await theirs.send_all(sent)
            await leave(RawPeer(theirs, is_client=True))
            with pytest.raises(HandshakeError):
                await wrap_server_stream(nursery, ours)


@pytest.mark.parametrize("leave", [end, drop])
@pytest.mark.parametrize("sent", [b"", b"GET / HT"], ids=["connects", "begins"])
async def test_server_keeps_no_task_for_a_client_that_just_connects_and_goes(
    leave: Callable[[RawPeer], Any], sent: bytes
) -> None:
    with trio.fail_after(SAFETY_NET):
        async with (
            trio.open_nursery() as handlers,
            serving(echo, handler_nursery=handlers, connect_timeout=math.inf) as server,
        ):
            for _ in range(10):
                stream = await trio.open_tcp_stream(HOST, server.port)
                await stream.send_all(sent)
                await leave(RawPeer(stream, is_client=True))
            await trio.testing.wait_all_tasks_blocked()
            while handlers.child_tasks:
                await trio.lowlevel.checkpoint()


# ------------------------------------------------------------------------------------------------- TLS that fails


async def talk_nonsense(peer: RawPeer) -> None:
    await peer.stream.send_all(b"HTTP/1.1 400 this is no TLS\r\n\r\n")
    await peer.read_to_end()


async def drop_in_tls(peer: RawPeer) -> None:
    await peer.read(5)
    reset(peer.stream)


async def end_in_tls(peer: RawPeer) -> None:
    await peer.read(5)


@pytest.mark.parametrize("behave", [talk_nonsense, drop_in_tls, end_in_tls, end, drop])
async def test_client_reports_at_once_that_tls_failed(
    behave: Callable[[RawPeer], Any], certificates: Certificates
) -> None:
    with trio.fail_after(SAFETY_NET):
        async with raw_server(behave, shake_hands=False) as port:
            with pytest.raises(HandshakeError, match=r"TLS handshake with 127\.0\.0\.1 port") as caught:
                async with open_websocket(
                    HOST, port, "/", use_ssl=certificates.client_context(), connect_timeout=math.inf
                ):
                    pass
    assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_client_reports_at_once_that_it_does_not_trust_the_certificate(
    certificates: Certificates,
) -> None:
    with trio.fail_after(SAFETY_NET):
        async with serving(ssl_context=certificates.server_context()) as server:
            with pytest.raises(HandshakeError, match="certificate verify failed") as caught:
                async with open_websocket(
                    HOST, server.port, "/", use_ssl=ssl.create_default_context(), connect_timeout=math.inf
                ):
                    pass
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_tls_server_keeps_no_task_for_a_client_that_fails_in_tls(certificates: Certificates) -> None:
    with trio.fail_after(SAFETY_NET):
        async with (
            trio.open_nursery() as handlers,
            serving(
                echo, certificates.server_context(), handler_nursery=handlers, connect_timeout=math.inf
            ) as server,
        ):
            for sent in (b"", b"\x16\x03\x01", request_head(), bytes(1000)):
                for leave in (end, drop):
                    stream = await trio.open_tcp_stream(HOST, server.port)
                    await stream.send_all(sent)
                    await leave(RawPeer(stream, is_client=True))
            await trio.testing.wait_all_tasks_blocked()
            while handlers.child_tasks:
                await trio.lowlevel.checkpoint()


# -------------------------------------------------------------------------------- a peer that is silent, or dribbles


async def be_silent(peer: RawPeer) -> None:
    await trio.sleep_forever()


async def dribble(peer: RawPeer) -> None:
    request = await peer.read_head()
    for byte in response_head(request):
        await peer.stream.send_all(bytes([byte]))
        await trio.sleep(1)


@pytest.mark.parametrize("behave", [be_silent, dribble])
async def test_connect_timeout_holds_for_a_server_that_accepts_and(
    behave: Callable[[RawPeer], Any], mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(behave, RawPeer(dial_in_memory(monkeypatch), is_client=False))
        with pytest.raises(ConnectionTimeout, match="connect_timeout=20"):
            async with open_websocket("test", 1, "/", use_ssl=False, connect_timeout=20):
                pass
        assert trio.current_time() == pytest.approx(20)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("sent", [b"", request_head()], ids=["says nothing", "dribbles"])
async def test_servers_connect_timeout_holds_for_a_client_that(
    sent: bytes, mock_clock: trio.testing.MockClock
) -> None:
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        await nursery.start(WebSocketServer(echo, [listener], connect_timeout=20).run)
        peer = RawPeer(listener.connect(), is_client=True)

        async def send() -> None:
            for byte in sent:
                await peer.stream.send_all(bytes([byte]))
                await trio.sleep(1)

        nursery.start_soon(send)
        assert await peer.read_to_end() == b""
        assert trio.current_time() == pytest.approx(20)
        nursery.cancel_scope.cancel()


# --------------------------------------------------------------------------------------------------------- closing


async def test_block_ends_though_the_peer_closes_and_keeps_the_transport_open(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = RawPeer(dial_in_memory(monkeypatch), is_client=False)

    async def close_but_stay() -> None:
        await peer.stream.send_all(response_head(await peer.read_head()))
        await peer.send_close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(close_but_stay)
        async with open_websocket("test", 1, "/", use_ssl=False, disconnect_timeout=math.inf) as ws:
            with pytest.raises(ConnectionClosed):
                await ws.get_message()
    assert trio.current_time() < 5


async def test_block_ends_within_disconnect_timeout_though_the_peer_never_closes(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = RawPeer(dial_in_memory(monkeypatch), is_client=False)

    async def chatter() -> None:
        await peer.stream.send_all(response_head(await peer.read_head()))
        while True:
            await peer.send_frame(TEXT, b"and another thing")
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(chatter)
        with pytest.raises(DisconnectionTimeout, match="disconnect_timeout=7"):
            async with open_websocket("test", 1, "/", use_ssl=False, disconnect_timeout=7):
                pass
        assert trio.current_time() == pytest.approx(7)
        nursery.cancel_scope.cancel()


async def test_block_that_raises_ends_within_two_seconds_though_the_peer_never_closes(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = RawPeer(dial_in_memory(monkeypatch), is_client=False)

    async def stay() -> None:
        await peer.stream.send_all(response_head(await peer.read_head()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stay)
        with pytest.raises(KeyError, match="mine"):
            async with open_websocket("test", 1, "/", use_ssl=False, disconnect_timeout=math.inf):
                raise KeyError("mine")
    assert trio.current_time() == pytest.approx(2)


async def test_socket_is_closed_after_the_peers_close_without_a_call_of_ours() -> None:
    async def close(peer: RawPeer) -> None:
        await peer.send_close()
        assert await peer.read_frame() == (True, CLOSE, b"\x03\xe8")

    with trio.fail_after(SAFETY_NET):
        async with raw_server(close) as port, trio.open_nursery() as nursery:
            before = count_open_files()
            ws = await connect_websocket(nursery, HOST, port, "/", use_ssl=False)
            await ws.wait_closed()
            await trio.testing.wait_all_tasks_blocked()
            assert count_open_files() == before


# --------------------------------------------------------------------------------- messages that nobody fetches


async def test_full_message_queue_stops_no_close_of_ours() -> None:
    with trio.fail_after(SAFETY_NET):
        async with connected_pair() as (client, server):
            for number in range(10):
                await server.send_message(str(number))
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(client.aclose)
                # The other end's own queue is empty.
                with pytest.raises(ConnectionClosed):
                    await server.get_message()
            assert client.closed is not None and client.closed.code == 1000


async def test_ping_and_close_behind_one_message_that_nobody_takes_are_answered() -> None:
    with trio.fail_after(SAFETY_NET):
        async with client_of_raw_peer() as (ws, peer):
            await peer.send_frame(TEXT, b"unread")
            await peer.send_frame(PING, b"!")
            assert await peer.read_frame() == (True, PONG, b"!")
            await peer.send_close(1001)
            assert await peer.read_frame() == (True, CLOSE, b"\x03\xe9")
            assert [message async for message in ws] == ["unread"]


async def test_ping_and_close_behind_a_full_message_queue_come_as_it_empties(
    mock_clock: trio.testing.MockClock,
) -> None:
    with trio.fail_after(SAFETY_NET):
        async with client_of_raw_peer(message_queue_size=1) as (ws, peer):
            for number in range(3):
                await peer.send_frame(TEXT, b"%d" % number)
            await peer.send_frame(PING, b"!")
            await peer.send_close(1001)
            received = [message async for message in ws]
            assert received == ["0", "1", "2"]
            assert await peer.read_frame() == (True, PONG, b"!")
            assert await peer.read_frame() == (True, CLOSE, b"\x03\xe9")


async def test_dead_peer_is_noticed_behind_a_full_message_queue() -> None:
    with trio.fail_after(SAFETY_NET):
        async with client_of_raw_peer(message_queue_size=1) as (ws, peer):
            for number in range(5):
                await peer.send_frame(TEXT, b"%d" % number)
            await peer.stream.aclose()
            received: list[str | bytes] = []
            with pytest.raises(ConnectionClosed):
                await drain(ws, received)
            assert received == ["0", "1", "2", "3", "4"]


# ---------------------------------------------------------------------------------------- handlers without an answer


async def test_handler_that_returns_without_an_answer_gives_500_and_closes() -> None:
    async def forget(request: WebSocketRequest) -> None:
        await trio.lowlevel.checkpoint()

    with trio.fail_after(SAFETY_NET):
        async with serving(forget) as server:
            peer = RawPeer(await trio.open_tcp_stream(HOST, server.port), is_client=True)
            async with peer.stream:
                await peer.stream.send_all(request_head())
                assert (await peer.read_to_end()).startswith(b"HTTP/1.1 500 ")
