"""`examples/client.py`, as a user runs it: lines into stdin, and what comes out."""

from __future__ import annotations

import functools
import signal

import pytest
import trio
from certificates import CertificateFiles, Certificates
from example_process import running, running_server

from trio_websocket import WebSocketRequest, serve_websocket

pytestmark = pytest.mark.slow


async def test_client_sends_lines_and_shows_what_comes_back() -> None:
    async with running_server("--reverse") as (_, url), running("client.py", url) as client:
        await client.expect(r"connected to ws://")
        await client.type("hello")
        await client.expect(r"< olleh\n")
        await client.type("send ping")
        await client.expect(r"< gnip\n")


async def test_client_shows_how_long_a_pong_took() -> None:
    async with running_server() as (_, url), running("client.py", url) as client:
        await client.type("ping")
        await client.expect(r"\* pong after \d+\.\d ms\n")
        await client.type("ping payload")
        await client.expect(r"\* pong after \d+\.\d ms\n")
        await client.type("ping " + "x" * 126)
        await client.expect(r"! a ping carries at most 125 bytes\n")


async def test_end_of_input_closes_with_1000() -> None:
    async with running_server() as (server, url), running("client.py", url) as client:
        await client.expect("connected")
        await client.end_input()
        assert await client.exit_code() == 0
        assert client.output.endswith("* closed\n")
        assert client.errors == ""
        server.signal(signal.SIGINT)
        await server.exit_code()
        assert "closed with 1000 NORMAL_CLOSURE after 0 messages" in server.errors


async def test_close_command_sends_its_code_and_reason() -> None:
    async with running_server() as (server, url), running("client.py", url) as client:
        await client.type("close 1006")
        await client.expect("! a close code is")
        await client.type("close 4000 " + "x" * 124)
        await client.expect("! a close reason has at most 123 bytes")
        await client.type("close 4000 so long")
        assert await client.exit_code() == 0
        server.signal(signal.SIGINT)
        await server.exit_code()
        assert "closed with 4000 PRIVATE_RESERVED: so long" in server.errors


async def test_ctrl_c_ends_the_client_without_a_traceback() -> None:
    async with running_server() as (_, url), running("client.py", url) as client:
        await client.expect("connected")
        client.signal(signal.SIGINT)
        # Its stdin is still open: the thread that waits there must not keep the program.
        assert await client.exit_code() == 130
        assert client.errors == ""


async def test_client_ends_when_the_server_closes() -> None:
    async with running_server() as (server, url), running("client.py", url) as client:
        await client.expect("connected")
        server.signal(signal.SIGTERM)
        await client.expect(r"\* closed by the other side: 1001 GOING_AWAY")
        assert await client.exit_code() == 0
        assert client.errors == ""


async def test_client_says_why_it_cannot_connect() -> None:
    # A socket that is bound but does not listen: its port is taken, and refuses.
    with trio.socket.socket() as bound:
        await bound.bind(("127.0.0.1", 0))
        async with running("client.py", f"ws://127.0.0.1:{bound.getsockname()[1]}") as client:
            await client.expect("! no connection: .*[Rr]efused")
            assert await client.exit_code() == 1
            assert client.errors == ""


async def test_client_rejects_a_url_of_another_scheme() -> None:
    async with running("client.py", "gopher://127.0.0.1") as client:
        await client.expect("! no connection: ")
        assert await client.exit_code() == 1


async def test_heartbeat_ends_the_client_when_the_server_goes_silent() -> None:
    async with running_server() as (server, url):
        async with running(
            "client.py", "--heartbeat", "--timeout", "0.2", "--interval", "0.01", url
        ) as client:
            await client.type("hello")
            await client.expect("< hello")
            server.signal(signal.SIGSTOP)
            await client.expect(r"! the server did not answer a ping within 0\.2 s\n")
            assert await client.exit_code() == 1
            assert client.errors == ""
        server.signal(signal.SIGCONT)


async def test_client_trusts_the_given_authority_only(
    certificates: Certificates, certificate_files: CertificateFiles
) -> None:
    async def handle(request: WebSocketRequest) -> None:
        ws = await request.accept()
        await ws.send_message("welcome")

    async with trio.open_nursery() as nursery:
        serve = functools.partial(serve_websocket, handle, "127.0.0.1", 0, certificates.server_context())
        url = f"wss://localhost:{(await nursery.start(serve)).port}"
        async with running("client.py", "--cacert", str(certificate_files.ca), url) as client:
            await client.expect("< welcome")
        async with running("client.py", "--insecure", url) as client:
            await client.expect("< welcome")
        async with running("client.py", url) as client:
            await client.expect("! no connection: .*certificate")
            assert await client.exit_code() == 1
        nursery.cancel_scope.cancel()
