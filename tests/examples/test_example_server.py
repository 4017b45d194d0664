"""`examples/server.py` in a process of its own, with the library's client."""

from __future__ import annotations

import signal

import pytest
import trio
from certificates import CertificateFiles, Certificates
from example_process import STEP_TIMEOUT, running, running_server

from trio_websocket import ConnectionClosed, open_websocket_url

pytestmark = pytest.mark.slow


async def test_server_sends_text_and_bytes_back() -> None:
    async with running_server() as (server, url):
        with trio.fail_after(STEP_TIMEOUT):
            async with open_websocket_url(url + "/path?query") as ws:
                for message in ("Grüße", b"\x00\xff"):
                    await ws.send_message(message)
                    assert await ws.get_message() == message
        server.signal(signal.SIGINT)
        assert await server.exit_code() == 0
        assert "connected from 127.0.0.1 port" in server.errors
        assert "path /path?query, subprotocol None" in server.errors
        assert "closed with 1000 NORMAL_CLOSURE after 2 messages" in server.errors


async def test_server_reverses_messages() -> None:
    async with running_server("--reverse") as (_, url):
        with trio.fail_after(STEP_TIMEOUT):
            async with open_websocket_url(url) as ws:
                await ws.send_message("abc")
                assert await ws.get_message() == "cba"
                await ws.send_message(b"abc")
                assert await ws.get_message() == b"cba"


async def test_server_takes_its_favourite_subprotocol() -> None:
    async with running_server("--subprotocol", "best", "--subprotocol", "good") as (_, url):
        with trio.fail_after(STEP_TIMEOUT):
            async with open_websocket_url(url, subprotocols=["other", "good", "best"]) as ws:
                assert ws.subprotocol == "best"
            async with open_websocket_url(url, subprotocols=["other"]) as ws:
                assert ws.subprotocol is None


async def test_server_speaks_tls(certificates: Certificates, certificate_files: CertificateFiles) -> None:
    files = (str(certificate_files.certificate), str(certificate_files.key))
    async with running_server("--ssl", *files) as (_, url):
        assert url.startswith("wss://")
        with trio.fail_after(STEP_TIMEOUT):
            async with open_websocket_url(url, certificates.client_context()) as ws:
                await ws.send_message("secret")
                assert await ws.get_message() == "secret"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_stopped_server_tells_its_clients(number: signal.Signals) -> None:
    async with running_server() as (server, url):
        with trio.fail_after(STEP_TIMEOUT):
            async with open_websocket_url(url) as ws:
                server.signal(number)
                with pytest.raises(ConnectionClosed) as caught:
                    await ws.get_message()
                assert caught.value.reason is not None and caught.value.reason.code == 1001
        assert await server.exit_code() == 0


async def test_server_says_that_its_port_is_taken() -> None:
    async with running_server() as (_, url), running("server.py", "--port", url.rpartition(":")[2]) as second:
        assert await second.exit_code() == 1
        assert second.errors.startswith("Cannot listen on 127.0.0.1 port ")
        assert "Traceback" not in second.errors
