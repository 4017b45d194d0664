"""Connections through proxies: real ones, and one in this process."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
import trio
from certificates import CertificateFiles, Certificates
from proxies import PASSWORD, USER, Relay, dante, free_port, microsocks, proxy_server, tinyproxy
from support import HOST, check_echo, serving, url_of

from trio_websocket import (
    ConnectionClosed,
    Endpoint,
    HandshakeError,
    ProxyFailed,
    WebSocketRequest,
    connect_websocket,
    connect_websocket_url,
    open_websocket,
    open_websocket_url,
)
from trio_websocket._transports import SocketTransport, TlsTransport

USER_INFO = f"{USER}:{quote(PASSWORD)}@"
RunProxy = Callable[[Path], AbstractAsyncContextManager[int]]


async def check_through(proxy: str, port: int, certificates: Certificates) -> None:
    """Prove that ws: and wss: go through a proxy to a server of ours."""
    async with serving() as server, open_websocket_url(url_of(server, "/p"), proxy=proxy) as ws:
        await check_echo(ws)
        assert ws.path == "/p"
        assert ws.remote == Endpoint(HOST, port, is_ssl=False)
        # A plain socket, as without a proxy.
        assert type(ws._link.transport) is SocketTransport
    context = certificates.client_context()
    async with (
        serving(ssl_context=certificates.server_context()) as server,
        open_websocket_url(url_of(server), context, proxy=proxy) as ws,
    ):
        await check_echo(ws)
        await ws.send_message(b"x" * 300_000)
        assert len(await ws.get_message()) == 300_000


# --------------------------------------------------------------------------------------------------------- real ones


@pytest.mark.slow
@pytest.mark.external("tinyproxy")
@pytest.mark.parametrize("password", [False, True])
async def test_tinyproxy_lets_us_through(certificates: Certificates, tmp_path: Path, password: bool) -> None:
    async with tinyproxy(tmp_path, password=password) as port:
        await check_through(f"http://{USER_INFO * password}{HOST}:{port}", port, certificates)


@pytest.mark.external("tinyproxy")
@pytest.mark.parametrize("user_info", ["", "somebody:wrong@"])
async def test_tinyproxy_asks_for_the_password(tmp_path: Path, user_info: str) -> None:
    async with serving() as server, tinyproxy(tmp_path, password=True) as port:
        with pytest.raises(ProxyFailed, match=r"HTTP status (401|407)") as caught:
            async with open_websocket_url(url_of(server), proxy=f"http://{user_info}{HOST}:{port}"):
                raise AssertionError("it opened")
        assert caught.value.status_code in {401, 407}
        assert "wrong" not in str(caught.value)


@pytest.mark.external("tinyproxy")
async def test_tinyproxy_cannot_reach_the_server(tmp_path: Path) -> None:
    async with tinyproxy(tmp_path) as port:
        with pytest.raises(ProxyFailed, match="answered CONNECT with HTTP status 5") as caught:
            async with open_websocket(
                HOST, await free_port(), "/", use_ssl=False, proxy=f"http://{HOST}:{port}"
            ):
                raise AssertionError("it opened")
        assert caught.value.status_code is not None
        assert caught.value.status_code >= 500


@pytest.mark.slow
@pytest.mark.external("microsocks")
@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
@pytest.mark.parametrize("password", [False, True])
async def test_microsocks_lets_us_through(certificates: Certificates, scheme: str, password: bool) -> None:
    async with microsocks(password=password) as port:
        await check_through(f"{scheme}://{USER_INFO * password}{HOST}:{port}", port, certificates)


@pytest.mark.external("microsocks")
@pytest.mark.parametrize(
    ("user_info", "text"), [("", "No acceptable"), ("u:wrong@", "authentication failure")]
)
async def test_microsocks_asks_for_the_password(user_info: str, text: str) -> None:
    async with serving() as server, microsocks(password=True) as port:
        with pytest.raises(ProxyFailed, match=text):
            async with open_websocket_url(url_of(server), proxy=f"socks5h://{user_info}{HOST}:{port}"):
                raise AssertionError("it opened")


@pytest.mark.external("microsocks")
async def test_microsocks_cannot_reach_the_server() -> None:
    async with microsocks() as port:
        with pytest.raises(ProxyFailed, match="Connection refused by destination host"):
            async with open_websocket(
                HOST, await free_port(), "/", use_ssl=False, proxy=f"socks5://{HOST}:{port}"
            ):
                raise AssertionError("it opened")


@pytest.mark.slow
@pytest.mark.external("danted")
@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
async def test_dante_lets_us_through(certificates: Certificates, tmp_path: Path, scheme: str) -> None:
    async with dante(tmp_path) as port:
        await check_through(f"{scheme}://{HOST}:{port}", port, certificates)


@pytest.mark.external("danted")
async def test_dante_cannot_reach_the_server(tmp_path: Path) -> None:
    async with dante(tmp_path) as port:
        with pytest.raises(ProxyFailed, match="rejected or failed"):
            async with open_websocket(
                HOST, await free_port(), "/", use_ssl=False, proxy=f"socks4://{HOST}:{port}"
            ):
                raise AssertionError("it opened")


@pytest.mark.external("tinyproxy", "microsocks")
@pytest.mark.parametrize("run", [tinyproxy, lambda folder: microsocks()], ids=["tinyproxy", "microsocks"])
async def test_proxy_that_ends_meanwhile_ends_the_connection(run: RunProxy, tmp_path: Path) -> None:
    scheme = "http" if run is tinyproxy else "socks5"
    async with serving() as server:
        proxy = run(tmp_path)
        port = await proxy.__aenter__()
        with pytest.raises(ConnectionClosed):
            async with open_websocket_url(url_of(server), proxy=f"{scheme}://{HOST}:{port}") as ws:
                await check_echo(ws)
                await proxy.__aexit__(None, None, None)
                await ws.get_message()


# ------------------------------------------------------------------------------------------------- in this process


async def test_every_way_in_takes_a_proxy() -> None:
    relay = Relay()
    async with serving() as server, proxy_server(relay) as port, trio.open_nursery() as nursery:
        proxy = f"http://{HOST}:{port}"
        url, to = url_of(server), (HOST, server.port, "/")
        async with open_websocket_url(url, proxy=proxy) as ws:
            await check_echo(ws)
        async with open_websocket(*to, use_ssl=False, proxy=proxy) as ws:
            await check_echo(ws)
        async with await connect_websocket_url(nursery, url, proxy=proxy) as ws:
            await check_echo(ws)
        async with await connect_websocket(nursery, *to, use_ssl=False, proxy=proxy) as ws:
            await check_echo(ws)
    # ws: is tunnelled as wss: is.
    assert [head.split()[0] for head in relay.heads] == [b"CONNECT"] * 4


@pytest.mark.parametrize("is_secure", [False, True])
async def test_https_proxy_carries_ws_and_wss(
    certificates: Certificates,
    certificate_files: CertificateFiles,
    monkeypatch: pytest.MonkeyPatch,
    is_secure: bool,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate_files.ca))
    relay = Relay()
    context = certificates.server_context() if is_secure else None
    async with (
        serving(ssl_context=context) as server,
        proxy_server(relay, certificates.server_context()) as port,
        open_websocket_url(url_of(server), proxy=f"https://{USER_INFO}{HOST}:{port}") as ws,
    ):
        await check_echo(ws)
        await ws.send_message(b"x" * 300_000)
        assert len(await ws.get_message()) == 300_000
        assert type(ws._link.transport) is TlsTransport
        assert ws.remote == Endpoint(HOST, port, is_ssl=True)
    assert b"\r\nProxy-Authorization: Basic " in relay.heads[0]


async def test_target_s_certificate_is_checked_for_the_target(certificates: Certificates) -> None:
    async with (
        serving(ssl_context=certificates.server_context()) as server,
        proxy_server(Relay(leads_to=server.port)) as port,
    ):
        context, proxy = certificates.client_context(), f"http://{HOST}:{port}"
        async with open_websocket_url("wss://localhost/", context, proxy=proxy) as ws:
            await check_echo(ws)
        with pytest.raises(HandshakeError, match="TLS handshake with elsewhere") as caught:
            async with open_websocket_url("wss://elsewhere.test/", context, proxy=proxy):
                raise AssertionError("it opened")
        assert not isinstance(caught.value, ProxyFailed)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_environment_names_the_proxy_and_its_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Relay()
    async with serving() as server, proxy_server(relay) as port:
        for name in ("no_proxy", "NO_PROXY", "ws_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", f"{USER_INFO}{HOST}:{port}")
        connect = partial(open_websocket_url, url_of(server))
        async with connect(proxy=True) as ws:
            assert ws.remote == Endpoint(HOST, port, is_ssl=False)
        async with connect() as ws:
            assert ws.remote == server.listeners[0]
        monkeypatch.setenv("no_proxy", "example.org,127.0.0.0/8")
        async with connect(proxy=True) as ws:
            assert ws.remote == server.listeners[0]
    assert len(relay.heads) == 1


async def test_user_info_of_the_url_is_for_the_server_and_that_of_the_proxy_for_the_proxy() -> None:
    received: list[bytes] = []

    async def note(request: WebSocketRequest) -> None:
        received.extend(name + b": " + value for name, value in request.headers)
        await request.reject(403)

    relay = Relay()
    async with serving(note) as server, proxy_server(relay) as port:
        url = f"ws://u:p@{HOST}:{server.port}/"
        with pytest.raises(HandshakeError, match="403"):
            async with open_websocket_url(url, proxy=f"http://{USER_INFO}{HOST}:{port}"):
                raise AssertionError("it opened")
    [head] = relay.heads
    assert b"\r\nAuthorization" not in head
    assert not any(field.lower().startswith(b"proxy-") for field in received)
    assert b"authorization: Basic dTpw" in received
