"""Opening a connection to a server, over real sockets: every way in, and what is sent."""

from __future__ import annotations

import base64
import math
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NoReturn

import pytest
import trio
import trio.testing
from certificates import CertificateFiles, Certificates
from support import CLOSE, HOST, RawPeer, check_echo, echo, raw_server, response_head, serving, url_of

from trio_websocket import (
    CloseReason,
    Endpoint,
    HandshakeError,
    WebSocketConnection,
    WebSocketRequest,
    connect_websocket,
    connect_websocket_url,
    open_websocket,
    open_websocket_url,
    serve_websocket,
    wrap_client_stream,
)

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

settle = trio.testing.wait_all_tasks_blocked


# ------------------------------------------------------------------------------------------------------ every way in


async def test_open_websocket_connects_for_the_length_of_a_block() -> None:
    async with serving() as server:
        async with open_websocket(HOST, server.port, "/path?q", use_ssl=False) as ws:
            await check_echo(ws)
            assert ws.path == "/path?q"
            assert ws.remote == server.listeners[0]
            assert isinstance(ws.local, Endpoint)
        assert ws.closed == CloseReason(1000, None)


async def test_open_websocket_url_connects_for_the_length_of_a_block() -> None:
    class Url:
        def __str__(self) -> str:
            return url_of(server, "/path?q#fragment")

    async with serving() as server:
        async with open_websocket_url(Url()) as ws:
            await check_echo(ws)
            assert ws.path == "/path?q"
        assert ws.closed == CloseReason(1000, None)


async def test_connect_websocket_connects_until_it_is_closed() -> None:
    async with serving() as server, trio.open_nursery() as nursery:
        one = await connect_websocket(nursery, HOST, server.port, "/", use_ssl=False)
        other = await connect_websocket_url(nursery, url_of(server))
        for ws in (one, other):
            await check_echo(ws)
            await ws.aclose()


async def test_cancelled_nursery_closes_what_was_connected_in_it() -> None:
    async with serving() as server:
        async with trio.open_nursery() as nursery:
            ws = await connect_websocket_url(nursery, url_of(server))
            nursery.cancel_scope.cancel()
        assert ws.closed is not None
        assert ws.closed.code == 1001


async def test_closed_nursery_leaves_nothing_open() -> None:
    async with trio.open_nursery() as nursery:
        pass
    async with serving() as server:
        with pytest.raises(RuntimeError, match="closed"):
            await connect_websocket_url(nursery, url_of(server))


async def test_wrap_client_stream_opens_over_any_stream_with_the_host_as_it_stands() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    peer = RawPeer(theirs, is_client=False)
    heads: list[bytes] = []

    async def answer() -> None:
        heads.append(await peer.read_head())
        await theirs.send_all(response_head(heads[0], b"Sec-WebSocket-Protocol: chat"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        ws = await wrap_client_stream(
            nursery, ours, "Any.Host:1", "/p", subprotocols=["chat"], extra_headers=[(b"X-Extra", b"yes")]
        )
        assert ws.subprotocol == "chat"
        assert ws.path == "/p"
        await theirs.aclose()
    assert b"\r\nHost: Any.Host:1\r\n" in heads[0]
    assert b"\r\nX-Extra: yes\r\n" in heads[0]


async def test_client_and_server_agree_on_a_subprotocol() -> None:
    async def handler(request: WebSocketRequest) -> None:
        assert request.proposed_subprotocols == ("a", "b")
        await (await request.accept(subprotocol="b")).get_message()

    async with serving(handler) as server, open_websocket_url(url_of(server), subprotocols=iter("ab")) as ws:
        assert ws.subprotocol == "b"


# ------------------------------------------------------------------------------------------------------ what is sent


async def head_of(
    open_: Callable[[int], AbstractAsyncContextManager[WebSocketConnection]], host: str = HOST
) -> bytes:
    """The request that a call makes."""
    heads: list[bytes] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            peer = RawPeer(stream, is_client=False)
            heads.append(await peer.read_head())
            await stream.send_all(response_head(heads[0]))
            await peer.read_frame()
            await peer.send_close()

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host=host)
        nursery.start_soon(trio.serve_listeners, serve, listeners)
        async with open_(listeners[0].socket.getsockname()[1]):
            pass
        nursery.cancel_scope.cancel()
    return heads[0]


def header(head: bytes, name: bytes) -> list[bytes]:
    """The values of a header."""
    lines = [line.partition(b": ") for line in head.split(b"\r\n")]
    return [value for key, _, value in lines if key.lower() == name.lower()]


async def test_host_header_has_the_port_if_it_is_not_the_default() -> None:
    ports: list[int] = []

    def open_(port: int) -> AbstractAsyncContextManager[WebSocketConnection]:
        ports.append(port)
        return open_websocket("localhost", port, "/", use_ssl=False)

    assert header(await head_of(open_), b"host") == [b"localhost:%d" % ports[0]]


async def test_host_header_of_an_ipv6_peer_has_brackets() -> None:
    ports: list[int] = []

    def by_url(port: int) -> AbstractAsyncContextManager[WebSocketConnection]:
        ports.append(port)
        return open_websocket_url(f"ws://[::1]:{port}")

    def by_host(port: int) -> AbstractAsyncContextManager[WebSocketConnection]:
        ports.append(port)
        return open_websocket("::1", port, "/", use_ssl=False)

    for open_ in (by_url, by_host):
        head = await head_of(open_, "::1")
        assert header(head, b"host") == [b"[::1]:%d" % ports[-1]]
        assert head.startswith(b"GET / HTTP/1.1\r\n")


async def test_path_is_percent_encoded() -> None:
    head = await head_of(lambda port: open_websocket_url(f"ws://{HOST}:{port}/grüße?q=%41ä#fragment"))
    assert head.startswith(b"GET /gr%C3%BC%C3%9Fe?q=%41%C3%A4 HTTP/1.1\r\n")
    head = await head_of(lambda port: open_websocket(HOST, port, "ü x", use_ssl=False))
    assert head.startswith(b"GET /%C3%BC%20x HTTP/1.1\r\n")


async def test_user_info_is_sent_as_basic_authentication() -> None:
    def basic(text: str) -> list[bytes]:
        return [b"Basic " + base64.b64encode(text.encode())]

    head = await head_of(lambda port: open_websocket_url(f"ws://user:p%40ss@{HOST}:{port}"))
    assert header(head, b"authorization") == basic("user:p@ss")
    assert b"@" not in head
    head = await head_of(lambda port: open_websocket(HOST, port, "/", use_ssl=False))
    assert header(head, b"authorization") == []


async def test_authorization_of_the_caller_stands_before_user_info() -> None:
    head = await head_of(
        lambda port: open_websocket_url(
            f"ws://u:p@{HOST}:{port}", extra_headers=[(b"authorization", b"mine")]
        )
    )
    assert header(head, b"authorization") == [b"mine"]


async def test_subprotocols_and_headers_are_sent() -> None:
    head = await head_of(
        lambda port: open_websocket(
            HOST,
            port,
            "/",
            use_ssl=False,
            subprotocols=["a", "b"],
            extra_headers=[(b"X-A", b"1"), (b"X-A", b"2")],
        )
    )
    assert header(head, b"sec-websocket-protocol") == [b"a, b"]
    assert header(head, b"x-a") == [b"1", b"2"]


# -------------------------------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    "url",
    [
        "http://test/",
        "test",
        "ws:///path",
        "ws://",
        "ws://test:port/",
        "ws://my host/",
        "wss:test",
        "ws://[::1/",
        None,
    ],
)
def test_bad_url_is_refused_at_the_call(url: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        open_websocket_url(url)


def test_ssl_context_makes_no_sense_without_tls() -> None:
    with pytest.raises(ValueError, match="ssl_context"):
        open_websocket_url("ws://test/", ssl.create_default_context())


@pytest.mark.parametrize(
    "arguments",
    [
        {"message_queue_size": -1},
        {"connect_timeout": math.nan},
        {"subprotocols": ["a b"]},
        {"subprotocols": ["a", "a"]},
        {"extra_headers": [(b"Host", b"x")]},
        {"extra_headers": [(b"X-A", b"1\r\nX-B: 2")]},
    ],
)
async def test_wrong_arguments_are_refused_before_anything_is_opened(arguments: dict[str, Any]) -> None:
    async with trio.open_nursery() as nursery:
        # Nobody listens on port 1: it would be a HandshakeError.
        with pytest.raises(ValueError, match=r"."):
            async with open_websocket_url(f"ws://{HOST}:1", **arguments):
                pass
        with pytest.raises(ValueError, match=r"."):
            async with open_websocket(HOST, 1, "/", use_ssl=False, **arguments):
                pass
        arguments.pop("connect_timeout", None)
        if arguments:
            ours, theirs = trio.testing.memory_stream_pair()
            with pytest.raises(ValueError, match=r"."):
                await wrap_client_stream(nursery, ours, "test", "/", **arguments)
            # The stream is still its owner's.
            await ours.send_all(b"x")
            assert await theirs.receive_some() == b"x"


@pytest.mark.parametrize("port", [-1, 0, 65536])
async def test_port_that_is_none_is_refused_before_anything_is_opened(port: int) -> None:
    with pytest.raises(ValueError, match=f"port {port} is not between 1 and 65535"):
        open_websocket(HOST, port, "/", use_ssl=False)
    async with trio.open_nursery() as nursery:
        with pytest.raises(ValueError, match=f"port {port} is not between 1 and 65535"):
            await connect_websocket(nursery, HOST, port, "/", use_ssl=False)


@pytest.mark.parametrize("use_ssl", [None, 1, "yes"])
async def test_use_ssl_that_says_neither_yes_nor_no_is_refused(use_ssl: Any) -> None:
    with pytest.raises(TypeError, match=f"use_ssl must be .*, not {type(use_ssl).__name__}"):
        open_websocket(HOST, 1, "/", use_ssl=use_ssl)
    async with trio.open_nursery() as nursery:
        with pytest.raises(TypeError, match="use_ssl"):
            await connect_websocket(nursery, HOST, 1, "/", use_ssl=use_ssl)


# --------------------------------------------------------------------------------------------------------------- TLS


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
async def test_own_context_is_used_for_tls(certificates: Certificates, host: str) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, echo, host, 0, certificates.server_context())
        endpoint = server.listeners[0]
        assert isinstance(endpoint, Endpoint)
        async with open_websocket(host, endpoint.port, "/", use_ssl=certificates.client_context()) as ws:
            await check_echo(ws)
            assert ws.remote == endpoint
            assert endpoint.is_ssl
        nursery.cancel_scope.cancel()


async def test_tls_stream_of_the_users_own_is_used_as_it_is(certificates: Certificates) -> None:
    async with serving(ssl_context=certificates.server_context()) as server, trio.open_nursery() as nursery:
        stream = await trio.open_tcp_stream(HOST, server.port)
        tls = trio.SSLStream(stream, certificates.client_context(), server_hostname=HOST)
        async with await wrap_client_stream(nursery, tls, HOST, "/") as ws:
            await check_echo(ws)
            assert ws.remote == server.listeners[0]


async def test_server_that_wants_a_certificate_of_ours_says_so(certificates: Certificates) -> None:
    # In TLS 1.3 the client's own handshake is over by then.
    context = certificates.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    certificates.authority.configure_trust(context)
    async with serving(ssl_context=context) as server:
        with pytest.raises(HandshakeError, match="certificate required"):
            async with open_websocket(HOST, server.port, "/", use_ssl=certificates.client_context()):
                pass


async def test_default_context_does_not_trust_an_unknown_authority(certificates: Certificates) -> None:
    async with serving(ssl_context=certificates.server_context()) as server:
        for connection in (
            open_websocket(HOST, server.port, "/", use_ssl=True),
            open_websocket_url(url_of(server)),
        ):
            with pytest.raises(
                HandshakeError, match=r"TLS handshake with 127.0.0.1 .* failed: .*verify"
            ) as caught:
                async with connection:
                    pass
            assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_default_context_trusts_what_the_system_trusts(
    certificates: Certificates, certificate_files: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate_files.ca))
    context = certificates.server_context()
    async with serving(ssl_context=context) as server, open_websocket_url(url_of(server)) as ws:
        await check_echo(ws)


# ------------------------------------------------------------------------------------------------------- what users do


async def test_block_may_live_in_a_generator_that_is_closed_early() -> None:
    @asynccontextmanager
    async def nested(url: str) -> AsyncIterator[WebSocketConnection]:
        async with open_websocket_url(url) as ws:
            yield ws

    async with serving() as server:
        with pytest.raises(KeyError):
            async with nested(url_of(server)) as ws:
                await check_echo(ws)
                raise KeyError
        assert ws.closed == CloseReason(1000, None)


async def test_close_frame_of_the_block_has_code_1000() -> None:
    payloads: list[bytes] = []

    async def look(peer: RawPeer) -> None:
        sent = await peer.read_frame()
        assert sent.opcode == CLOSE
        payloads.append(sent.payload)
        await peer.send_close()

    async with raw_server(look) as port, open_websocket(HOST, port, "/", use_ssl=False):
        pass
    assert payloads == [b"\x03\xe8"]


async def test_user_who_fails_in_a_task_gets_a_group_of_the_nursery_and_no_more() -> None:
    async def fail() -> NoReturn:
        raise KeyError

    async with serving() as server:
        caught: BaseException | None = None
        try:
            async with open_websocket_url(url_of(server)), trio.open_nursery() as nursery:
                nursery.start_soon(fail)
        except BaseException as error:
            caught = error
        assert isinstance(caught, ExceptionGroup)
        [inner] = caught.exceptions
        assert type(inner) is KeyError
