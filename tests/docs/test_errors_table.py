"""The table of what keeps a connection from opening, in docs/errors.rst: each row is made to happen, and says just that."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
import trio.testing
import trustme
from certificates import Certificates
from hostile import reset
from support import HOST, RawPeer, serving

import trio_websocket
from trio_websocket import HandshakeError, WebSocketRequest, open_websocket_url

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.rst"

# Values in the messages, and `...` for what others have to say.
VALUES = {
    "HOST": r"[a-z0-9.:-]+",
    "PORT": r"[0-9]+",
    "ADDRESS": r"[0-9a-f.:]+",
    "PATH": r"/\S+",
    "SECONDS": r"[0-9]+",
    "TEXT": r"[^']+",
}


class Row(NamedTuple):
    """A row of the table."""

    error: str
    message: str

    @property
    def pattern(self) -> str:
        """The message as a regular expression; the dots behind a quoted text are its own."""
        parts = re.split(rf"({'|'.join(VALUES)}|(?<!')\.\.\.)", self.message)
        return "".join(VALUES.get(part) or (".+" if part == "..." else re.escape(part)) for part in parts)


def read_table() -> dict[str, Row]:
    """The table's rows, by their situations."""
    text = PAGE.read_text("utf-8").partition(":name: situations")[2].partition("\n\nProxies")[0]
    rows = re.findall(r"^   \* - (.+)\n     - `(\w+)`\n     - ``(.+)``$", text, re.MULTILINE)
    assert len(rows) == text.count("   * - ") - 1, "a row that is not understood"
    return {situation: Row(error, message) for situation, error, message in rows}


TABLE = read_table()


class Stage:
    """What a situation may need.

    Args:
        certificates: Those of this run.
        folder: An empty one.
    """

    def __init__(self, certificates: Certificates, folder: Path) -> None:
        self.certificates = certificates
        self.path = folder / "socket"
        self.nursery: trio.Nursery

    def answer_lookups(self, *answers: object) -> None:
        """Have names looked up by what is given: addresses, one error, or nothing, which takes for ever."""

        class Resolver(trio.abc.HostnameResolver):
            async def getaddrinfo(self, *args: object, **options: object) -> list[object]:  # type: ignore[override]
                if not answers:
                    await trio.sleep_forever()
                if isinstance(answers[0], BaseException):
                    raise answers[0]
                return list(answers)

            async def getnameinfo(self, *args: object) -> tuple[str, str]:
                raise NotImplementedError

        trio.socket.set_custom_hostname_resolver(Resolver())

    async def serve_raw(self, handle: Callable[[trio.SocketStream], Awaitable[None]]) -> int:
        """A server that does what `handle` does; its port."""

        async def serve(stream: trio.SocketStream) -> None:
            async with stream:
                await handle(stream)

        [listener] = await trio.open_tcp_listeners(0, host=HOST)
        self.nursery.start_soon(trio.serve_listeners, serve, [listener])
        port: int = listener.socket.getsockname()[1]
        return port

    async def answer(self, answer: bytes) -> str:
        """A server that answers every request like this; its URL."""

        async def handle(stream: trio.SocketStream) -> None:
            await RawPeer(stream, is_client=False).read_head()
            await stream.send_all(answer)

        return f"ws://{HOST}:{await self.serve_raw(handle)}/"

    async def fail_tls(
        self, server: ssl.SSLContext, client: ssl.SSLContext, host: str = "localhost"
    ) -> HandshakeError:
        """Connect to a server of ours that has TLS."""
        async with serving(ssl_context=server) as running:
            self.answer_lookups((socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, running.port)))
            return await connect(f"wss://{host}:{running.port}/", client)


async def connect(url: str, context: ssl.SSLContext | None = None, **options: float) -> HandshakeError:
    """What keeps it from opening."""
    with pytest.raises(HandshakeError) as caught:
        await open_websocket_url(url, context, **options).__aenter__()  # type: ignore[arg-type]
    return caught.value


async def unused_port() -> int:
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    async with listener:
        port: int = listener.socket.getsockname()[1]
        return port


async def wait(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


async def never_connect(*args: object) -> None:
    await trio.sleep_forever()


@contextmanager
def unreachable(addresses: str) -> Iterator[None]:
    """Where there is no such network. Nothing is sent: on the machine of a test, there may be one."""
    connect_to = trio.open_tcp_stream

    async def open_tcp_stream(host: str, port: int) -> trio.SocketStream:
        if host.startswith(addresses):
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        return await connect_to(host, port)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio, "open_tcp_stream", open_tcp_stream)
        yield


@contextmanager
def as_nobody() -> Iterator[None]:
    """Whom permissions hold for, unlike root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


Situation = Callable[[Stage], Awaitable[HandshakeError]]
SITUATIONS: dict[str, Situation] = {}


def situation(name: str) -> Callable[[Situation], Situation]:
    def note(function: Situation) -> Situation:
        SITUATIONS[name] = function
        return function

    return note


# ------------------------------------------------------------------------------------------------------- no connection


@situation("the host's name is unknown")
async def unknown_name(stage: Stage) -> HandshakeError:
    stage.answer_lookups(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    return await connect("ws://nowhere.test/")


@situation("the name servers do not answer")
async def no_name_server(stage: Stage) -> HandshakeError:
    stage.answer_lookups(socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))
    return await connect("ws://nowhere.test/")


@situation("nobody listens on the port")
async def refused(stage: Stage) -> HandshakeError:
    return await connect(f"ws://{HOST}:{await unused_port()}/")


@situation("no route leads to the host")
async def no_route(stage: Stage) -> HandshakeError:
    with unreachable("192.0.2."):
        return await connect("ws://192.0.2.1/")


@situation("each of the host's addresses fails in its own way")
async def two_addresses(stage: Stage) -> HandshakeError:
    port = await unused_port()
    stage.answer_lookups(
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, port)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", port, 0, 0)),
    )
    with unreachable("2001:"):
        return await connect(f"ws://two.test:{port}/")


@situation("the Unix socket is not there")
async def no_file(stage: Stage) -> HandshakeError:
    return await connect(f"ws+unix:{stage.path}")


@situation("the Unix socket is left over from a server that was killed")
async def stale_file(stage: Stage) -> HandshakeError:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stage.path))
    return await connect(f"ws+unix:{stage.path}")


@situation("the Unix socket's permissions are for others")
async def no_permission(stage: Stage) -> HandshakeError:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(stage.path))
        sock.listen()
        stage.path.chmod(0)
        with as_nobody():
            return await connect(f"ws+unix:{stage.path}")


# ----------------------------------------------------------------------------------------------------------- too long


@situation("the name lookup takes too long")
async def slow_lookup(stage: Stage) -> HandshakeError:
    stage.answer_lookups()
    return await connect("ws://slow.test/", connect_timeout=7)


@situation("connecting takes too long")
async def slow_network(stage: Stage) -> HandshakeError:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio, "open_tcp_stream", never_connect)
        return await connect("ws://192.0.2.1/", connect_timeout=7)


@situation("TLS takes too long")
async def slow_tls(stage: Stage) -> HandshakeError:
    return await connect(f"wss://{HOST}:{await stage.serve_raw(wait)}/", connect_timeout=7)


@situation("the server's answer takes too long")
async def slow_answer(stage: Stage) -> HandshakeError:
    return await connect(f"ws://{HOST}:{await stage.serve_raw(wait)}/", connect_timeout=7)


# ---------------------------------------------------------------------------------------------------------------- TLS


@situation("the certificate is for another host")
async def other_host(stage: Stage) -> HandshakeError:
    return await stage.fail_tls(
        stage.certificates.server_context(), stage.certificates.client_context(), "elsewhere.test"
    )


@situation("the certificate has expired")
async def expired(stage: Stage) -> HandshakeError:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    then = datetime(2020, 1, 1, tzinfo=timezone.utc)
    stage.certificates.authority.issue_cert("localhost", not_after=then).configure_cert(server)
    return await stage.fail_tls(server, stage.certificates.client_context())


@situation("the certificate's authority is unknown")
async def unknown_authority(stage: Stage) -> HandshakeError:
    return await stage.fail_tls(stage.certificates.server_context(), ssl.create_default_context())


@situation("the certificate is signed by itself")
async def self_signed(stage: Stage) -> HandshakeError:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority = trustme.CA()
    with authority.private_key_pem.tempfile() as key, authority.cert_pem.tempfile() as certificate:
        server.load_cert_chain(certificate, key)
    return await stage.fail_tls(server, ssl.create_default_context())


@situation("the server wants a certificate of the client's")
async def no_client_certificate(stage: Stage) -> HandshakeError:
    server = stage.certificates.server_context()
    server.verify_mode = ssl.CERT_REQUIRED
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    stage.certificates.authority.configure_trust(server)
    return await stage.fail_tls(server, stage.certificates.client_context())


@situation("no TLS version in common")
async def no_version(stage: Stage) -> HandshakeError:
    server, client = stage.certificates.server_context(), stage.certificates.client_context()
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    return await stage.fail_tls(server, client)


@situation("wss: to a port that has no TLS")
async def no_tls(stage: Stage) -> HandshakeError:
    async with serving() as server:
        return await connect(f"wss://{HOST}:{server.port}/")


@situation("ws: to a port of this library that has TLS")
async def forgotten_s(stage: Stage) -> HandshakeError:
    async with serving(ssl_context=stage.certificates.server_context()) as server:
        return await connect(f"ws://{HOST}:{server.port}/")


@situation("ws: to a port that answers with TLS")
async def alert(stage: Stage) -> HandshakeError:
    return await connect(await stage.answer(b"\x15\x03\x01\x00\x02\x02\x0a"))


@situation("the connection is reset in the TLS handshake")
async def reset_in_tls(stage: Stage) -> HandshakeError:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        reset(stream)

    return await connect(f"wss://{HOST}:{await stage.serve_raw(handle)}/")


# ------------------------------------------------------------------------------------------------------------- answers


@situation("the connection is reset before the answer")
async def reset_before_answer(stage: Stage) -> HandshakeError:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some(1)
        reset(stream)

    return await connect(f"ws://{HOST}:{await stage.serve_raw(handle)}/")


@situation("the server hangs up")
async def hung_up(stage: Stage) -> HandshakeError:
    return await connect(await stage.answer(b""))


async def reject(status_code: int, body: bytes) -> HandshakeError:
    async def handler(request: WebSocketRequest) -> None:
        await request.reject(status_code, body=body)

    async with serving(handler) as server:
        return await connect(f"ws://{HOST}:{server.port}/")


@situation("another status than 101")
async def rejected(stage: Stage) -> HandshakeError:
    return await reject(503, b"")


@situation("another status than 101, with a text")
async def rejected_with_text(stage: Stage) -> HandshakeError:
    return await reject(403, b"members only\x1b[31m\n")


@situation("another status than 101, with a long text")
async def rejected_with_long_text(stage: Stage) -> HandshakeError:
    return await reject(403, b"members only " * 100)


@situation("no HTTP at all")
async def no_http(stage: Stage) -> HandshakeError:
    return await connect(await stage.answer(b"SSH-2.0-OpenSSH_9.2\x1b\r\n"))


# --------------------------------------------------------------------------------------------------------- the table


def test_each_row_has_its_situation() -> None:
    assert list(TABLE) == list(SITUATIONS)


@pytest.mark.parametrize("name", SITUATIONS)
async def test_what_happens_is_what_the_table_says(
    name: str, certificates: Certificates, tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    row = TABLE[name]
    stage = Stage(certificates, tmp_path)
    async with trio.open_nursery() as stage.nursery:
        error = await SITUATIONS[name](stage)
        stage.nursery.cancel_scope.cancel()
    assert type(error) is getattr(trio_websocket, row.error)
    assert re.fullmatch(row.pattern, str(error)), f"{error}\n{row.pattern}"
    # Fit to be shown.
    assert str(error).isprintable()
    assert len(str(error)) < 400
