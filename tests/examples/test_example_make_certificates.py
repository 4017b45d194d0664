"""`examples/make_certificates.py`: its files serve, with our server and our client."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trio
from example_process import STEP_TIMEOUT, running, running_server

from trio_websocket import HandshakeError, open_websocket_url

pytestmark = pytest.mark.slow


async def make(*arguments: str) -> None:
    async with running("make_certificates.py", *arguments) as program:
        assert await program.exit_code() == 0, program.errors


async def test_client_trusts_the_server_whose_certificate_was_made(tmp_path: Path) -> None:
    await make("--folder", str(tmp_path / "new"), "127.0.0.1")
    context = ssl.create_default_context(cafile=str(tmp_path / "new" / "ca.pem"))
    files = (str(tmp_path / "new" / "server.pem"), str(tmp_path / "new" / "server.key"))
    async with running_server("--ssl", *files) as (_, url):
        with trio.fail_after(STEP_TIMEOUT):
            async with open_websocket_url(url, context) as ws:
                await ws.send_message("secret")
                assert await ws.get_message() == "secret"


async def test_certificate_is_for_the_given_names_only(tmp_path: Path) -> None:
    await make("--folder", str(tmp_path), "elsewhere.example")
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    async with running_server("--ssl", str(tmp_path / "server.pem"), str(tmp_path / "server.key")) as (
        _,
        url,
    ):
        with trio.fail_after(STEP_TIMEOUT):
            with pytest.raises(HandshakeError):
                async with open_websocket_url(url, context):
                    pass


async def test_keys_are_replaced_and_for_their_owner_only(tmp_path: Path) -> None:
    await make("--folder", str(tmp_path))
    first = (tmp_path / "server.key").read_bytes()
    await make("--folder", str(tmp_path))
    assert (tmp_path / "server.key").read_bytes() != first
    assert (tmp_path / "server.key").stat().st_mode & 0o077 == 0


async def test_missing_trustme_is_named() -> None:
    # -S -E: without site-packages and PYTHONPATH, a Python as it comes.
    async with running("make_certificates.py", flags=("-S", "-E")) as program:
        assert await program.exit_code() == 1
        assert "pip install trustme" in program.errors
        assert "Traceback" not in program.errors
