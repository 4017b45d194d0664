"""A way through a proxy, and what is said when it gives none."""

from __future__ import annotations

import base64
import random
import socket
import sys
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from certificates import CertificateFiles, Certificates
from fakes import FakeTransport, Owner
from hostile import reset
from proxies import Relay, free_port, proxy_server
from support import HOST, RawPeer

import trio_websocket._dial._proxy
from trio_websocket import ConnectionFailed, HandshakeError, ProxyFailed
from trio_websocket._dial import load_python_socks, open_tunnel
from trio_websocket._transports import SocketTransport, TlsTransport
from trio_websocket.protocol._proxies import parse_proxy

OK = b"HTTP/1.1 200 OK\r\n\r\n"
settle = trio.testing.wait_all_tasks_blocked


def saying(*parts: bytes) -> Callable[[RawPeer], Awaitable[None]]:
    """A proxy that reads a request, says this, part by part, and hangs up."""

    async def handler(peer: RawPeer) -> None:
        await peer.stream.receive_some()
        for part in parts:
            await peer.stream.send_all(part)
            await settle()

    return handler


async def fail(
    handler: Callable[[RawPeer], Awaitable[None]], scheme: str = "http", user_info: str = ""
) -> ProxyFailed:
    """What is raised with such a proxy; it hangs up afterwards, so that a socket that is left would show."""
    async with proxy_server(handler) as port:
        proxy = parse_proxy(f"{scheme}://{user_info}{HOST}:{port}")
        with pytest.raises(ProxyFailed) as caught:
            await open_tunnel(proxy, "target.test", 80, None)
        assert f"the proxy {scheme}://{HOST}:{port}" in str(caught.value)
        assert isinstance(caught.value, ConnectionFailed)
    return caught.value


# ------------------------------------------------------------------------------------------------------- how it works


async def talk(peer: RawPeer) -> None:
    """Answer CONNECT in pieces, then say back what comes, in capitals."""
    await peer.read_head()
    for part in (OK[:1], OK[1:17], OK[17:-1], OK[-1:]):
        await peer.stream.send_all(part)
        await settle()
    while data := await peer.stream.receive_some():
        await peer.stream.send_all(bytes(data).upper())


async def test_way_through_an_http_proxy_is_a_plain_socket() -> None:
    async with proxy_server(talk) as port:
        transport = await open_tunnel(parse_proxy(f"http://{HOST}:{port}"), "target.test", 80, None)
        assert isinstance(transport, SocketTransport)
        owner = Owner()
        transport.set_owner(owner)
        transport.write(b"hello")
        while not owner.told:
            await settle()
        assert owner.told == [("data", b"HELLO")]
        transport.abort()
        await owner.lost.wait()


async def test_way_through_an_https_proxy_is_over_tls(
    certificates: Certificates, certificate_files: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The system's store, as far as OpenSSL is concerned.
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate_files.ca))
    async with proxy_server(talk, certificates.server_context()) as port:
        transport = await open_tunnel(parse_proxy(f"https://{HOST}:{port}"), "target.test", 80, None)
        assert isinstance(transport, TlsTransport)
        owner = Owner()
        transport.set_owner(owner)
        transport.abort()
        await owner.lost.wait()


async def test_certificate_of_an_https_proxy_is_checked(certificates: Certificates) -> None:
    async with proxy_server(saying(OK), certificates.server_context()) as port:
        with pytest.raises(
            ProxyFailed, match=f"no connection to the proxy https://{HOST}:{port}: TLS"
        ) as caught:
            await open_tunnel(parse_proxy(f"https://{HOST}:{port}"), "target.test", 80, None)
        assert isinstance(caught.value.__cause__, HandshakeError)


@pytest.mark.parametrize(
    ("host", "authority"),
    [("target.test", b"target.test:81"), ("127.0.0.2", b"127.0.0.2:81"), ("fe80::1%eth0", b"[fe80::1]:81")],
)
async def test_connect_names_the_target_and_carries_the_password(host: str, authority: bytes) -> None:
    heads: list[bytes] = []

    async def note(peer: RawPeer) -> None:
        heads.append(await peer.read_head())

    async with proxy_server(note) as port:
        proxy = parse_proxy(f"http://us%3Fr:p%40%C3%A9%20w%3A@{HOST}:{port}")
        with pytest.raises(ProxyFailed):
            await open_tunnel(proxy, host, 81, None)
    [head] = heads
    assert head.startswith(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n" % (authority, authority))
    credentials = base64.b64encode("us?r:p@é w:".encode())
    assert b"\r\nProxy-Authorization: Basic %b\r\n" % credentials in head


@pytest.mark.parametrize(
    ("scheme", "is_name_sent"), [("socks4", False), ("socks4a", True), ("socks5", False), ("socks5h", True)]
)
async def test_proxy_looks_the_name_up_if_the_scheme_says_so(scheme: str, is_name_sent: bool) -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host: object, *args: object, **options: object) -> list[object]:  # type: ignore[override]
            host = host.decode() if isinstance(host, bytes) else host
            address = "127.0.0.9" if host == "target.test" else str(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))]

        async def getnameinfo(self, *args: object) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    asked = b""

    async def note(peer: RawPeer) -> None:
        nonlocal asked
        if scheme.startswith("socks5"):
            assert await peer.read(3) == b"\x05\x01\x00"
            await peer.stream.send_all(b"\x05\x00")
        asked = bytes(await peer.stream.receive_some())

    async with proxy_server(note) as port:
        with pytest.raises(ProxyFailed):
            await open_tunnel(parse_proxy(f"{scheme}://{HOST}:{port}"), "target.test", 80, None)
    assert (b"target.test" in asked) == is_name_sent
    assert (b"\x7f\x00\x00\x09" in asked) != is_name_sent


async def test_socks5_carries_the_password() -> None:
    spoken: list[bytes] = []

    async def note(peer: RawPeer) -> None:
        spoken.append(await peer.read(4))
        await peer.stream.send_all(b"\x05\x02")
        spoken.append(await peer.read(3 + 2 + 6))
        await peer.stream.send_all(b"\x01\x01")

    error = await fail(note, "socks5h", "us:secret@")
    assert spoken == [b"\x05\x02\x00\x02", b"\x01\x02us\x06secret"]
    assert "authentication failure" in str(error)
    assert "secret" not in str(error) + repr(error)


# ------------------------------------------------------------------------------------------------- what goes wrong


async def test_proxy_that_is_not_there_says_so() -> None:
    port = await free_port()
    with pytest.raises(
        ProxyFailed, match=f"no connection to the proxy http://{HOST}:{port}: .*refused"
    ) as caught:
        await open_tunnel(parse_proxy(f"http://u:secret@{HOST}:{port}"), "target.test", 80, None)
    assert isinstance(caught.value.__cause__, OSError)
    assert not isinstance(caught.value.__cause__, HandshakeError)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "status_code", "text"),
    [
        (
            b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\r\nno!",
            407,
            "answered CONNECT with HTTP status 407: 'Proxy Authentication Required'",
        ),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", 502, "answered CONNECT with HTTP status 502: 'Bad Gateway'"),
        (b"HTTP/1.1 503\r\n\r\n", 503, "answered CONNECT with HTTP status 503"),
        (b"HTTP/1.1 403 \xff\x1b[31m" + b"x" * 999 + b"\n\n", 403, r"HTTP status 403: '\xff\x1b[31mxxx"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://login.test/\r\n\r\n", 302, "HTTP status 302: 'Found'"),
    ],
)
async def test_refusal_is_told_with_its_status(answer: bytes, status_code: int, text: str) -> None:
    error = await fail(saying(answer))
    assert error.status_code == status_code
    assert text in str(error)
    assert len(str(error)) < 250


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([], "ended the connection before it answered"),
        ([b"HTTP/1.1 200 O"], "ended the connection before it answered"),
        ([b"HTTP/1.1 200 OK\r\n"], "ended the connection before it answered"),
        ([OK + b"\x16\x03"], "sent 2 bytes behind its answer"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], r"does not answer with HTTP: 'SSH-2.0-OpenSSH_9.2\r\n'"),
        ([b"\x05"], r"does not answer with HTTP: '\x05'"),
        ([b"HTTP/2 200\r\n\r\n"], "does not answer with HTTP: 'HTTP/2 200"),
        ([b"HTTP/1.1 two hundred\r\n\r\n"], "does not answer with HTTP: 'HTTP/1.1 two hundred"),
        ([b"HTTP/1.1 200 " + b"x" * 20000], "headers that exceed 16384 bytes"),
        ([b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 9000], "headers that exceed 16384 bytes"),
        # Its end comes with the same read.
        ([OK[:-2] + b"x: y\r\n" * 3000 + b"\r\n"], "headers that exceed 16384 bytes"),
    ],
)
async def test_what_is_no_answer_to_connect_says_so(parts: list[bytes], text: str) -> None:
    error = await fail(saying(*parts))
    assert text in str(error)
    assert error.status_code is None


async def test_proxy_that_ends_the_connection_with_its_answer_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    transport = FakeTransport()

    async def open_tcp(host: str, port: int) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(trio_websocket._dial._proxy, "open_tcp", open_tcp)
    monkeypatch.setattr(trio_websocket._dial._proxy, "open_transport", lambda stream, size: transport)

    async def answer() -> None:
        await settle()
        assert transport.owner is not None
        transport.owner.backlog_drained()
        assert not transport.owner.is_filling
        with pytest.raises(NotImplementedError):
            transport.owner.fill(len)
        transport.owner.data_received(OK)
        transport.owner.eof_received()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        with pytest.raises(ProxyFailed, match="ended the connection as soon as it had answered"):
            await open_tunnel(parse_proxy("http://proxy.test"), "target.test", 80, None)
    assert transport.is_lost


async def test_proxy_that_resets_the_connection_says_so() -> None:
    async def drop(peer: RawPeer) -> None:
        await peer.stream.receive_some()
        reset(peer.stream)

    error = await fail(drop)
    assert "ended the connection before it answered: " in str(error)
    assert "reset by peer" in str(error)


@pytest.mark.parametrize(
    ("scheme", "parts", "text"),
    [
        ("socks5h", [b"\x05\xff"], "No acceptable authentication methods"),
        ("socks5h", [b"\x05\x02"], "Unexpected SOCKS authentication method"),
        ("socks5h", [b"\x04\x00"], "Unexpected SOCKS version"),
        ("socks5h", [b"\x05\x00", b"\x05\x05\x00\x01" + bytes(6)], "Connection refused by destination host"),
        ("socks5h", [b"\x05\x00", b"\x05\x00\x00\x07" + bytes(6)], "nvalid address type"),
        ("socks5h", [b"\x05\x00", b"\x05\x00\x00\x03\x02\xff\xfe\x00\x50"], "gives no way to the server"),
        ("socks5h", [b"\x05"], "ended the connection before it answered"),
        ("socks4a", [b"\x00\x5b" + bytes(6)], "Request rejected or failed"),
        ("socks4a", [b"\x00\x5a" + bytes(7)], "sent 1 bytes behind its answer"),
    ],
)
async def test_refusal_of_a_socks_proxy_is_told_with_its_reason(
    scheme: str, parts: list[bytes], text: str
) -> None:
    error = await fail(saying(*parts), scheme)
    assert text in str(error)
    assert error.status_code is None


@pytest.mark.parametrize("scheme", ["http", "socks4a", "socks5h"])
async def test_whatever_a_proxy_says_is_an_error_of_the_handshake(scheme: str) -> None:
    dice = random.Random(scheme)
    for _ in range(20):
        start = dice.choice([b"", b"HTTP/1.1 ", b"\x05\x00\x05\x00\x00", b"\x00\x5b"])
        await fail(saying(start + dice.randbytes(dice.randrange(30))), scheme)


async def test_name_that_cannot_be_looked_up_here_says_so() -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host: object, *args: object, **options: object) -> list[object]:  # type: ignore[override]
            if host in {HOST, HOST.encode()}:
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, args[0]))]
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        async def getnameinfo(self, *args: object) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    error = await fail(saying(b"\x05\x00"), "socks5")
    assert "cannot look up target.test: [Errno -2] Name or service not known" in str(error)
    assert isinstance(error.__cause__, OSError)


async def test_name_that_socks_cannot_send_says_so() -> None:
    async with proxy_server(saying(b"\x05\x00")) as port:
        with pytest.raises(ProxyFailed, match=r"gives no way to the server: .*label") as caught:
            await open_tunnel(parse_proxy(f"socks5h://{HOST}:{port}"), "x" * 64, 80, None)
        assert isinstance(caught.value.__cause__, UnicodeError)


# ------------------------------------------------------------------------------------------------------- cancellation


@pytest.mark.parametrize("scheme", ["http", "https", "socks4a", "socks5h"])
async def test_cancelled_while_the_proxy_is_silent_leaves_nothing_open(scheme: str) -> None:
    ends: list[bytes] = []

    async def stay_silent(peer: RawPeer) -> None:
        assert await peer.stream.receive_some()
        scope.cancel()
        ends.append(await peer.read_to_end())

    with trio.fail_after(5):
        async with proxy_server(stay_silent) as port:
            with trio.CancelScope() as scope:
                await open_tunnel(parse_proxy(f"{scheme}://{HOST}:{port}"), "target.test", 80, None)
            assert scope.cancelled_caught
            while not ends:
                await settle()
    assert len(ends) == 1


# ----------------------------------------------------------------------------------------------------- python-socks


def test_what_is_missing_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_python_socks().Proxy
    monkeypatch.setitem(sys.modules, "python_socks.async_.trio.v2", None)
    with pytest.raises(ModuleNotFoundError, match=r"with its extra \[proxy\]"):
        load_python_socks()


async def test_relay_of_the_tests_does_as_it_is_asked() -> None:
    relay = Relay()
    async with proxy_server(talk) as target, proxy_server(relay) as port:
        stream = await trio.open_tcp_stream(HOST, port)
        async with stream:
            await stream.send_all(b"CONNECT %b:%d HTTP/1.1\r\n\r\n" % (HOST.encode(), target))
            peer = RawPeer(stream, is_client=True)
            assert (await peer.read_head()).startswith(b"HTTP/1.1 200")
    assert len(relay.heads) == 1
