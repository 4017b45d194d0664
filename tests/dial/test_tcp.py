"""A TCP connection with TLS over it, and what is said when there is none."""

from __future__ import annotations

import ssl
import sys

import pytest
import trio
import trio.testing
from certificates import Certificates

from trio_websocket import ConnectionFailed, HandshakeError
from trio_websocket._dial import open_tcp

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

HOST = "127.0.0.1"


def port_of(listener: trio.SocketListener) -> int:
    port = listener.socket.getsockname()[1]
    assert isinstance(port, int)
    return port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_connects_to_a_host(host: str) -> None:
    [listener, *others] = await trio.open_tcp_listeners(0, host="127.0.0.1" if host == "localhost" else host)
    assert others == []
    async with (
        listener,
        await open_tcp(host, port_of(listener), None) as stream,
        await listener.accept() as peer,
    ):
        assert isinstance(stream, trio.SocketStream)
        await stream.send_all(b"x")
        assert await peer.receive_some() == b"x"


async def unused_port() -> int:
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    port = port_of(listener)
    await listener.aclose()
    return port


async def test_refused_connection_says_so() -> None:
    port = await unused_port()
    with pytest.raises(ConnectionFailed, match=f"cannot connect to {HOST} port {port}: .*refused") as caught:
        await open_tcp(HOST, port, None)
    assert isinstance(caught.value.__cause__, OSError)
    # Who knows sockets and who knows WebSockets may both expect it.
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, HandshakeError)


async def test_all_addresses_are_named_that_did_not_work() -> None:
    port = await unused_port()
    with pytest.raises(HandshakeError, match=f"cannot connect to localhost port {port}: .*refused") as caught:
        await open_tcp("localhost", port, None)
    # The same reason is not told twice.
    assert str(caught.value).count("refused") <= 2


async def test_unknown_host_says_so() -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: object, **options: object) -> list[object]:  # type: ignore[override]
            raise trio.socket.gaierror(-2, "Name or service not known")

        async def getnameinfo(self, *args: object) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    with pytest.raises(ConnectionFailed, match=r"cannot connect to nowhere\.test port 80: .*not known"):
        await open_tcp("nowhere.test", 80, None)


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test"])
async def test_host_that_dns_cannot_ask_for_says_so(host: str) -> None:
    with pytest.raises(ConnectionFailed, match=f"cannot (look up|connect to) '?{host[:3]}"):
        await open_tcp(host, 80, None)


async def test_happy_eyeballs_tries_the_next_address() -> None:
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    port = port_of(listener)
    stream_socket = trio.socket.SOCK_STREAM

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: object, **options: object) -> list[object]:  # type: ignore[override]
            return [
                (trio.socket.AF_INET6, stream_socket, 6, "", ("::1", port, 0, 0)),
                (trio.socket.AF_INET, stream_socket, 6, "", (HOST, port)),
            ]

        async def getnameinfo(self, *args: object) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    async with listener, await open_tcp("both.test", port, None) as stream:
        assert isinstance(stream, trio.SocketStream)
        assert stream.socket.getpeername() == (HOST, port)


async def test_cancelled_race_raises_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    async def race(host: str, port: int) -> trio.SocketStream:
        raise ExceptionGroup("race", [ExceptionGroup("nested", [OSError("no route")])])

    monkeypatch.setattr(trio, "open_tcp_stream", race)
    with pytest.raises(HandshakeError, match="cannot connect to test port 1: no route"):
        await open_tcp("test", 1, None)


async def test_tls_shakes_hands_and_checks_the_name(certificates: Certificates) -> None:
    [listener] = await trio.open_ssl_over_tcp_listeners(0, certificates.server_context(), host=HOST)
    names: list[str | None] = []
    inner = listener.transport_listener
    assert isinstance(inner, trio.SocketListener)
    context = certificates.server_context()
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    async with listener, trio.open_nursery() as nursery:

        async def serve(stream: trio.SocketStream) -> None:
            async with trio.SSLStream(stream, context, server_side=True, https_compatible=True) as tls:
                await tls.send_all(b"hello")

        nursery.start_soon(trio.serve_listeners, serve, [inner])
        for host in ("localhost", HOST):
            async with await open_tcp(host, port_of(inner), certificates.client_context()) as stream:
                assert isinstance(stream, trio.SSLStream)
                assert await stream.receive_some() == b"hello"
        # RFC 6066 §3: literal addresses are not sent.
        assert names == ["localhost", None]
        nursery.cancel_scope.cancel()


async def serve_once(listener: trio.SocketListener, answer: bytes) -> None:
    async with await listener.accept() as stream:
        await stream.receive_some()
        await stream.send_all(answer)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
async def test_peer_that_does_not_speak_tls_says_so(answer: bytes) -> None:
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(serve_once, listener, answer)
        port = port_of(listener)
        with pytest.raises(
            HandshakeError, match=f"TLS handshake with {HOST} port {port} failed: ."
        ) as caught:
            await open_tcp(HOST, port, ssl.create_default_context())
        assert isinstance(caught.value.__cause__, trio.BrokenResourceError)
        assert not isinstance(caught.value, ConnectionFailed)


async def test_wrong_context_says_so_and_leaves_nothing_open(certificates: Certificates) -> None:
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    async with listener:
        with pytest.raises(HandshakeError, match=r"TLS handshake .* failed: .*PROTOCOL_TLS_SERVER"):
            await open_tcp(HOST, port_of(listener), certificates.server_context())
        async with await listener.accept() as peer:
            assert await peer.receive_some() == b""


async def test_whatever_ends_the_tls_handshake_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trio.SSLStream, "do_handshake", fail)
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    async with listener:
        with pytest.raises(KeyboardInterrupt):
            await open_tcp(HOST, port_of(listener), ssl.create_default_context())
        async with await listener.accept() as peer:
            assert await peer.receive_some() == b""


async def test_cancelled_tls_handshake_leaves_nothing_open() -> None:
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    async with listener:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(open_tcp, HOST, port_of(listener), ssl.create_default_context())
                peer = await listener.accept()
                assert await peer.receive_some(1) == b"\x16"
                scope.cancel()
        while await peer.receive_some():
            pass
        await peer.aclose()
