"""`_cli._options`: what all clients take."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import pytest
from certificates import CertificateFiles, Certificates
from cli_support import run_cli, run_here
from support import echo, serving, url_of

from trio_websocket import Heartbeat, WebSocketRequest
from trio_websocket._cli import _options
from trio_websocket._cli._options import Target

URL = "ws://127.0.0.1:9/"


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What connections were asked for with; none is opened."""
    calls: list[dict[str, Any]] = []

    def open_nothing(url: str, context: object, **options: Any) -> contextlib.AbstractContextManager[None]:
        calls.append({"url": url, "context": context, **options})
        return contextlib.nullcontext()

    monkeypatch.setattr(_options, "open_websocket_url", open_nothing)
    monkeypatch.setattr(_options, "open_reconnecting_websocket_url", open_nothing)
    return calls


def test_options_become_the_arguments_of_the_library(asked_for: list[dict[str, Any]]) -> None:
    target = Target(
        URL,
        header=((b"A", b"1"),),
        subprotocol=("chat",),
        timeout=3,
        heartbeat=5,
        compression=True,
        proxy="http://proxy:1",
        max_redirects=2,
        max_size=100,
    )
    target.open()
    target.open_socket(reconnect=False)
    target.open_socket(reconnect=True)
    assert (
        asked_for
        == [
            {
                "url": URL,
                "context": None,
                "subprotocols": ("chat",),
                "extra_headers": ((b"A", b"1"),),
                "connect_timeout": 3,
                "disconnect_timeout": 3,
                "max_message_size": 100,
                "message_queue_size": 256,
                "compression": True,
                "max_redirects": 2,
                "heartbeat": Heartbeat(5, 5),
                "proxy": "http://proxy:1",
            }
        ]
        * 3
    )


def test_proxy_env_stands_for_the_environment(asked_for: list[dict[str, Any]]) -> None:
    Target(URL, proxy="env").open()
    assert asked_for[0]["proxy"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["http://a/"], "ws"),
        ([URL, "-H", "no colon"], "'no colon' is not NAME:VALUE"),
        ([URL, "-H", "bad name: x"], "bad name"),
        ([URL, "--timeout", "0"], "0"),
        ([URL, "--insecure"], "ws:"),
        ([URL, "--ca", __file__], "has no certificates in PEM form"),
        ([URL, "--ca", "/there/is/no/such"], "does not exist"),
        ([URL, "--proxy", "gopher://x"], "gopher"),
        ([URL, "--nonsense"], "--nonsense"),
        ([], "URL"),
    ],
)
def test_what_can_not_be_right_is_exit_code_2(arguments: list[str], words: str) -> None:
    ended = run_here("ping", *arguments)
    assert ended.code == 2
    assert words in ended.errors


async def test_header_and_subprotocol_reach_the_server() -> None:
    seen: list[Any] = []

    async def note(request: WebSocketRequest) -> None:
        seen.append((dict(request.headers)[b"x-token"], request.proposed_subprotocols))
        await request.reject(403)

    async with serving(note) as server:
        ended = await run_cli("listen", url_of(server), "-H", "X-Token: a:b", "-s", "v2", "-s", "v1")
    assert seen == [(b"a:b", ("v2", "v1"))]
    assert ended.code == 1
    assert "403" in ended.errors


@pytest.mark.parametrize("trust", ["--ca", "--insecure", None])
async def test_tls_server_is_trusted_if_asked_to(
    certificates: Certificates, certificate_files: CertificateFiles, trust: str | None
) -> None:
    options = {"--ca": ["--ca", str(certificate_files.ca)], "--insecure": ["--insecure"], None: []}[trust]
    async with serving(echo, certificates.server_context()) as server:
        ended = await run_cli("send", url_of(server), "hello", "--wait", "1", *options)
    assert ended.code == (1 if trust is None else 0)
    assert ended.output == (b"" if trust is None else b"hello\n")
    assert ended.errors.count("\n") == (1 if trust is None else 0)


async def test_header_is_sent_as_the_bytes_that_were_given() -> None:
    values: list[bytes] = []

    async def note(request: WebSocketRequest) -> None:
        values.extend(value for name, value in request.headers if name == b"x")
        await request.accept()

    async with serving(note) as server:
        ended = await run_cli("listen", url_of(server), "-H", os.fsdecode(b"X: \xff"))
    assert (ended.code, values) == (0, [b"\xff"])


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize(
    "option",
    [
        ("listen", "--time"),
        ("listen", "--timeout"),
        ("connect", "--wait"),
        ("ping", "--interval"),
        ("bench", "--rate"),
    ],
    ids=" ".join,
)
def test_number_has_to_be_finite(option: tuple[str, str], number: str) -> None:
    command, name = option
    ended = run_here(command, name, number, URL)
    assert ended.code == 2
    assert ended.errors.endswith(f"{number!r} is no finite number")
