"""Serving connections to clients, over real sockets and listeners of any kind."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import trio
import trio.testing
from certificates import Certificates
from fakes import PlainStream
from support import HOST, RawPeer, check_echo, echo, raw_client, request_head, serving, url_of

from trio_websocket import (
    CloseReason,
    ConnectionClosed,
    Endpoint,
    HandshakeError,
    WebSocketRequest,
    WebSocketServer,
    open_websocket_url,
    serve_websocket,
    wrap_client_stream,
    wrap_server_stream,
)
from trio_websocket._transports import TlsTransport
from trio_websocket.protocol._http1 import ServerHandshake

settle = trio.testing.wait_all_tasks_blocked


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener for streams in memory, or whatever else `connect` is given."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](10)
        self.is_closed = False

    async def connect(
        self, wrap: Callable[[trio.abc.HalfCloseableStream], trio.abc.Stream] = lambda stream: stream
    ) -> trio.abc.HalfCloseableStream:
        ours, theirs = trio.testing.memory_stream_pair()
        await self._send.send(wrap(theirs))
        return ours

    async def accept(self) -> trio.abc.Stream:
        return await self._receive.receive()

    async def aclose(self) -> None:
        self.is_closed = True
        self._receive.close()
        await trio.lowlevel.checkpoint()


# ---------------------------------------------------------------------------------------------------------- where


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("localhost", None)]
)
async def test_server_serves_on_a_host(host: str, address: str | None) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, echo, host, 0, None)
        assert isinstance(server, WebSocketServer)
        for endpoint in server.listeners:
            assert isinstance(endpoint, Endpoint)
            assert address is None or endpoint.address == ipaddress.ip_address(address)
            assert not endpoint.is_ssl
            async with open_websocket_url(endpoint.url) as ws:
                await check_echo(ws)
                assert ws.remote == endpoint
        if len(server.listeners) == 1:
            assert isinstance(server.listeners[0], Endpoint)
            assert server.port == server.listeners[0].port
        nursery.cancel_scope.cancel()


async def test_server_serves_tls(certificates: Certificates) -> None:
    async with serving(ssl_context=certificates.server_context()) as server:
        endpoint = server.listeners[0]
        assert isinstance(endpoint, Endpoint)
        assert endpoint.is_ssl
        assert url_of(server).startswith("wss://127.0.0.1:")
        async with open_websocket_url(url_of(server), certificates.client_context()) as ws:
            await check_echo(ws)
            assert isinstance(ws.local, Endpoint)
            assert ws.local.is_ssl


async def test_server_serves_on_listeners_of_any_kind(tmp_path: Path) -> None:
    memory = MemoryListener()
    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(str(tmp_path / "socket"))
        sock.listen()
        unix = trio.SocketListener(sock)
        server = WebSocketServer(echo, [memory, unix])
        assert server.listeners == [repr(memory), f"unix:{tmp_path}/socket"]
        async with trio.open_nursery() as nursery:
            assert await nursery.start(server.run) is server
            async with trio.open_nursery() as clients:
                for stream in (await memory.connect(), await trio.open_unix_socket(str(tmp_path / "socket"))):
                    async with await wrap_client_stream(clients, stream, "test", "/") as ws:
                        await check_echo(ws)
                        assert isinstance(ws.remote, str)
            nursery.cancel_scope.cancel()
    assert memory.is_closed


def test_server_needs_a_listener() -> None:
    with pytest.raises(ValueError, match="listener"):
        WebSocketServer(echo, [])


def test_server_checks_its_limits() -> None:
    with pytest.raises(ValueError, match="max_message_size"):
        WebSocketServer(echo, [MemoryListener()], max_message_size=-1)


async def test_serving_with_wrong_limits_leaves_no_listener_open() -> None:
    with pytest.raises(ValueError, match="write_backlog"):
        await serve_websocket(echo, HOST, 0, None, write_backlog=-1)


async def test_port_that_is_taken_is_an_os_error() -> None:
    async with serving() as server:
        with pytest.raises(OSError, match="in use"):
            await serve_websocket(echo, HOST, server.port, None)


async def test_port_is_told_only_if_there_is_one() -> None:
    with pytest.raises(RuntimeError, match="several"):
        _ = WebSocketServer(echo, [MemoryListener(), MemoryListener()]).port
    listener = MemoryListener()
    server = WebSocketServer(echo, [listener])
    with pytest.raises(RuntimeError, match=r"no port: .*MemoryListener"):
        _ = server.port


# --------------------------------------------------------------------------------------------------------- handlers


async def test_each_connection_has_a_handler_of_its_own() -> None:
    async with (
        serving() as server,
        open_websocket_url(url_of(server)) as one,
        open_websocket_url(url_of(server)) as other,
    ):
        await one.send_message("1")
        await other.send_message("2")
        assert (await one.get_message(), await other.get_message()) == ("1", "2")


async def test_handlers_exception_ends_one_connection_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: WebSocketRequest) -> None:
        ws = await request.accept()
        if request.path == "/bad":
            raise KeyError("what went wrong")
        async for message in ws:
            await ws.send_message(message)

    async with serving(handler) as server, open_websocket_url(url_of(server)) as good:
        await check_echo(good)
        async with open_websocket_url(url_of(server, "/bad")) as bad:
            with pytest.raises(ConnectionClosed) as caught:
                await bad.get_message()
            assert caught.value.reason is not None
            assert caught.value.reason.code == 1011
        await check_echo(good)
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name == "trio-websocket"
    assert "what went wrong" in caplog.text


async def test_handlers_run_in_the_nursery_that_is_given() -> None:
    async with trio.open_nursery() as handlers, trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: serve_websocket(
                echo, HOST, 0, None, handler_nursery=handlers, task_status=task_status
            )
        )
        async with open_websocket_url(url_of(server)) as ws:
            await check_echo(ws)
            assert len(handlers.child_tasks) == 1
            # The server ends; its handlers don't.
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await settle()
                await check_echo(ws)
                await ws.aclose()


async def test_cancelled_server_tells_its_clients_1001() -> None:
    async with trio.open_nursery() as clients:
        reasons: list[CloseReason] = []
        ready = trio.Event()

        async def client(url: str) -> None:
            async with open_websocket_url(url) as ws:
                await check_echo(ws)
                ready.set()
                reasons.append(await ws.wait_closed())

        async with serving() as server:
            clients.start_soon(client, url_of(server))
            await ready.wait()
    assert [reason.code for reason in reasons] == [1001]


async def test_limits_and_timeouts_hold_for_each_connection() -> None:
    async with serving(max_message_size=10) as server, open_websocket_url(url_of(server)) as ws:
        await ws.send_message(bytes(10))
        await ws.get_message()
        await ws.send_message(bytes(11))
        assert (await ws.wait_closed()).code == 1009


# ------------------------------------------------------------------------------------------------- what is no request


async def serve_memory(nursery: trio.Nursery, **options: float) -> MemoryListener:
    listener = MemoryListener()
    await nursery.start(WebSocketServer(echo, [listener], **options).run)  # type: ignore[arg-type]
    return listener


async def test_client_that_says_nothing_is_left_after_the_timeout(
    mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio-websocket")
    async with trio.open_nursery() as nursery:
        listener = await serve_memory(nursery, connect_timeout=7)
        stream = await listener.connect()
        assert await stream.receive_some() == b""
        assert trio.current_time() == 7
        await settle()
        nursery.cancel_scope.cancel()
    assert "no WebSocket handshake with" in caplog.text
    assert not any(record.levelno > logging.INFO for record in caplog.records)


@pytest.mark.parametrize(
    "data",
    [b"", b"GET", b"\x00\xff\x1b[31m\r\n\r\n", b"GET /\x80 HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"],
)
async def test_what_is_no_request_is_logged_at_info_and_escaped(
    data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "trio-websocket")
    async with trio.open_nursery() as nursery:
        listener = await serve_memory(nursery)
        stream = await listener.connect()
        if data:
            await stream.send_all(data)
        await stream.send_eof()
        await RawPeer(stream, is_client=True).read_to_end()
        await settle()
        # The server lives.
        async with await wrap_client_stream(nursery, await listener.connect(), "test", "/") as ws:
            await check_echo(ws)
        nursery.cancel_scope.cancel()
    [record] = [record for record in caplog.records if "no WebSocket handshake" in record.getMessage()]
    assert record.levelno == logging.INFO
    assert record.getMessage().isprintable()
    assert record.getMessage().isascii()


async def test_bug_in_reading_a_request_ends_one_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(self: ServerHandshake) -> NoReturn:
        raise ZeroDivisionError

    async with serving() as server:
        with monkeypatch.context() as patch:
            patch.setattr(ServerHandshake, "next_request", fail)
            stream = await trio.open_tcp_stream(HOST, server.port)
            await stream.send_all(request_head())
            with contextlib.suppress(trio.BrokenResourceError):
                assert await stream.receive_some() == b""
            await stream.aclose()
        async with open_websocket_url(url_of(server)) as ws:
            await check_echo(ws)
    [record] = [record for record in caplog.records if record.exc_info is not None]
    assert "no WebSocket handshake with" in record.getMessage()


async def test_failed_tls_handshake_is_logged_at_info(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio-websocket")
    async with serving(ssl_context=certificates.server_context()) as server:
        stream = await trio.open_tcp_stream(HOST, server.port)
        await stream.send_all(request_head())
        await RawPeer(stream, is_client=True).read_to_end()
        async with open_websocket_url(url_of(server), certificates.client_context()) as ws:
            await check_echo(ws)
        await stream.aclose()
    [record] = [record for record in caplog.records if "no WebSocket handshake" in record.getMessage()]
    assert record.levelno == logging.INFO
    assert "TLS handshake failed" in record.getMessage()


async def test_tls_client_that_says_nothing_is_left_after_the_timeout(
    mock_clock: trio.testing.MockClock, certificates: Certificates
) -> None:
    def wrap(stream: trio.abc.HalfCloseableStream) -> trio.abc.Stream:
        return trio.SSLStream(stream, certificates.server_context(), server_side=True)

    async with trio.open_nursery() as nursery:
        listener = await serve_memory(nursery, connect_timeout=7)
        stream = await listener.connect(wrap)
        assert await stream.receive_some() == b""
        assert trio.current_time() == 7
        nursery.cancel_scope.cancel()


async def test_stream_that_raises_what_no_stream_should_in_its_tls_handshake_is_left_alone(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(PlainStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            raise ZeroDivisionError

    def wrap(stream: trio.abc.HalfCloseableStream) -> trio.abc.Stream:
        return trio.SSLStream(Broken(stream), certificates.server_context(), server_side=True)

    async with trio.open_nursery() as nursery:
        listener = await serve_memory(nursery)
        assert await (await listener.connect(wrap)).receive_some() == b""
        async with await wrap_client_stream(nursery, await listener.connect(), "test", "/") as ws:
            await check_echo(ws)
        nursery.cancel_scope.cancel()
    [record] = [record for record in caplog.records if record.exc_info is not None]
    assert "no WebSocket handshake with" in record.getMessage()


async def test_stream_that_raises_what_no_stream_should_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(PlainStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            raise ZeroDivisionError

    async with trio.open_nursery() as nursery:
        listener = await serve_memory(nursery)
        assert await (await listener.connect(Broken)).receive_some() == b""
        async with await wrap_client_stream(nursery, await listener.connect(), "test", "/") as ws:
            await check_echo(ws)
        nursery.cancel_scope.cancel()


# ------------------------------------------------------------------------------------------------- wrap_server_stream


async def test_wrapping_a_stream_waits_for_its_request_and_takes_its_options_by_position() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        await theirs.send_all(request_head())
        ws = await (await wrap_server_stream(nursery, ours, 2, 10, None)).accept()
        peer = RawPeer(theirs, is_client=True)
        await peer.read_head()
        # The queue holds two and one beside it; the fourth is one byte too long.
        for size in (10, 10, 10, 11):
            await peer.send_frame(2, bytes(size))
        await settle()
        assert ws.closed is None
        await ws.get_message()
        await settle()
        await theirs.aclose()
        assert (await ws.wait_closed()).code == 1009


async def test_wrapping_a_stream_without_a_right_request_closes_it() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        await theirs.send_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        await theirs.send_eof()
        with pytest.raises(HandshakeError, match="Upgrade: websocket"):
            await wrap_server_stream(nursery, ours)
    assert (await RawPeer(theirs, is_client=True).read_to_end()).startswith(b"HTTP/1.1 426 ")


async def test_wrong_limit_leaves_the_stream_to_its_owner() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        with pytest.raises(ValueError, match="message_queue_bytes"):
            await wrap_server_stream(nursery, ours, message_queue_bytes=-1)
    await ours.send_all(b"x")
    assert await theirs.receive_some() == b"x"


async def test_raw_client_is_served() -> None:
    async with serving() as server:
        peer = await raw_client(server)
        await peer.send_frame(1, b"hello")
        assert (await peer.read_frame()).payload == b"hello"
        await peer.send_close()
        assert (await peer.read_frame()).payload == b"\x03\xe8"
        # RFC 6455 §7.1.1: the server ends the TCP connection first.
        assert await peer.read_to_end() == b""
        await peer.stream.aclose()


async def test_server_that_is_cancelled_in_a_tls_handshake_leaves_nothing_open(
    certificates: Certificates,
) -> None:
    listener = MemoryListener()
    server = WebSocketServer(echo, [trio.SSLListener(listener, certificates.server_context())])
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        client = await listener.connect()
        await settle()
        nursery.cancel_scope.cancel()
    assert await client.receive_some() == b""


async def test_bug_in_the_handshake_ends_one_connection_and_is_logged(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(self: object) -> None:
        raise RuntimeError("ours")

    async with serving(ssl_context=certificates.server_context()) as server:
        with monkeypatch.context() as patch:
            patch.setattr(TlsTransport, "do_handshake", fail)
            async with await trio.open_tcp_stream(HOST, server.port) as stream:
                assert await stream.receive_some() == b""
        async with open_websocket_url(url_of(server), certificates.client_context()) as ws:
            await check_echo(ws)
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.message.startswith("no WebSocket handshake with wss://") or "no WebSocket" in record.message


async def test_connection_that_no_nursery_takes_is_closed() -> None:
    async with trio.open_nursery() as closed:
        pass
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    server = WebSocketServer(echo, [listener], handler_nursery=closed)
    with pytest.RaisesGroup(RuntimeError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            async with await trio.open_tcp_stream(HOST, server.port) as stream:
                assert await stream.receive_some() == b""


async def test_failed_tls_handshake_of_your_own_listener_is_logged_at_info(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio-websocket")
    listener = MemoryListener()
    server = WebSocketServer(echo, [trio.SSLListener(listener, certificates.server_context())])
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        client = RawPeer(await listener.connect(), is_client=True)
        await client.stream.send_all(request_head())
        await client.read_to_end()
        await settle()
        nursery.cancel_scope.cancel()
    [record] = [record for record in caplog.records if "TLS handshake failed" in record.getMessage()]
    assert record.levelno == logging.INFO
