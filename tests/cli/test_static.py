"""`_cli._static`."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from certificates import Certificates
from support import HOST, RawPeer, check_echo, echo

from trio_websocket import WebSocketServer, open_websocket_url
from trio_websocket._cli._static import PageListener, Pages, _Replayed


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory of pages."""
    root = tmp_path / "site"
    (root / "sub").mkdir(parents=True)
    (root / "index.html").write_text("<p>home", "utf-8")
    (root / "sub" / "index.html").write_text("<p>sub", "utf-8")
    (root / "a b.css").write_text("p {}", "utf-8")
    (root / "data.bin-unknown").write_bytes(b"\x00")
    (root / ".secret").write_text("secret", "utf-8")
    (tmp_path / "outside.txt").write_text("secret", "utf-8")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    return root.resolve()


@pytest.mark.parametrize(
    ("target", "content_type", "body"),
    [
        ("/", "text/html; charset=utf-8", b"<p>home"),
        ("/?a=b", "text/html; charset=utf-8", b"<p>home"),
        ("/sub/", "text/html; charset=utf-8", b"<p>sub"),
        ("/a%20b.css", "text/css; charset=utf-8", b"p {}"),
        ("/data.bin-unknown", "application/octet-stream", b"\x00"),
    ],
)
def test_page_of_a_directory_is_found(site: Path, target: str, content_type: str, body: bytes) -> None:
    assert Pages(site).find(target) == (200, content_type, body)


@pytest.mark.parametrize(
    "target",
    [
        "/none",
        "/sub",
        "/.secret",
        "/../outside.txt",
        "/sub/../../outside.txt",
        "/%2e%2e/outside.txt",
        "/sub/%2e%2e%2f..%2foutside.txt",
        "/..\\outside.txt",
        "/link.txt",
        "//etc/passwd",
        "/%00",
        "*",
    ],
)
def test_nothing_else_is_found(site: Path, target: str) -> None:
    assert Pages(site).find(target)[0] == 404


def test_single_page_is_found_at_the_root_alone(site: Path) -> None:
    pages = Pages(site / "a b.css")
    assert pages.find("/").body == b"p {}"
    assert pages.find("/a%20b.css").status == 404


@asynccontextmanager
async def site_served(site: Path, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """An echo server with pages beside it."""
    listeners = await trio.open_tcp_listeners(0, host=HOST)
    async with trio.open_nursery() as nursery:
        beside = PageListener(listeners[0], context, Pages(site))
        nursery.start_soon(beside.run)
        await nursery.start(WebSocketServer(echo, [beside]).run)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def ask(port: int, request: bytes) -> bytes:
    """Send a request byte by byte, and read the whole answer."""
    async with await trio.open_tcp_stream(HOST, port) as stream:
        for byte in request:
            await stream.send_all(bytes([byte]))
        return b"".join([bytes(data) async for data in stream])


async def test_plain_request_is_answered_with_the_page(site: Path) -> None:
    async with site_served(site) as port:
        answer = await ask(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n<p>home")


async def test_head_request_is_answered_without_the_page(site: Path) -> None:
    async with site_served(site) as port:
        answer = await ask(port, b"HEAD /none HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"Content-Length: 11\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.slow
async def test_other_requests_are_the_servers_to_answer(site: Path) -> None:
    async def check(request: bytes) -> None:
        assert (await ask(port, request)).startswith(b"HTTP/1.1 4")

    # Each takes as long as the server waits for the client to close.
    async with site_served(site) as port, trio.open_nursery() as nursery:
        nursery.start_soon(check, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        nursery.start_soon(check, b"nonsense\r\n\r\n")


async def test_client_that_goes_away_does_no_harm(site: Path) -> None:
    async with site_served(site) as port:
        await (await trio.open_tcp_stream(HOST, port)).aclose()
        stream = await trio.open_tcp_stream(HOST, port)
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()
        async with open_websocket_url(f"ws://{HOST}:{port}") as ws:
            await check_echo(ws)


async def test_connections_are_the_servers(site: Path) -> None:
    async with site_served(site) as port, open_websocket_url(f"ws://{HOST}:{port}") as ws:
        await check_echo(ws)
        await ws.send_message("x" * 100_000)
        assert len(await ws.get_message()) == 100_000


async def test_client_is_told_when_the_server_goes_away(site: Path) -> None:
    async with site_served(site) as port:
        opened = open_websocket_url(f"ws://{HOST}:{port}")
        ws = await opened.__aenter__()
    assert (await ws.wait_closed()).code == 1001
    await opened.__aexit__(None, None, None)


async def test_replayed_stream_is_a_stream_as_any_other() -> None:
    async def make() -> tuple[_Replayed, trio.abc.Stream]:
        ours, theirs = trio.testing.lockstep_stream_pair()
        return _Replayed(ours, b""), theirs

    await trio.testing.check_two_way_stream(make, make)


async def test_replayed_bytes_come_first_in_any_portions() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"fgh")
    stream = _Replayed(ours, b"abcde")
    assert await stream.receive_some(2) == b"ab"
    assert await stream.receive_some() == b"cde"
    assert await stream.receive_some() == b"fgh"


async def test_tls_carries_both(site: Path, certificates: Certificates) -> None:
    context = certificates.client_context()
    async with site_served(site, certificates.server_context()) as port:
        async with open_websocket_url(f"wss://{HOST}:{port}", context) as ws:
            await check_echo(ws)
        stream = await trio.open_ssl_over_tcp_stream(HOST, port, ssl_context=context, https_compatible=True)
        async with stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"".join([bytes(data) async for data in stream]).endswith(b"<p>home")
        async with await trio.open_tcp_stream(HOST, port) as stranger:
            await stranger.send_all(b"GET / HTTP/1.1\r\nHost: speaks.no.TLS\r\n\r\n")
            assert not (await RawPeer(stranger, is_client=True).read_to_end()).startswith(b"HTTP")
