"""Addresses and headers are right whatever they name: IPv6, odd ports, Unix sockets, peers that have gone, other scripts.

The Host header used to lack the brackets of IPv6 and the port of `ws://host:443`; a request's addresses raised on Unix sockets;
a path in another script raised; user info was ignored; a server's connection had no headers.
"""

from __future__ import annotations

import base64
import ipaddress
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from hostile import dial_in_memory, exchange, reset
from support import RawPeer, echo, request_head, response_head, serving, url_of

from trio_websocket import (
    Endpoint,
    WebSocketConnection,
    WebSocketRequest,
    WebSocketServer,
    open_websocket,
    open_websocket_url,
    wrap_client_stream,
)

# -------------------------------------------------------------------------------------------- what the request says


async def request_to(url: str, monkeypatch: pytest.MonkeyPatch, **options: object) -> dict[str, str]:
    """The header lines that a client sends to `url`, lower-case names; the request line is ""."""
    peer = RawPeer(dial_in_memory(monkeypatch), is_client=False)
    heads: list[bytes] = []

    async def answer() -> None:
        heads.append(await peer.read_head())
        await peer.stream.send_all(response_head(heads[0]))
        await peer.send_close()
        await peer.stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        async with open_websocket_url(url, **options) as ws:  # type: ignore[arg-type]
            await ws.wait_closed()
    first, *lines = heads[0].decode("ascii").strip().split("\r\n")
    return {"": first, **{name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}}


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ws://example.org/", "example.org"),
        ("ws://example.org:80/", "example.org"),
        ("ws://example.org:443/", "example.org:443"),
        ("ws://example.org:8080/", "example.org:8080"),
        ("wss://example.org/", "example.org"),
        ("wss://example.org:443/", "example.org"),
        ("wss://example.org:80/", "example.org:80"),
        ("ws://[::1]/", "[::1]"),
        ("ws://[::1]:443/", "[::1]:443"),
        ("wss://[2001:db8::7]:8443/", "[2001:db8::7]:8443"),
    ],
)
async def test_host_header_has_brackets_and_each_port_that_the_scheme_does_not_imply(
    url: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await request_to(url, monkeypatch))["host"] == host


async def test_host_header_has_brackets_for_an_address_without_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = RawPeer(dial_in_memory(monkeypatch), is_client=False)
    async with trio.open_nursery() as nursery:

        async def use() -> None:
            async with open_websocket("::1", 8000, "/", use_ssl=False):
                pass

        nursery.start_soon(use)
        assert b"\r\nHost: [::1]:8000\r\n" in await peer.read_head()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/грут", "/%D0%B3%D1%80%D1%83%D1%82"),
        ("/café?q=日本", "/caf%C3%A9?q=%E6%97%A5%E6%9C%AC"),
        ("/already%20encoded", "/already%20encoded"),
    ],
)
async def test_path_in_any_script_is_percent_encoded(
    path: str, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await request_to("ws://example.org" + path, monkeypatch))[""] == f"GET {sent} HTTP/1.1"


async def test_path_in_any_script_reaches_our_server() -> None:
    paths: list[str] = []

    async def handler(request: WebSocketRequest) -> None:
        paths.append(request.path)
        await echo(request)

    async with serving(handler) as server, open_websocket_url(url_of(server, "/грут")) as ws:
        await exchange(ws)
    assert paths == ["/%D0%B3%D1%80%D1%83%D1%82"]


@pytest.mark.parametrize(
    ("user_info", "credentials"),
    [
        ("user:pass", "user:pass"),
        ("user%40corp:p%3A%2F", "user@corp:p:/"),
        ("us%C3%A9r:", "usér:"),
        ("me", "me:"),
    ],
)
async def test_user_info_in_a_url_is_sent_as_basic_authentication(
    user_info: str, credentials: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = await request_to(f"ws://{user_info}@example.org/", monkeypatch)
    scheme, value = headers["authorization"].split(" ")
    assert (scheme, base64.b64decode(value).decode()) == ("Basic", credentials)
    assert headers["host"] == "example.org"


async def test_callers_own_authorization_takes_the_place_of_user_info(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = [(b"authorization", b"Bearer abc")]
    headers = await request_to("ws://user:pass@example.org/", monkeypatch, extra_headers=mine)
    assert headers["authorization"] == "Bearer abc"


# -------------------------------------------------------------------------------------------------------- endpoints


@asynccontextmanager
async def unix_listener(path: Path) -> AsyncIterator[trio.SocketListener]:
    with trio.socket.socket(socket.AF_UNIX) as sock:
        await sock.bind(str(path))
        sock.listen()
        yield trio.SocketListener(sock)


async def test_addresses_on_a_unix_socket_are_texts(tmp_path: Path) -> None:
    seen: list[object] = []

    async def handler(request: WebSocketRequest) -> None:
        ws = await request.accept()
        seen.extend([request.local, request.remote, ws.local, ws.remote, repr(request), repr(ws)])
        async for message in ws:
            await ws.send_message(message)

    async with unix_listener(tmp_path / "s") as listener, trio.open_nursery() as nursery:
        server = WebSocketServer(handler, [listener])
        assert isinstance(server.listeners[0], str)
        with pytest.raises(RuntimeError, match="no port"):
            _ = server.port
        await nursery.start(server.run)
        stream = await trio.open_unix_socket(tmp_path / "s")
        async with await wrap_client_stream(nursery, stream, "localhost", "/") as ws:
            assert isinstance(ws.local, str)
            assert isinstance(ws.remote, str)
            await exchange(ws)
        nursery.cancel_scope.cancel()
    assert len(seen) == 6
    assert all(isinstance(each, str) and each for each in seen)


async def test_addresses_are_known_after_the_peer_has_gone() -> None:
    seen: list[object] = []
    came, gone, done = trio.Event(), trio.Event(), trio.Event()

    async def handler(request: WebSocketRequest) -> None:
        came.set()
        await gone.wait()
        seen.extend([request.local, request.remote])
        done.set()

    with trio.fail_after(30):
        async with serving(handler) as server:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            name = stream.socket.getsockname()
            await stream.send_all(request_head())
            await came.wait()
            reset(stream)
            await trio.testing.wait_all_tasks_blocked()
            gone.set()
            await done.wait()
    local, remote = seen
    assert remote == Endpoint(ipaddress.ip_address(name[0]), name[1], False)
    assert isinstance(local, Endpoint)


async def test_addresses_of_a_connection_are_known_after_it_has_closed() -> None:
    async with serving() as server, open_websocket_url(url_of(server)) as ws:
        remote = ws.remote
    assert isinstance(remote, Endpoint)
    assert ws.remote == remote


async def test_peer_that_has_gone_before_it_was_served_does_no_harm() -> None:
    async with serving() as server:
        for _ in range(20):
            reset(await trio.open_tcp_stream("127.0.0.1", server.port))
        async with open_websocket_url(url_of(server)) as ws:
            await exchange(ws)


# ---------------------------------------------------------------------------------------------------------- headers


async def test_both_ends_know_the_headers_of_the_opening_handshake() -> None:
    ends: list[WebSocketConnection] = []

    async def handler(request: WebSocketRequest) -> None:
        ws = await request.accept(extra_headers=[(b"X-Server", b"2")])
        ends.append(ws)
        await ws.get_message()

    mine = [(b"X-Client", b"1")]
    async with serving(handler) as server, open_websocket_url(url_of(server), extra_headers=mine) as ws:
        assert (b"x-server", b"2") in ws.handshake_headers
        await ws.send_message("bye")
    assert (b"x-client", b"1") in ends[0].handshake_headers
    assert (b"sec-websocket-version", b"13") in ends[0].handshake_headers
