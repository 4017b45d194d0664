"""Cancelling a connection at each checkpoint of its way through proxies and redirects: nothing is left.

`checkpoints` tells how.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http.cookiejar import CookieJar

import pytest
import trio
import trio.testing
from certificates import CertificateFiles, Certificates
from checkpoints import Attack, torture
from proxies import Relay, proxy_server, relay_socks5
from support import HOST, RawPeer, serving, url_of

from trio_websocket import (
    ConnectionTimeout,
    HandshakeError,
    ProxyFailed,
    WebSocketConnection,
    WebSocketRequest,
    connect_websocket_url,
    open_websocket_url,
)

pytestmark = pytest.mark.usefixtures("transport")

Handler = Callable[[RawPeer], Awaitable[None]]


async def prove(ws: WebSocketConnection) -> None:
    """The connection works, both ways."""
    await ws.send_message("proof")
    assert await ws.get_message() == "proof"


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "handler"), [("http", Relay()), ("socks5", relay_socks5)])
def test_connection_through_a_proxy_cancelled_at_any_point_leaves_nothing(
    scheme: str, handler: Handler
) -> None:
    async def scenario(attack: Attack) -> None:
        async with serving() as server, proxy_server(handler) as port:
            proxy = f"{scheme}://{HOST}:{port}"

            async def use() -> None:
                async with open_websocket_url(url_of(server), proxy=proxy) as ws:
                    await prove(ws)

            ending = await attack.run(use)
            assert ending.returned or type(ending.error) is trio.Cancelled
            assert ending.delay < 2
            await use()

    torture(scenario, real_time=True)


@pytest.mark.slow
def test_tls_through_an_https_proxy_cancelled_at_any_point_leaves_nothing(
    certificates: Certificates, certificate_files: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate_files.ca))
    server_context = certificates.server_context()

    async def scenario(attack: Attack) -> None:
        async with (
            serving(ssl_context=server_context) as server,
            proxy_server(Relay(), server_context) as port,
        ):

            async def use() -> None:
                async with (
                    trio.open_nursery() as nursery,
                    await connect_websocket_url(
                        nursery, url_of(server), proxy=f"https://{HOST}:{port}"
                    ) as ws,
                ):
                    await prove(ws)

            await attack.run(use)
            await use()

    torture(scenario, real_time=True)


@pytest.mark.slow
def test_redirects_with_cookies_cancelled_at_any_point_leave_nothing() -> None:
    async def handler(request: WebSocketRequest) -> None:
        if request.path != "/c":
            location = {"/a": "/b", "/b": "c"}[request.path]
            headers = [(b"Location", location.encode()), (b"Set-Cookie", b"n=1; Path=/")]
            await request.reject(302, extra_headers=headers)
            return
        ws = await request.accept()
        async for message in ws:
            await ws.send_message(message)

    async def scenario(attack: Attack) -> None:
        async with serving(handler) as server:
            jar = CookieJar()

            async def use() -> None:
                url = url_of(server, "/a")
                async with open_websocket_url(url, max_redirects=2, cookies=jar) as ws:
                    assert ws.path == "/c"
                    await prove(ws)

            ending = await attack.run(use)
            assert ending.returned or type(ending.error) is trio.Cancelled
            await use()
            assert len(jar) == 1

    torture(scenario, real_time=True)


async def _refuse(peer: RawPeer) -> None:
    await peer.read_head()
    await peer.stream.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")


async def _stay_silent(peer: RawPeer) -> None:
    await trio.sleep_forever()


async def _hang_up(peer: RawPeer) -> None:
    """A proxy that says nothing."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("handler", "error_type"),
    [(_refuse, ProxyFailed), (_stay_silent, ConnectionTimeout), (_hang_up, ProxyFailed)],
)
def test_proxy_that_gives_no_way_says_why_whenever_it_is_cancelled(
    handler: Handler, error_type: type[HandshakeError]
) -> None:
    async def scenario(attack: Attack) -> None:
        async with proxy_server(handler) as port:

            async def use() -> None:
                proxy = f"http://{HOST}:{port}"
                async with open_websocket_url("ws://target.test/", proxy=proxy, connect_timeout=5):
                    raise AssertionError("it opened")

            ending = await attack.run(use)
            assert ending.delay == 0
            if ending.was_cancelled:
                assert type(ending.error) is trio.Cancelled
            else:
                assert type(ending.error) is error_type

    torture(scenario)
