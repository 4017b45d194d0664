"""`trio-websocket serve`."""

from __future__ import annotations

import os
import re
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from certificates import CertificateFiles, Certificates
from cli_support import program, read_all, read_until, run_cli, run_here
from support import HOST, RawPeer, check_echo, connected_pair, request_head

from trio_websocket import open_websocket_url
from trio_websocket._cli._output import Console
from trio_websocket._cli._serve import _Broadcast, _serve, _tls
from trio_websocket._cli._static import Pages


class Heard(Console):
    """A console whose stdout is here."""

    def __init__(self) -> None:
        super().__init__()
        self.lines, self.heard = trio.open_memory_channel[str](10)
        self.stdout.send = self._take  # type: ignore[method-assign, assignment]

    async def _take(self, text: str) -> None:
        await self.lines.send(text)


@asynccontextmanager
async def served(
    host: str = HOST,
    *,
    context: ssl.SSLContext | None = None,
    pages: Pages | None = None,
    is_broadcast: bool = False,
    heartbeat: float | None = None,
    max_size: int = 2**20,
) -> AsyncIterator[str]:
    """A server of the command's in this Trio; gives what it says first."""
    console = Heard()

    async def serve() -> None:
        await _serve(
            console,
            host,
            0,
            context,
            pages,
            is_broadcast=is_broadcast,
            compression=True,
            heartbeat=heartbeat,
            max_size=max_size,
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield await console.heard.receive()
        nursery.cancel_scope.cancel()


def url_in(said: str) -> str:
    return said.split()[2]


async def test_server_says_where_it_is_and_echoes() -> None:
    async with served(heartbeat=10) as said:
        assert said.startswith(f"listening on ws://{HOST}:")
        async with open_websocket_url(url_in(said), compression=True) as ws:
            await check_echo(ws)


async def test_server_speaks_tls(certificates: Certificates, certificate_files: CertificateFiles) -> None:
    context = _tls(str(certificate_files.certificate), str(certificate_files.key))
    async with served(context=context) as said:
        assert said.startswith("listening on wss://")
        async with open_websocket_url(url_in(said), certificates.client_context()) as ws:
            await check_echo(ws)


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    """A home page."""
    (tmp_path / "index.html").write_text("<p>home", "utf-8")
    return Pages(tmp_path.resolve())


async def test_server_has_pages_on_the_same_port(pages: Pages) -> None:
    async with served(pages=pages) as said:
        ws_url, page_url = url_in(said), said.split()[-1]
        assert page_url == ws_url.replace("ws", "http") + "/"
        async with open_websocket_url(ws_url) as ws:
            await check_echo(ws)
        port = int(ws_url.rpartition(":")[2])
        async with await trio.open_tcp_stream(HOST, port) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await RawPeer(stream, is_client=True).read_to_end()).endswith(b"<p>home")


async def test_ipv6_address_is_in_brackets() -> None:
    async with served("::1") as said:
        assert said.startswith("listening on ws://[::1]:")
        async with open_websocket_url(url_in(said)) as ws:
            await check_echo(ws)


async def test_message_that_is_too_large_is_refused() -> None:
    async with served(max_size=10) as said, open_websocket_url(url_in(said)) as ws:
        await ws.send_message("x" * 11)
        assert (await ws.wait_closed()).code == 1009


async def test_broadcast_reaches_all_others() -> None:
    async with (
        served(is_broadcast=True) as said,
        open_websocket_url(url_in(said)) as one,
        open_websocket_url(url_in(said)) as two,
    ):
        # Each has its handler as soon as it has its pong.
        await one.ping()
        await two.ping()
        await one.send_message("from one")
        assert await two.get_message() == "from one"
        await two.send_message("from two")
        assert await one.get_message() == "from two"
        await two.aclose()
        await one.send_message("to nobody")
        await one.ping()


async def test_broadcast_drops_who_does_not_read() -> None:
    async with served(is_broadcast=True, max_size=2**24) as said:
        port = int(url_in(said).rpartition(":")[2])
        stuck = RawPeer(await trio.open_tcp_stream(HOST, port), is_client=True)
        await stuck.stream.send_all(request_head())
        await stuck.read_head()
        async with open_websocket_url(url_in(said)) as ws:
            for _ in range(30):
                await ws.send_message(bytes(2**20))
                await ws.ping()
            frames = [await stuck.read_frame()]
            while frames[-1].opcode != 8:
                frames.append(await stuck.read_frame())
        assert frames[-1].payload == b"\x03\xf0too slow"
        await stuck.stream.aclose()


async def test_broadcast_passes_over_who_has_just_gone() -> None:
    async with trio.open_nursery() as nursery, connected_pair() as pair:
        await pair.client.aclose()
        _Broadcast(nursery)._send(pair.client, "too late")


def test_key_needs_a_certificate() -> None:
    assert run_here("serve", "--key", __file__).code == 2


def test_file_without_a_certificate_is_refused() -> None:
    ended = run_here("serve", "--certificate", __file__)
    assert ended.code == 2
    assert "can't be used" in ended.errors


async def test_port_that_is_taken_is_told() -> None:
    async with served() as said:
        ended = await run_cli("serve", "-p", url_in(said).rpartition(":")[2])
    assert ended.code == 1
    assert re.fullmatch(r"trio-websocket: cannot listen on 127\.0\.0\.1 port \d+: .*in use\n", ended.errors)


async def test_host_that_can_not_be_is_told() -> None:
    ended = await run_cli("serve", "--host", os.fsdecode(b"\xff"))
    assert ended.code == 1
    assert ended.errors.startswith("trio-websocket: cannot listen on \\udcff port 8000: ")


@pytest.mark.slow
async def test_sigterm_tells_the_clients_and_ends_it_without_a_word(
    certificate_files: CertificateFiles, certificates: Certificates
) -> None:
    files = ["--certificate", str(certificate_files.certificate), "--key", str(certificate_files.key)]
    async with program("serve", "-p", "0", "--static", __file__, *files) as process:
        said = await read_until(process.stdout, "pages on")
        async with open_websocket_url(url_in(said), certificates.client_context()) as ws:
            await check_echo(ws)
            process.send_signal(signal.SIGTERM)
            assert (await ws.wait_closed()).code == 1001
        assert await read_all(process.stderr) == ""
        assert await process.wait() == 143
