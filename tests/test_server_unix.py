"""Serving connections on a Unix socket, and connecting to it by URL."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from checkpoints import Attack, contained, torture
from support import RawPeer, check_echo, echo, request_head

from trio_websocket import (
    CloseReason,
    ConnectionFailed,
    ConnectionTimeout,
    HandshakeError,
    WebSocketRequest,
    WebSocketServer,
    connect_websocket_url,
    open_websocket_url,
    serve_websocket_unix,
)

pytestmark = pytest.mark.usefixtures("transport")

settle = trio.testing.wait_all_tasks_blocked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the socket is to be."""
    return tmp_path / "a socket"


def url_of(path: Path, resource: str = "/") -> str:
    return f"{path.as_uri().replace('file:', 'ws+unix:')}:{resource}"


@asynccontextmanager
async def serving_unix(path: Path, handler: Any = echo, **options: Any) -> AsyncIterator[WebSocketServer]:
    async def serve(task_status: trio.TaskStatus[WebSocketServer]) -> None:
        await serve_websocket_unix(handler, path, task_status=task_status, **options)

    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve)
        nursery.cancel_scope.cancel()


async def test_url_leads_to_the_server_and_both_know_where_they_are(path: Path) -> None:
    seen: list[object] = []

    async def handler(request: WebSocketRequest) -> None:
        seen.extend([request.local, request.remote, request.path])
        ws = await request.accept()
        seen.extend([ws.local, ws.remote])
        async for message in ws:
            await ws.send_message(message)

    where = f"unix:{path.parent}/a%20socket"
    async with serving_unix(path, handler) as server:
        assert server.listeners == [where]
        with pytest.raises(RuntimeError, match="the listener has no port: unix:/"):
            _ = server.port
        async with open_websocket_url(url_of(path, "/chat?a=b")) as ws:
            await check_echo(ws)
            assert (ws.local, ws.remote, ws.path) == ("unix:", where, "/chat?a=b")
    assert seen == [where, "unix:", "/chat?a=b", where, "unix:"]


async def test_server_hears_the_resource_and_localhost(path: Path) -> None:
    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(str(path))
        sock.listen()

        async def answer() -> None:
            client, _ = await sock.accept()
            peer = RawPeer(trio.SocketStream(client), is_client=False)
            heads.append(await peer.read_head())
            await peer.stream.aclose()

        heads: list[bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            with pytest.raises(HandshakeError):
                await open_websocket_url(url_of(path, "/chat?a=b")).__aenter__()
    assert heads[0].startswith(b"GET /chat?a=b HTTP/1.1\r\n")
    assert b"\r\nHost: localhost\r\n" in heads[0]


async def test_connection_may_be_in_a_nursery(path: Path) -> None:
    async with (
        serving_unix(path),
        trio.open_nursery() as nursery,
        await connect_websocket_url(nursery, url_of(path)) as ws,
    ):
        await check_echo(ws)


async def test_many_clients_are_served_at_once(path: Path) -> None:
    async def client() -> None:
        async with open_websocket_url(url_of(path)) as ws:
            await check_echo(ws)

    async with serving_unix(path), trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(client)


async def test_only_the_owner_may_connect_unless_the_mode_says_more(path: Path) -> None:
    async with serving_unix(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with serving_unix(path, mode=0o666):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666


async def test_server_that_ends_leaves_no_file_and_tells_its_clients(path: Path) -> None:
    reasons: list[CloseReason] = []
    ready = trio.Event()

    async def client() -> None:
        async with open_websocket_url(url_of(path)) as ws:
            await check_echo(ws)
            ready.set()
            reasons.append(await ws.wait_closed())

    async with trio.open_nursery() as clients:
        async with serving_unix(path):
            clients.start_soon(client)
            await ready.wait()
        assert not path.exists()
    assert [reason.code for reason in reasons] == [1001]


async def test_second_server_is_refused_and_the_first_goes_on(path: Path) -> None:
    async with serving_unix(path):
        with pytest.raises(OSError, match="a server listens there already") as caught:
            await serve_websocket_unix(echo, path)
        assert caught.value.errno == errno.EADDRINUSE
        async with open_websocket_url(url_of(path)) as ws:
            await check_echo(ws)


async def test_wrong_limit_leaves_no_file(path: Path) -> None:
    with pytest.raises(ValueError, match="write_backlog"):
        await serve_websocket_unix(echo, path, write_backlog=-1)
    assert os.listdir(path.parent) == []


async def test_log_says_where_it_serves_and_who_comes(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trio-websocket")
    async with serving_unix(path), open_websocket_url(url_of(path)) as ws:
        await check_echo(ws)
    where = f"unix:{path.parent}/a%20socket"
    assert f"serving on {where}" in caplog.messages
    assert any(text.endswith(f": open, '/', {where} to unix:") for text in caplog.messages)


async def test_client_bound_to_a_name_of_its_own_cannot_forge_the_log(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio-websocket")
    async with serving_unix(path):
        with trio.socket.socket(trio.socket.AF_UNIX) as sock:
            await sock.bind(str(path.parent / "x\nforged\x1b[31m"))
            await sock.connect(str(path))
            peer = RawPeer(trio.SocketStream(sock), is_client=True)
            await peer.stream.send_all(request_head())
            await peer.read_head()
    assert all(text.isprintable() for text in caplog.messages)
    assert any("x%0Aforged%1B%5B31m" in text for text in caplog.messages)


async def test_server_that_never_answers_is_a_timeout_that_says_where(
    path: Path, mock_clock: trio.testing.MockClock
) -> None:
    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(str(path))
        sock.listen()
        with pytest.raises(ConnectionTimeout) as caught:
            async with open_websocket_url(url_of(path), connect_timeout=7):
                pass
    assert str(caught.value) == (
        f"no WebSocket connection to unix:{path.parent}/a%20socket within connect_timeout=7 seconds:"
        " still waiting for the server's answer"
    )


async def test_no_server_says_so(path: Path) -> None:
    with pytest.raises(ConnectionFailed, match="a%20socket: there is no such file"):
        await open_websocket_url(url_of(path)).__aenter__()


def test_tls_and_proxies_make_no_sense_there() -> None:
    import ssl

    with pytest.raises(ValueError, match="makes no sense"):
        open_websocket_url("ws+unix:/run/app.sock", ssl.create_default_context())
    with pytest.raises(ValueError, match="no proxy leads to a Unix socket"):
        open_websocket_url("ws+unix:/run/app.sock", proxy="http://127.0.0.1:3128")


async def test_proxy_of_the_environment_is_not_for_unix_sockets(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:1")
    async with serving_unix(path), open_websocket_url(url_of(path), proxy=True) as ws:
        await check_echo(ws)


# ----------------------------------------------------------------------------------------------------- cancelled anywhere


def test_server_cancelled_anywhere_leaves_no_file_and_no_socket(path: Path) -> None:
    async def scenario(attack: Attack) -> None:
        async def client() -> None:
            try:
                async with open_websocket_url(url_of(path)) as ws:
                    await ws.get_message()
            except Exception:
                pass

        async def serve() -> None:
            async with trio.open_nursery() as nursery:
                await nursery.start(serve_websocket_unix, handler, path)
                await over.wait()
                nursery.cancel_scope.cancel()

        async def handler(request: WebSocketRequest) -> None:
            ws = await request.accept()
            await ws.send_message("hello")
            over.set()

        over = trio.Event()
        async with contained(), trio.open_nursery() as clients:
            clients.start_soon(client)
            await attack.run(serve)
        assert os.listdir(path.parent) == []

    torture(scenario)


def test_client_cancelled_anywhere_leaves_no_socket(path: Path) -> None:
    async def scenario(attack: Attack) -> None:
        async def connect() -> None:
            async with open_websocket_url(url_of(path)) as ws:
                await check_echo(ws)

        async with serving_unix(path):
            await settle()
            await attack.run(connect)

    torture(scenario)
