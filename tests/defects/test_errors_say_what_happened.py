"""What goes wrong is told by the library's own errors: each with a message, a cause, and outside of any group.

Callers used to get another package's exceptions, errors with empty messages, close code 1006 without a cause, and groups out of
nurseries that they did not know of.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from hostile import MemoryListener, reset
from support import (
    ACCEPT,
    CLOSE,
    HOST,
    MASK,
    TEXT,
    RawPeer,
    client_of_raw_peer,
    echo,
    frame,
    raw_client,
    raw_server,
    request_head,
    response_head,
    server_of_raw_peer,
    serving,
    url_of,
)

from trio_websocket import (
    CloseReason,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    WebSocketRequest,
    WebSocketServer,
    connect_websocket,
    connect_websocket_url,
    open_websocket,
    open_websocket_url,
)
from trio_websocket.protocol import RemoteProtocolError

# ----------------------------------------------------------------------------------- answers that are none

_RIGHT = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

WRONG_ANSWERS = {
    "garbage": b"\x00\x01\x02\x03 hello \xff\xfe\r\n\r\n",
    "another protocol": b"220 mail.example.org ESMTP\r\n",
    "HTTP/0.9": b"<html></html>\r\n\r\n",
    "a TLS alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "a wrong Sec-WebSocket-Accept": _RIGHT + b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n",
    "an Accept that is not ASCII": _RIGHT + b"Sec-WebSocket-Accept: \xff\xfe\r\n\r\n",
    "no Sec-WebSocket-Accept": _RIGHT + b"\r\n",
    "no Upgrade": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
    "a header without a name": b"HTTP/1.1 101 Switching Protocols\r\n: x\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 1010 What\r\n\r\n",
    "headers without an end": b"HTTP/1.1 200 OK\r\n" + b"X-Padding: yes\r\n" * 10_000,
}


@pytest.mark.parametrize("answer", WRONG_ANSWERS)
async def test_wrong_answer_to_the_opening_handshake_is_a_handshake_error(answer: str) -> None:
    async def send(peer: RawPeer) -> None:
        await peer.read_head()
        await peer.stream.send_all(WRONG_ANSWERS[answer])
        await peer.read_to_end()

    with trio.fail_after(30):
        async with raw_server(send, shake_hands=False) as port:
            with pytest.raises(HandshakeError) as caught:
                async with open_websocket(HOST, port, "/", use_ssl=False):
                    pass
    assert "server" in str(caught.value) or "response" in str(caught.value)
    assert isinstance(caught.value.__cause__, RemoteProtocolError)


@pytest.mark.parametrize("name", [b"Sec-WebSocket-Protocol", b"Sec-WebSocket-Extensions"], ids=bytes.decode)
async def test_server_that_chooses_what_was_not_offered_is_a_handshake_error(name: bytes) -> None:
    async def send(peer: RawPeer) -> None:
        await peer.stream.send_all(response_head(await peer.read_head(), name + b": surprise"))
        await peer.read_to_end()

    async with raw_server(send, shake_hands=False) as port:
        with pytest.raises(HandshakeError, match="surprise"):
            async with open_websocket(HOST, port, "/", use_ssl=False):
                pass


# -------------------------------------------------------------------------------------------- causes and messages


async def test_reset_is_1006_with_the_network_error_as_its_cause() -> None:
    async def drop(peer: RawPeer) -> None:
        await peer.read_frame()
        reset(peer.stream)

    with trio.fail_after(30):
        async with raw_server(drop) as port, open_websocket(HOST, port, "/", use_ssl=False) as ws:
            await ws.send_message("x")
            with pytest.raises(ConnectionClosed) as caught:
                await ws.get_message()
    error = caught.value
    assert error.reason == CloseReason(1006, None)
    assert isinstance(error.__cause__, trio.BrokenResourceError)
    assert isinstance(error.__cause__.__cause__, ConnectionResetError)
    assert (error.sent, error.received, error.initiator) == (None, None, None)


async def test_server_sees_a_reset_as_1006_with_the_network_error_as_its_cause() -> None:
    caught: list[ConnectionClosed] = []

    async def handler(request: WebSocketRequest) -> None:
        ws = await request.accept()
        try:
            await ws.get_message()
        except ConnectionClosed as error:
            caught.append(error)
            raise

    with trio.fail_after(30):
        async with serving(handler) as server:
            reset((await raw_client(server)).stream)
            while not caught:
                await trio.lowlevel.checkpoint()
    assert caught[0].reason == CloseReason(1006, None)
    assert isinstance(caught[0].__cause__, trio.BrokenResourceError)


@pytest.mark.parametrize("connect", [client_of_raw_peer, server_of_raw_peer])
async def test_end_without_a_close_frame_is_1006_with_a_cause_that_says_so(
    connect: Callable[[], Any],
) -> None:
    async with connect() as (ws, peer):
        await peer.stream.aclose()
        with pytest.raises(ConnectionClosed) as caught:
            await ws.get_message()
    assert caught.value.reason == CloseReason(1006, None)
    assert isinstance(caught.value.__cause__, RemoteProtocolError)
    assert str(caught.value.__cause__) == "the peer ended the connection without a close frame"


@pytest.mark.parametrize("connect", [client_of_raw_peer, server_of_raw_peer])
async def test_peers_mistake_is_the_cause_and_the_reason_that_the_peer_gets(
    connect: Callable[[], Any], mock_clock: trio.testing.MockClock
) -> None:
    async with connect() as (ws, peer):
        await peer.send_frame(3, b"what is this?")
        with pytest.raises(ConnectionClosed) as caught:
            await ws.get_message()
        close = await peer.read_frame()
    assert str(caught.value.__cause__) == "frame with unknown opcode 3"
    assert close == (True, CLOSE, b"\x03\xeaframe with unknown opcode 3")
    assert caught.value.reason == caught.value.sent == CloseReason(1002, "frame with unknown opcode 3")


async def refused_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize(
    "host", [HOST, "localhost", "no.such.host.invalid", "a" * 64 + ".test", "\udcff"], ids=ascii
)
async def test_handshake_error_always_has_a_message_and_a_cause(host: str) -> None:
    port = await refused_port()
    with trio.fail_after(30), pytest.raises((HandshakeError, ValueError)) as caught:
        async with open_websocket(host, port, "/", use_ssl=False):
            pass
    assert len(str(caught.value)) > 10
    if isinstance(caught.value, HandshakeError):
        assert str(port) in str(caught.value) or host in str(caught.value)
        assert caught.value.__cause__ is not None


async def test_rejection_tells_status_headers_and_body() -> None:
    async def handler(request: WebSocketRequest) -> None:
        await request.reject(403, extra_headers=[(b"X-Why", b"because")], body=b"you may not")

    async with serving(handler) as server:
        with pytest.raises(ConnectionRejected, match=r"403 Forbidden: 'you may not'") as caught:
            async with open_websocket_url(url_of(server)):
                pass
    assert caught.value.status_code == 403
    assert (b"x-why", b"because") in (caught.value.headers or ())
    assert caught.value.body == b"you may not"


# ----------------------------------------------------------------------------------------------- who said what

CONNECT = [client_of_raw_peer, server_of_raw_peer]


@pytest.mark.parametrize("connect", CONNECT)
async def test_close_that_is_never_answered_keeps_our_code_and_has_a_cause(
    connect: Callable[..., Any], mock_clock: trio.testing.MockClock
) -> None:
    async with connect() as (ws, _):
        await ws.aclose(4000, "enough")
        assert trio.current_time() == pytest.approx(60)
        with pytest.raises(ConnectionClosed) as caught:
            await ws.get_message()
    assert caught.value.reason == caught.value.sent == CloseReason(4000, "enough")
    assert (caught.value.received, caught.value.initiator) == (None, "local")
    assert isinstance(caught.value.__cause__, trio.TooSlowError)


@pytest.mark.parametrize("connect", CONNECT)
async def test_rule_that_is_broken_while_we_close_is_told(
    connect: Callable[..., Any], mock_clock: trio.testing.MockClock
) -> None:
    async with connect() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose, 4000)
        await peer.read_frame()
        await peer.send_frame(3)
        assert (await ws.wait_closed()).code == 1002
        with pytest.raises(ConnectionClosed, match="opcode") as caught:
            await ws.get_message()
    assert caught.value.sent == CloseReason(4000, None)
    assert isinstance(caught.value.__cause__, RemoteProtocolError)


# ---------------------------------------------------------------------------------------------------------- groups


async def test_nobody_listening_raises_a_plain_error_of_both_kinds() -> None:
    port = await refused_port()
    with pytest.raises(ConnectionFailed, match=r"cannot connect to 127\.0\.0\.1 port") as caught:
        async with open_websocket_url(f"ws://{HOST}:{port}/"):
            pass
    assert isinstance(caught.value, HandshakeError)
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value.__cause__, OSError)


async def test_nobody_listening_is_an_os_error_of_connect_websocket_and_spares_the_nursery() -> None:
    port = await refused_port()
    async with trio.open_nursery() as nursery:
        with pytest.raises(OSError, match=r"cannot connect to 127\.0\.0\.1 port"):
            await connect_websocket(nursery, HOST, port, "/", use_ssl=False)
        assert not nursery.cancel_scope.cancel_called


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    problem = KeyError("mine")
    async with serving() as server:
        with pytest.raises(KeyError) as caught:
            async with open_websocket_url(url_of(server)):
                raise problem
    assert caught.value is problem
    assert caught.value.__cause__ is None


async def test_what_the_block_raises_comes_out_as_it_is_when_the_connection_broke_too() -> None:
    problem = KeyError("mine")

    async def drop(peer: RawPeer) -> None:
        reset(peer.stream)

    async def use(port: int) -> None:
        async with open_websocket(HOST, port, "/", use_ssl=False) as ws:
            await ws.wait_closed()
            raise problem

    async with raw_server(drop) as port:
        with pytest.raises(KeyError) as caught:
            await use(port)
    assert caught.value is problem


async def reject(request: WebSocketRequest) -> None:
    await request.reject(404)


async def test_rejection_reaches_the_caller_and_spares_the_nursery() -> None:
    async with serving(reject) as server, trio.open_nursery() as nursery:
        for _ in range(2):
            with pytest.raises(ConnectionRejected):
                await connect_websocket_url(nursery, url_of(server))
        with pytest.raises(ConnectionRejected):
            await connect_websocket(nursery, HOST, server.port, "/", use_ssl=False)
        assert not nursery.cancel_scope.cancel_called
        assert not nursery.child_tasks


async def test_lost_connection_spares_the_nursery_that_it_was_opened_in() -> None:
    async def drop(peer: RawPeer) -> None:
        reset(peer.stream)

    with trio.fail_after(30):
        async with raw_server(drop) as port, trio.open_nursery() as nursery:
            ws = await connect_websocket(nursery, HOST, port, "/", use_ssl=False)
            assert (await ws.wait_closed()).code == 1006
            await trio.testing.wait_all_tasks_blocked()
            assert not nursery.cancel_scope.cancel_called
            assert not nursery.child_tasks


# ------------------------------------------------------------------------------------------------- answering twice


@pytest.mark.parametrize("first", ["accept", "reject"])
@pytest.mark.parametrize("second", ["accept", "reject"])
async def test_request_that_was_answered_says_so(first: str, second: str) -> None:
    messages: list[str] = []

    async def handler(request: WebSocketRequest) -> None:
        answers: dict[str, Callable[[], Awaitable[object]]]
        answers = {"accept": request.accept, "reject": lambda: request.reject(404)}
        await answers[first]()
        with pytest.raises(RuntimeError) as caught:
            await answers[second]()
        messages.append(str(caught.value))

    async with serving(handler) as server, await trio.open_tcp_stream(HOST, server.port) as stream:
        await stream.send_all(request_head() + frame(CLOSE, mask=MASK))
        answer = await RawPeer(stream, is_client=True).read_to_end()
    assert messages == [f"the request was {first}ed already"]
    assert answer.count(b"HTTP/1.1 ") == 1


# -------------------------------------------------------------------------------------------- a server that is stopped


async def test_clients_of_a_cancelled_server_are_told_1001() -> None:
    opened: list[WebSocketConnection] = []

    async def wait(request: WebSocketRequest) -> None:
        opened.append(await request.accept())
        await trio.sleep_forever()

    with trio.fail_after(30):
        async with trio.open_nursery() as clients:
            reasons: list[CloseReason | None] = []

            async def use(ws: WebSocketConnection) -> None:
                with pytest.raises(ConnectionClosed) as caught:
                    await ws.get_message()
                reasons.append(caught.value.received)

            async with serving(wait) as one, serving(echo) as other:
                for server in (one, other):
                    ws = await connect_websocket_url(clients, url_of(server))
                    clients.start_soon(use, ws)
                peer = await raw_client(one)
                await peer.send_frame(TEXT, b"x")
                while len(opened) < 2:
                    await trio.lowlevel.checkpoint()
                clients.start_soon(answer_close, peer)
            # Both servers are cancelled here.
        assert [reason and reason.code for reason in reasons] == [1001, 1001]


async def answer_close(peer: RawPeer) -> None:
    close = await peer.read_frame()
    assert (close.opcode, close.payload[:2]) == (CLOSE, b"\x03\xe9")
    await peer.send_close(1001)
    assert await peer.read_to_end() == b""
    await peer.stream.aclose()


async def test_cancelled_server_waits_no_longer_than_its_grace_for_clients_that_are_silent(
    mock_clock: trio.testing.MockClock,
) -> None:
    listener = MemoryListener()
    peers = [RawPeer(listener.connect(), is_client=True) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        await nursery.start(WebSocketServer(echo, [listener]).run)
        for peer in peers:
            await peer.stream.send_all(request_head())
            await peer.read_head()
        nursery.cancel_scope.cancel()
    assert trio.current_time() <= 2
    for peer in peers:
        assert (await peer.read_frame()).payload[:2] == b"\x03\xe9"
        assert await peer.read_to_end() == b""
