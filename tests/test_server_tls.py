"""TLS on a server: over whatever listeners, and what either side hears when it comes to nothing."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
import trustme
from certificates import Certificates
from support import HOST, RawPeer, check_echo, echo, request_head, serving, url_of
from tls_support import Stubborn, stubborn

from trio_websocket import (
    ConnectionRejected,
    HandshakeError,
    TLSFailed,
    WebSocketRequest,
    WebSocketServer,
    open_websocket_url,
    serve_websocket,
    wrap_server_stream,
)

pytestmark = pytest.mark.usefixtures("transport")


@asynccontextmanager
async def serving_tls(
    context: ssl.SSLContext, *, by_trio: bool, **options: float
) -> AsyncIterator[WebSocketServer]:
    """A server whose TLS is our own, or of a `trio.SSLListener`."""
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    server = (
        WebSocketServer(echo, [trio.SSLListener(listener, context)], **options)  # type: ignore[arg-type]
        if by_trio
        else WebSocketServer(echo, [listener], ssl_context=context, **options)  # type: ignore[arg-type]
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        yield server
        nursery.cancel_scope.cancel()


async def refusal(caplog: pytest.LogCaptureFixture) -> str:
    """What the server logs about the one client."""
    while not (texts := [text for text in caplog.messages if "no WebSocket handshake" in text]):
        await trio.lowlevel.checkpoint()
    [text] = texts
    return text


by_whom = pytest.mark.parametrize("by_trio", [False, True], ids=["ours", "trios"])


@by_whom
async def test_server_over_listeners_speaks_tls(certificates: Certificates, by_trio: bool) -> None:
    async with serving_tls(certificates.server_context(), by_trio=by_trio) as server:
        assert url_of(server).startswith("wss://")
        async with open_websocket_url(url_of(server), certificates.client_context()) as ws:
            await check_echo(ws)


async def test_context_of_a_client_is_told_before_anyone_connects(certificates: Certificates) -> None:
    with pytest.raises(ValueError, match="the ssl_context is a client's"):
        await serve_websocket(echo, HOST, 0, certificates.client_context())


async def test_server_that_has_no_certificate_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trio-websocket")
    async with serving(ssl_context=ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)) as server:
        with pytest.raises(
            TLSFailed, match="the server wants what we do not have: a cipher, or a certificate"
        ):
            await open_websocket_url(url_of(server)).__aenter__()
        assert "or no certificate of ours (no shared cipher)" in await refusal(caplog)


def not_trusted(certificates: Certificates, server: ssl.SSLContext) -> ssl.SSLContext:
    return ssl.create_default_context()


def no_version_in_common(certificates: Certificates, server: ssl.SSLContext) -> ssl.SSLContext:
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    client = certificates.client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    return client


def without_certificate(certificates: Certificates, server: ssl.SSLContext) -> ssl.SSLContext:
    server.verify_mode = ssl.CERT_REQUIRED
    certificates.authority.configure_trust(server)
    return certificates.client_context()


def with_certificate_of_another(certificates: Certificates, server: ssl.SSLContext) -> ssl.SSLContext:
    client = without_certificate(certificates, server)
    trustme.CA().issue_cert("someone@example.org").configure_cert(client)
    return client


Spoil = Callable[[Certificates, ssl.SSLContext], ssl.SSLContext]


@by_whom
@pytest.mark.parametrize(
    ("spoil", "client_hears", "server_logs"),
    [
        (
            not_trusted,
            "the server's certificate is not signed by an authority that is trusted here",
            "the client does not trust the authority that has signed our certificate",
        ),
        (
            no_version_in_common,
            "there is no TLS version that both sides speak",
            "there is no TLS version that both sides speak",
        ),
        (
            without_certificate,
            "the server wants a certificate of ours",
            "the client has sent no certificate",
        ),
        (
            with_certificate_of_another,
            "the server does not trust the authority that has signed our certificate",
            "the client's certificate is not signed by an authority that is trusted here",
        ),
    ],
)
async def test_each_side_is_told_why_there_is_no_tls(
    certificates: Certificates,
    caplog: pytest.LogCaptureFixture,
    by_trio: bool,
    spoil: Spoil,
    client_hears: str,
    server_logs: str,
) -> None:
    caplog.set_level(logging.INFO, "trio-websocket")
    server_context = certificates.server_context()
    client_context = spoil(certificates, server_context)
    async with serving_tls(server_context, by_trio=by_trio) as server:
        # Trio's sends no alert.
        expected, text = (HandshakeError, None) if by_trio else (TLSFailed, client_hears)
        with pytest.raises(expected, match=text) as caught:
            await open_websocket_url(url_of(server), client_context).__aenter__()
        assert by_trio or isinstance(caught.value.__cause__, ssl.SSLError)
        text = await refusal(caplog)
    assert f": TLS handshake failed: {server_logs} (" in text


async def test_client_that_forgot_the_s_is_told_and_logged(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio-websocket")
    async with serving(ssl_context=certificates.server_context()) as server:
        with pytest.raises(ConnectionRejected) as caught:
            await open_websocket_url(url_of(server).replace("wss:", "ws:")).__aenter__()
        assert str(caught.value) == (
            "the server rejected the connection with HTTP status 400 Bad Request:"
            " 'This port speaks TLS: use wss: or https:.'"
        )
        text = await refusal(caplog)
    assert text.endswith(": TLS handshake failed: the client speaks plain HTTP, not TLS (http request)")


async def test_client_that_has_an_s_too_many_is_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trio-websocket")
    async with serving() as server:
        with pytest.raises(TLSFailed, match="the server does not speak TLS"):
            await open_websocket_url(url_of(server).replace("ws:", "wss:")).__aenter__()
        text = await refusal(caplog)
    assert text.endswith(
        ": the client sent a TLS record instead of an HTTP request: this port serves ws:, not wss:"
    )


async def test_server_that_answers_with_an_alert_speaks_tls() -> None:
    async def refuse(listener: trio.SocketListener) -> None:
        async with await listener.accept() as stream:
            await RawPeer(stream, is_client=False).read_head()
            # What other TLS libraries answer plain HTTP with: unexpected_message.
            await stream.send_all(b"\x15\x03\x01\x00\x02\x02\x0a")

    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    async with listener, trio.open_nursery() as nursery:
        nursery.start_soon(refuse, listener)
        with pytest.raises(HandshakeError, match="that port may serve wss:, not ws:"):
            await open_websocket_url(f"ws://{HOST}:{listener.socket.getsockname()[1]}").__aenter__()


@by_whom
async def test_error_of_tls_is_the_cause_and_no_wrapper_of_trios(
    certificates: Certificates, caplog: pytest.LogCaptureFixture, by_trio: bool
) -> None:
    caplog.set_level(logging.INFO, "trio-websocket")
    async with serving_tls(certificates.server_context(), by_trio=by_trio) as server:
        async with await trio.open_tcp_stream(HOST, server.port) as stream:
            await stream.send_all(b"nonsense\r\n\r\n")
            await RawPeer(stream, is_client=True).read_to_end()
        await refusal(caplog)
    [error] = [
        record.args[-1]
        for record in caplog.records
        if isinstance(record.args, tuple) and record.args and isinstance(record.args[-1], HandshakeError)
    ]
    assert isinstance(error.__cause__, ssl.SSLError)


async def test_stream_with_tls_of_trios_tells_its_alert_too(certificates: Certificates) -> None:
    context = certificates.server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    certificates.authority.configure_trust(context)
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def attack() -> None:
            client = trio.SSLStream(theirs, certificates.client_context(), server_hostname="localhost")
            with pytest.raises(trio.BrokenResourceError):
                await client.send_all(request_head())
                await client.receive_some()

        nursery.start_soon(attack)
        stream = trio.SSLStream(ours, context, server_side=True)
        with pytest.raises(
            TLSFailed, match="TLS handshake failed: the client has sent no certificate"
        ) as caught:
            await wrap_server_stream(nursery, stream)
        assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_ping_that_was_left_for_what_openssl_could_not_send_is_answered(
    certificates: Certificates,
) -> None:
    context = certificates.server_context()
    stubborn(context)
    handed_over = trio.Event()

    async def handler(request: WebSocketRequest) -> None:
        ws = await request.accept()
        openssl = ws._link.transport._tls  # type: ignore[attr-defined]
        assert isinstance(openssl, Stubborn)
        openssl.failure = ssl.SSLWantReadError()
        await ws.send_message(bytes(100))
        openssl.failure = None
        handed_over.set()
        await ws.wait_closed()

    async with (
        serving(handler, context, write_backlog=10) as server,
        open_websocket_url(url_of(server), ssl_context=certificates.client_context()) as ws,
    ):
        await handed_over.wait()
        with trio.fail_after(5):
            await ws.ping()
        assert await ws.get_message() == bytes(100)
