"""A client's TLS over whatever transport, and what is said when there is none."""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import trio
import trio.testing
from certificates import CertificateFiles, Certificates
from fakes import Owner
from hostile import MemoryStream, reset
from support import HOST
from tls_support import TlsPeer

from trio_websocket import Endpoint, HandshakeError, TLSFailed
from trio_websocket._dial import default_context, start_tls
from trio_websocket._transports import SocketTransport, TlsTransport, Transport, open_transport

settle = trio.testing.wait_all_tasks_blocked


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Transport, trio.SocketStream]]:
    """A transport over TCP that nobody owns yet, and its peer."""
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    async with listener:
        stream = await trio.open_tcp_stream(HOST, listener.socket.getsockname()[1])
        async with await listener.accept() as peer:
            yield open_transport(stream, None), peer


def in_memory() -> tuple[Transport, MemoryStream]:
    ours, theirs = trio.testing.memory_stream_pair()
    return open_transport(ours, None), theirs


async def fail(
    transport: Transport, context: ssl.SSLContext, host: str = "localhost", *, is_lost: bool = False
) -> HandshakeError:
    """What `start_tls` raises."""
    with pytest.raises(HandshakeError) as caught:
        await start_tls(transport, host, 443, context)
    # To try again may help only where the connection was lost.
    assert type(caught.value) is (HandshakeError if is_lost else TLSFailed)
    assert str(caught.value).startswith(f"TLS handshake with {host} port 443 failed: ")
    return caught.value


async def fail_with(
    server: ssl.SSLContext, client: ssl.SSLContext, host: str = "localhost"
) -> HandshakeError:
    """What it raises with a peer that speaks TLS."""
    transport, theirs = in_memory()
    peer = TlsPeer(theirs, server, server_side=True)

    async def serve() -> None:
        # The peer is told why.
        with pytest.raises((ssl.SSLError, EOFError)):
            await peer.do_handshake()
            await peer.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        error = await fail(transport, client, host)
    assert await theirs.receive_some() == b""
    return error


# ------------------------------------------------------------------------------------------------------------ it works


@pytest.mark.parametrize(
    ("host", "sent"), [("localhost", "localhost"), ("localhost.", "localhost"), (HOST, None), ("::1", None)]
)
async def test_shakes_hands_with_the_host_that_is_expected(
    certificates: Certificates, host: str, sent: str | None
) -> None:
    context = certificates.server_context()
    names: list[str | None] = []
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    async with connected() as (transport, stream):
        assert isinstance(transport, SocketTransport)
        peer = TlsPeer(stream, context, server_side=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.do_handshake)
            tls = await start_tls(transport, host, 443, certificates.client_context())
        # RFC 6066 §3: no trailing dot, and literal addresses are not sent.
        assert names == [sent]
        assert isinstance(tls, TlsTransport)
        address, port = stream.socket.getsockname()
        assert tls.remote == Endpoint(address, port, is_ssl=True)
        owner = Owner()
        tls.set_owner(owner)
        tls.write(b"to the peer")
        assert await peer.receive() == b"to the peer"
        await peer.send(b"from the peer")
        await settle()
        assert owner.told == [("data", b"from the peer")]
        tls.abort()
        await owner.lost.wait()


# ----------------------------------------------------------------------------------------------- what goes wrong, says so


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", bytes(99)]
)
async def test_peer_that_does_not_speak_tls_is_said_to(answer: bytes) -> None:
    async with connected() as (transport, peer):
        await peer.send_all(answer)
        error = await fail(transport, ssl.create_default_context())
        assert "failed: the server does not speak TLS (" in str(error)
        assert isinstance(error.__cause__, ssl.SSLError)
        while await peer.receive_some():
            pass


async def test_newer_openssls_words_for_it_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    async def do_handshake(self: TlsTransport) -> None:
        raise ssl.SSLError(1, "[SSL] record layer failure (_ssl.c:1033)")

    monkeypatch.setattr(TlsTransport, "do_handshake", do_handshake)
    error = await fail(in_memory()[0], ssl.create_default_context())
    assert str(error).endswith(": the server does not speak TLS (record layer failure)")


async def test_peer_that_ends_says_so() -> None:
    transport, theirs = in_memory()
    await theirs.send_eof()
    error = await fail(transport, ssl.create_default_context(), is_lost=True)
    assert str(error).endswith("failed: the peer ended the connection in the TLS handshake")
    assert isinstance(error.__cause__, ssl.SSLEOFError)


async def test_reset_says_so_with_the_systems_words() -> None:
    async with connected() as (transport, peer), trio.open_nursery() as nursery:

        async def drop() -> None:
            assert await peer.receive_some(1) == b"\x16"
            reset(peer)

        nursery.start_soon(drop)
        error = await fail(transport, ssl.create_default_context(), is_lost=True)
        assert "the connection was lost in the TLS handshake: [Errno " in str(error)
        assert "reset by peer" in str(error)
        assert isinstance(error.__cause__, ssl.SSLEOFError)


async def test_unknown_authority_says_so(certificates: Certificates) -> None:
    error = await fail_with(certificates.server_context(), ssl.create_default_context())
    assert str(error).endswith(
        "the server's certificate is not signed by an authority that is trusted here"
        " (certificate verify failed: unable to get local issuer certificate)"
    )
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


async def test_expired_certificate_says_so(certificates: Certificates) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    expired = datetime(2020, 1, 1, tzinfo=timezone.utc)
    certificates.authority.issue_cert("localhost", not_after=expired).configure_cert(server)
    error = await fail_with(server, certificates.client_context())
    assert "the server's certificate has expired (certificate verify failed: " in str(error)


async def test_certificate_that_is_not_valid_yet_says_so(certificates: Certificates) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    later = datetime(2100, 1, 1, tzinfo=timezone.utc)
    leaf = certificates.authority.issue_cert(
        "localhost", not_before=later, not_after=later + timedelta(days=1)
    )
    leaf.configure_cert(server)
    error = await fail_with(server, certificates.client_context())
    assert "the server's certificate is not valid yet (certificate verify failed: " in str(error)


@pytest.mark.parametrize("host", ["elsewhere.test", "127.0.0.2"])
async def test_certificate_of_another_name_says_so(certificates: Certificates, host: str) -> None:
    error = await fail_with(certificates.server_context(), certificates.client_context(), host)
    assert "the server's certificate is for another host (certificate verify failed: " in str(error)
    assert f"certificate is not valid for '{host}'" in str(error)


async def test_peer_that_refuses_says_so(certificates: Certificates) -> None:
    server, client = certificates.server_context(), certificates.client_context()
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    transport, theirs = in_memory()
    peer = TlsPeer(theirs, server, server_side=True)

    async def serve() -> None:
        with pytest.raises(ssl.SSLError):
            await peer.do_handshake()
        await theirs.send_all(peer.outgoing.read())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        error = await fail(transport, client)
    assert "there is no TLS version that both sides speak (tlsv1 alert protocol version)" in str(error)


async def test_context_of_a_server_says_so_and_leaves_nothing_open(certificates: Certificates) -> None:
    transport, theirs = in_memory()
    error = await fail(transport, certificates.server_context())
    assert "Cannot create a client socket with a PROTOCOL_TLS_SERVER context" in str(error)
    assert await theirs.receive_some() == b""


@pytest.mark.parametrize(("host", "reason"), [("x" * 64, "label"), ("a..test", "label"), (".", "empty")])
async def test_name_that_tls_cannot_send_says_so_and_leaves_nothing_open(host: str, reason: str) -> None:
    transport, theirs = in_memory()
    error = await fail(transport, ssl.create_default_context(), host)
    assert reason in str(error)
    assert isinstance(error.__cause__, ValueError)
    assert await theirs.receive_some() == b""


# ------------------------------------------------------------------------------------------------------- cancellation


async def test_cancelled_handshake_leaves_nothing_open() -> None:
    async with connected() as (transport, peer):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(start_tls, transport, HOST, 443, ssl.create_default_context())
                assert await peer.receive_some(1) == b"\x16"
                scope.cancel()
        assert scope.cancelled_caught
        while await peer.receive_some():
            pass


async def test_handshake_in_a_cancelled_scope_leaves_nothing_open() -> None:
    async with connected() as (transport, peer):
        with trio.CancelScope() as scope:
            scope.cancel()
            await start_tls(transport, HOST, 443, ssl.create_default_context())
        assert scope.cancelled_caught
        while await peer.receive_some():
            pass


# ------------------------------------------------------------------------------------------------------ whom we trust


@pytest.fixture
def authority(tmp_path: Path, certificate_files: CertificateFiles, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that has the only authority to trust."""
    file = tmp_path / "ca.pem"
    file.write_bytes(certificate_files.ca.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return file


def test_default_context_is_shared_and_checks_as_python_does(authority: Path) -> None:
    context = default_context()
    assert context is default_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


def test_default_context_is_another_when_the_authorities_are(
    authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = default_context()
    other = authority.with_name("other.pem")
    other.write_bytes(authority.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    assert default_context() is not context
    context = default_context()
    os.utime(other, ns=(0, 0))
    assert default_context() is not context
    other.unlink()
    assert default_context().get_ca_certs() == []


def test_default_context_is_another_when_python_would_make_another(
    authority: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = default_context()
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert default_context().keylog_filename == str(tmp_path / "keys")
    made = ssl.create_default_context()
    monkeypatch.setattr(ssl, "create_default_context", lambda: made)
    assert default_context() is made
    assert context is not made


def test_authorities_that_are_gone_as_one_looks_are_none(
    authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = ssl.get_default_verify_paths()
    authority.unlink()
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    assert default_context().get_ca_certs() == []
