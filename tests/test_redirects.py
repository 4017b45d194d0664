"""Redirects: followed only if asked for, and with care."""

from __future__ import annotations

import sys

import pytest
import trio
from certificates import CertificateFiles, Certificates
from proxies import Relay, proxy_server
from support import HOST, check_echo, serving, url_of

from trio_websocket import (
    ConnectionFailed,
    ConnectionRejected,
    ConnectionTimeout,
    Endpoint,
    HandshakeError,
    WebSocketRequest,
    connect_websocket,
    connect_websocket_url,
    open_websocket,
    open_websocket_url,
)

STATUS_CODES = [301, 302, 303, 307, 308]


class Site:
    """A handler that redirects as its paths have it, echoes elsewhere, and notes what it is asked."""

    def __init__(self, **locations: str) -> None:
        self.locations = {f"/{path}": location for path, location in locations.items()}
        self.status_code = 302
        self.asked: list[tuple[str, dict[bytes, bytes]]] = []

    async def __call__(self, request: WebSocketRequest) -> None:
        self.asked.append((request.path, dict(request.headers)))
        if (location := self.locations.get(request.path)) is not None:
            headers = [(b"Location", location.encode())] if location != "none" else []
            await request.reject(self.status_code, extra_headers=headers, body=b"elsewhere")
            return
        ws = await request.accept(subprotocol=next(iter(request.proposed_subprotocols), None))
        async for message in ws:
            await ws.send_message(message)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


async def fail(url: str, max_redirects: int = 5, **options: object) -> HandshakeError:
    """What is raised."""
    with pytest.raises(HandshakeError) as caught:
        async with open_websocket_url(url, max_redirects=max_redirects, **options):  # type: ignore[arg-type]
            raise AssertionError("it opened")
    return caught.value


# ----------------------------------------------------------------------------------------------------------- followed


@pytest.mark.parametrize("status_code", STATUS_CODES)
async def test_redirect_is_a_rejection_unless_it_is_to_be_followed(status_code: int) -> None:
    site = Site(a="/b")
    site.status_code = status_code
    async with serving(site) as server:
        error = await fail(url_of(server, "/a"), max_redirects=0)
        assert isinstance(error, ConnectionRejected)
        assert (error.status_code, error.body, error.history) == (status_code, b"elsewhere", ())
        async with open_websocket_url(url_of(server, "/a"), max_redirects=1) as ws:
            await check_echo(ws)
            assert ws.path == "/b"
    assert site.paths == ["/a", "/a", "/b"]


async def test_every_way_in_follows() -> None:
    site = Site(a="/x/../b")
    async with serving(site) as server, trio.open_nursery() as nursery:
        url, to = url_of(server, "/a"), (HOST, server.port, "/a")
        async with open_websocket(*to, use_ssl=False, max_redirects=1, subprotocols=iter(["chat"])) as ws:
            await check_echo(ws)
            # The offer goes along.
            assert ws.subprotocol == "chat"
        async with await connect_websocket_url(nursery, url, max_redirects=1) as ws:
            await check_echo(ws)
        async with await connect_websocket(nursery, *to, use_ssl=False, max_redirects=1) as ws:
            await check_echo(ws)
    assert site.paths == ["/a", "/b"] * 3


async def test_redirects_lead_over_servers_and_from_ws_to_wss(
    certificates: Certificates, certificate_files: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate_files.ca))
    there, middle, here = Site(), Site(), Site()
    async with (
        serving(there, certificates.server_context()) as last,
        serving(middle) as second,
        serving(here) as first,
    ):
        middle.locations["/y"] = f"https://localhost:{last.port}/z?q"
        here.locations["/x"] = f"//{HOST}:{second.port}/y"
        async with open_websocket_url(url_of(first, "/x"), max_redirects=2) as ws:
            await check_echo(ws)
            assert ws.path == "/z?q"
            assert ws.remote == Endpoint(HOST, last.port, is_ssl=True)


@pytest.mark.parametrize("scheme", ["ws", "http"])
async def test_redirect_from_wss_to_ws_is_not_followed(certificates: Certificates, scheme: str) -> None:
    here, there = Site(), Site()
    async with serving(here, certificates.server_context()) as first, serving(there) as second:
        here.locations["/x"] = f"{scheme}://{HOST}:{second.port}/y"
        error = await fail(url_of(first, "/x"), ssl_context=certificates.client_context())
        assert f"it leads to '{scheme}://{HOST}:{second.port}/y': " in str(error)
        assert "never goes on with ws:" in str(error)
    assert there.paths == []


async def test_own_context_is_used_again(certificates: Certificates) -> None:
    there = Site()
    async with serving(there, certificates.server_context()) as second:
        here = Site(x=f"wss://localhost:{second.port}/y")
        async with (
            serving(here, certificates.server_context()) as first,
            open_websocket_url(url_of(first, "/x"), certificates.client_context(), max_redirects=1) as ws,
        ):
            await check_echo(ws)
    assert there.paths == ["/y"]


async def test_proxy_is_chosen_anew_for_each_server(monkeypatch: pytest.MonkeyPatch) -> None:
    there, relay = Site(), Relay()
    for name in ("no_proxy", "NO_PROXY", "ws_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with serving(there) as second, proxy_server(relay) as port:
        here = Site(x=url_of(second, "/y"))
        async with serving(here) as first:
            monkeypatch.setenv("ws_proxy", f"http://{HOST}:{port}")
            monkeypatch.setenv("no_proxy", f"{HOST}:{first.port}")
            async with open_websocket_url(url_of(first, "/x"), max_redirects=1, proxy=True) as ws:
                await check_echo(ws)
        assert [head.split()[1] for head in relay.heads] == [f"{HOST}:{second.port}".encode()]


# ------------------------------------------------------------------------------------------------------- what goes along


async def test_credentials_go_along_to_the_same_origin() -> None:
    site = Site(a="/b")
    async with serving(site) as server:
        url = f"ws://u:p@{HOST}:{server.port}/a"
        headers = [(b"Cookie", b"c=1"), (b"X-Other", b"1")]
        async with open_websocket_url(url, max_redirects=1, extra_headers=headers) as ws:
            await check_echo(ws)
    for _, received in site.asked:
        assert received[b"authorization"] == b"Basic dTpw"
        assert received[b"cookie"] == b"c=1"
        assert received[b"x-other"] == b"1"


@pytest.mark.parametrize("from_url", [True, False])
async def test_credentials_are_dropped_across_origins_and_stay_so(from_url: bool) -> None:
    here, there = Site(), Site()
    async with serving(here) as first, serving(there) as second:
        here.locations["/a"] = f"ws://v:q@{HOST}:{second.port}/b"
        there.locations["/b"] = url_of(first, "/c")
        url = f"ws://{'u:p@' * from_url}{HOST}:{first.port}/a"
        headers = [(b"cookie", b"c=1"), (b"X-Other", b"1")]
        if not from_url:
            headers.append((b"AUTHORIZATION", b"Basic dTpw"))
        async with open_websocket_url(url, max_redirects=2, extra_headers=iter(headers)) as ws:
            await check_echo(ws)
    assert here.asked[0][1][b"authorization"] == b"Basic dTpw"
    assert here.asked[0][1][b"cookie"] == b"c=1"
    for _, received in (*there.asked, here.asked[1]):
        assert b"authorization" not in received
        assert b"cookie" not in received
        assert received[b"x-other"] == b"1"
    assert here.asked[1][0] == "/c"


# ------------------------------------------------------------------------------------------------------------- ended


async def test_one_redirect_too_many_is_an_error_with_the_history() -> None:
    site = Site(a="/b", b="/c", c="/d")
    async with serving(site) as server:
        error = await fail(f"ws://u:secret@{HOST}:{server.port}/a", max_redirects=2)
        assert site.paths == ["/a", "/b", "/c"]
        assert error.history == tuple(url_of(server, path) for path in site.paths)
        assert f"from {url_of(server, '/c')} with HTTP status 302" in str(error)
        assert f"leads to {url_of(server, '/d')}, which is one more than max_redirects=2" in str(error)
        assert "secret" not in str(error) + str(error.history)
        assert isinstance(error.__cause__, ConnectionRejected)
        assert error.__cause__.body == b"elsewhere"


async def test_circle_is_seen_as_soon_as_it_closes() -> None:
    site = Site(a="/b", b="/a")
    async with serving(site) as server:
        error = await fail(url_of(server, "/a"), max_redirects=100)
        assert site.paths == ["/a", "/b"]
        assert error.history == (url_of(server, "/a"), url_of(server, "/b"))
        assert f"leads to {url_of(server, '/a')} again" in str(error)


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("ftp://a.test/", "the scheme 'ftp' is not that of a WebSocket"),
        ("ws+unix:///run/x.sock:/", "is not that of a WebSocket"),
        ("ws://a.test:0/", "bad port"),
        ("http://", "the URL has no host"),
    ],
)
async def test_location_that_leads_nowhere_says_so(location: str, text: str) -> None:
    site = Site(a=location)
    async with serving(site) as server:
        error = await fail(url_of(server, "/a"))
        assert text in str(error)
        assert error.history == (url_of(server, "/a"),)
        assert type(error) is HandshakeError


@pytest.mark.parametrize("host", ["", "ws://" + "h" * 9000])
async def test_message_has_no_more_of_a_location_than_people_can_read(host: str) -> None:
    long = "x" * 5000
    site = Site(**{"a": f"/{long}", long: f"{host}/b"})
    async with serving(site) as server:
        error = await fail(url_of(server, "/a"), max_redirects=1)
        assert len(str(error)) < 400
        assert error.history == (url_of(server, "/a"), url_of(server, f"/{long}"))


async def test_redirect_to_where_a_proxy_is_needed_that_we_cannot_speak_to_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "python_socks.async_.trio.v2", None)
    monkeypatch.setenv("ws_proxy", "http://proxy.test")
    monkeypatch.setenv("no_proxy", HOST)
    async with serving(Site(a="ws://elsewhere.test/")) as server:
        error = await fail(url_of(server, "/a"), proxy=True)
        assert "cannot follow the redirect" in str(error)
        assert "install trio-websocket with its extra [proxy]" in str(error)


async def test_redirect_without_a_location_is_a_rejection() -> None:
    site = Site(a="/b", b="none")
    async with serving(site) as server:
        error = await fail(url_of(server, "/a"))
        assert isinstance(error, ConnectionRejected)
        assert error.history == (url_of(server, "/a"),)


async def test_failure_behind_a_redirect_has_the_history(mock_clock: object) -> None:
    listener = (await trio.open_tcp_listeners(0, host=HOST))[0]
    port = listener.socket.getsockname()[1]
    site = Site(a=f"ws://{HOST}:{port}/b")
    async with serving(site) as server:
        error = await fail(url_of(server, "/a"), connect_timeout=5)
        assert isinstance(error, ConnectionTimeout)
        assert error.history == (url_of(server, "/a"),)
        await listener.aclose()
        error = await fail(url_of(server, "/a"))
        assert isinstance(error, ConnectionFailed)
        assert error.history == (url_of(server, "/a"),)
