"""The code in README.md and docs/ runs as it stands, and the reference has every public name.

The programs name fixed ports. They run unedited, on a network in memory that has these ports to itself.
"""

from __future__ import annotations

import errno
import importlib
import json
import logging
import math
import re
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from certificates import CertificateFiles, Certificates
from proxies import Relay
from support import RawPeer, echo, request_head, response_head

from trio_websocket import (
    ConnectionRejected,
    HandshakeError,
    TLSFailed,
    WebSocketRequest,
    WebSocketStream,
    open_websocket_url,
    serve_websocket,
    wrap_server_stream,
)

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.rst"))
PROGRAMS = sorted((DOCS / "snippets").glob("*.py"))
URL = "ws://127.0.0.1:8000/"

Program = Callable[[], Awaitable[object]]


class Port(trio.abc.Listener[trio.abc.Stream]):
    """A listener in memory."""

    def __init__(self) -> None:
        self._clients, self._accept = trio.open_memory_channel[trio.abc.Stream](math.inf)

    async def accept(self) -> trio.abc.Stream:
        return await self._accept.receive()

    async def aclose(self) -> None:
        self._accept.close()
        await trio.lowlevel.checkpoint()

    def connect(self, ours: trio.abc.Stream, theirs: trio.abc.Stream) -> trio.abc.Stream:
        """Give `theirs` to the server, and `ours` back."""
        self._clients.send_nowait(theirs)
        return ours


class Network:
    """Takes the place of Trio's functions for TCP; nobody listens on a port before a program does."""

    def __init__(self) -> None:
        self._ports: dict[int, Port] = {}

    async def open_tcp_listeners(self, port: int, **_: object) -> list[Port]:
        await trio.lowlevel.checkpoint()
        self._ports[port] = Port()
        return [self._ports[port]]

    async def open_tcp_stream(self, host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        try:
            return self._ports[port].connect(*trio.testing.memory_stream_pair())
        except (KeyError, trio.BrokenResourceError):
            raise OSError(errno.ECONNREFUSED, f"nobody listens on port {port}") from None

    async def open_stuck_stream(self, port: int) -> trio.abc.Stream:
        """Connect so that what one end sends waits until the other reads."""
        await trio.lowlevel.checkpoint()
        return self._ports[port].connect(*trio.testing.lockstep_stream_pair())


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    """The network that everything in the test runs on."""
    network = Network()
    monkeypatch.setattr(trio, "open_tcp_listeners", network.open_tcp_listeners)
    monkeypatch.setattr(trio, "open_tcp_stream", network.open_tcp_stream)
    return network


def load(program: str) -> Program:
    """What a program, given by its file's name or as its text, would have `trio.run` run."""
    path = DOCS / "snippets" / program if program.endswith(".py") else ROOT / "README.md"
    text = path.read_text("utf-8") if program.endswith(".py") else program
    runs: list[Program] = []

    def note(function: Callable[..., Awaitable[object]], *args: object, **_: object) -> None:
        runs.append(lambda: function(*args))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio, "run", note)
        exec(compile(text, str(path), "exec"), {"__name__": "__main__"})
    (run,) = runs
    return run


async def run_with(server: Program, client: Program, nursery: trio.Nursery) -> None:
    """Run `client` once `server` listens, and end `server` then."""
    nursery.start_soon(server)
    await trio.testing.wait_all_tasks_blocked()
    await client()
    nursery.cancel_scope.cancel()


def printed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that were printed since the last look."""
    return capsys.readouterr().out.splitlines()


def sending(*messages: str, code: int = 1000, reason: str | None = None) -> Program:
    """A server on port 8000 that sends each client these messages and closes."""

    async def handle(request: WebSocketRequest) -> None:
        ws = await request.accept()
        for message in messages:
            await ws.send_message(message)
        await ws.aclose(code, reason)

    return lambda: serve_websocket(handle, "127.0.0.1", 8000, None)


# ----------------------------------------------------------------------------------------------------- README.md


def readme_programs() -> list[str]:
    """The Python blocks of the README."""
    return re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )


async def test_readme_client_gets_an_answer_from_readme_server(capsys: pytest.CaptureFixture[str]) -> None:
    server, client = map(load, readme_programs())
    async with trio.open_nursery() as nursery:
        await run_with(server, client, nursery)
    assert printed(capsys) == ["hello"]


def test_readme_programs_have_ten_lines_at_most() -> None:
    for program in readme_programs():
        assert len([line for line in program.splitlines() if line.strip()]) <= 10


def test_readme_leads_to_files_that_are_there() -> None:
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text("utf-8"))
    targets = [link for link in links if not link.startswith("https://")]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


# ------------------------------------------------------------------------------------------------------ tutorial


async def test_tutorial_client_greets_tutorial_server(capsys: pytest.CaptureFixture[str]) -> None:
    async with trio.open_nursery() as nursery:
        await run_with(load("tutorial_server.py"), load("tutorial_client.py"), nursery)
    assert printed(capsys) == ["the server said hello"]


async def test_tutorial_nursery_sends_and_receives_at_once(
    mock_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with trio.open_nursery() as nursery:
        await run_with(load("tutorial_server.py"), load("tutorial_nursery.py"), nursery)
    assert printed(capsys) == ["received message 0", "received message 1", "received message 2"]


@pytest.mark.parametrize("server", ["tutorial_tls_server.py", "listeners.py"])
async def test_tutorial_tls_client_trusts_its_authority(
    server: str,
    certificate_files: CertificateFiles,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(certificate_files.ca.parent)
    async with trio.open_nursery() as nursery:
        await run_with(load(server), load("tutorial_tls_client.py"), nursery)
    assert printed(capsys) == ["hello"]


async def test_several_listeners_serve_plain_connections_as_well(
    certificate_files: CertificateFiles,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(certificate_files.ca.parent)
    async with trio.open_nursery() as nursery:
        await run_with(load("listeners.py"), load("tutorial_client.py"), nursery)
    assert printed(capsys) == ["the server said hello"]


# ------------------------------------------------------------------------------------------------------- recipes


async def test_heartbeat_ends_the_client_of_a_silent_server(
    mock_clock: trio.testing.MockClock, network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer_one_ping() -> None:
        port = (await network.open_tcp_listeners(8000))[0]
        peer = RawPeer(await port.accept(), is_client=False)
        await peer.stream.send_all(response_head(await peer.read_head()))
        ping = await peer.read_frame()
        await peer.send_frame(0xA, ping.payload)
        await peer.send_frame(1, b"news")
        await trio.sleep_forever()

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        await run_with(answer_one_ping, load("heartbeat.py"), nursery)
    assert 20 + 10 <= trio.current_time() - start <= 20 + 20 + 10
    news, silence = printed(capsys)
    assert news == "news (0.0 s)"
    assert silence.startswith("the server is gone: nothing came from the peer in the 10 seconds after a ping")


async def test_watch_ends_the_client_of_a_silent_server(
    mock_clock: trio.testing.MockClock, network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    async def answer_one_ping() -> None:
        port = (await network.open_tcp_listeners(8000))[0]
        peer = RawPeer(await port.accept(), is_client=False)
        await peer.stream.send_all(response_head(await peer.read_head()))
        ping = await peer.read_frame()
        await peer.send_frame(0xA, ping.payload)
        await trio.sleep_forever()

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        await run_with(answer_one_ping, load("watch.py"), nursery)
    # A rest, the patience, and the grace for a close that nobody answers.
    assert trio.current_time() - start == pytest.approx(20 + 10 + 2)
    assert printed(capsys) == ["the server does not answer any more"]


async def test_watch_keeps_a_client_whose_server_answers(
    mock_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async def talk_once_in_a_while(request: WebSocketRequest) -> None:
        ws = await request.accept()
        for number in range(3):
            await trio.sleep(600)
            await ws.send_message(f"news {number}")

    async with trio.open_nursery() as nursery:
        await run_with(
            lambda: serve_websocket(talk_once_in_a_while, "", 8000, None), load("watch.py"), nursery
        )
    assert printed(capsys) == ["news 0", "news 1", "news 2"]


@pytest.mark.parametrize("leaves", [True, False])
async def test_shutdown_takes_no_new_clients_and_lets_the_others_finish(
    mock_clock: trio.testing.MockClock, leaves: bool
) -> None:
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load("shutdown.py"))
        await trio.testing.wait_all_tasks_blocked()
        async with open_websocket_url(URL) as ws:
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep(1)
            with pytest.raises(HandshakeError, match="Connection refused"):
                await open_websocket_url(URL).__aenter__()
            await ws.send_message("still here?")
            assert await ws.get_message() == "still here?"
            if not leaves:
                assert (await ws.wait_closed()).code == 1001
    assert trio.current_time() - start == pytest.approx(1 if leaves else 30, abs=1.1)


async def test_broadcast_reaches_all_and_drops_who_does_not_read(
    mock_clock: trio.testing.MockClock, network: Network
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load("broadcast.py"))
        await trio.testing.wait_all_tasks_blocked()
        async with open_websocket_url(URL) as one, open_websocket_url(URL) as two:
            stuck = RawPeer(await network.open_stuck_stream(8000), is_client=True)
            await stuck.stream.send_all(request_head())
            await stuck.read_head()
            for _ in range(20):
                await one.send_message(bytes(100_000))
                assert len(await one.get_message()) == len(await two.get_message()) == 100_000
            frames = [await stuck.read_frame()]
            while frames[-1].opcode != 8:
                frames.append(await stuck.read_frame())
            assert frames[-1].payload == b"\x03\xf0too slow"
            assert 1 < len(frames) < 20
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("compression", [None, True])
async def test_compression_is_agreed_on_by_those_who_ask_for_it(
    compression: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load("compression.py"))
        await trio.testing.wait_all_tasks_blocked()
        async with open_websocket_url(URL, compression=compression) as ws:
            assert len(json.loads(await ws.get_message())) == 200
            assert len(await ws.get_message()) == 400
        nursery.cancel_scope.cancel()
    assert (ws.compression is not None) is bool(compression)
    assert printed(capsys) == ["agreed" if compression else "the client does not compress"]


@pytest.mark.slow
async def test_limit_rejects_the_client_that_is_one_too_many(
    mock_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stay(scope: trio.CancelScope) -> None:
        with scope:
            async with open_websocket_url(URL):
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(load("limit.py"))
        await trio.testing.wait_all_tasks_blocked()
        scopes = [trio.CancelScope() for _ in range(100)]
        for scope in scopes:
            nursery.start_soon(stay, scope)
        await trio.testing.wait_all_tasks_blocked()
        await load("errors.py")()
        scopes[0].cancel()
        await trio.testing.wait_all_tasks_blocked()
        await load("tutorial_client.py")()
        nursery.cancel_scope.cancel()
    assert printed(capsys) == ["HTTP status 503 b'All places are taken.\\n'", "the server said hello"]


@pytest.mark.parametrize(
    ("origins", "is_served"),
    [
        ([], True),
        ([b"https://chat.example.org"], True),
        ([b"https://evil.example.net"], False),
        ([b"null"], False),
        ([b"https://chat.example.org", b"https://evil.example.net"], False),
    ],
)
async def test_origin_turns_away_other_pages(
    origins: list[bytes], is_served: bool, mock_clock: trio.testing.MockClock
) -> None:
    async def client() -> None:
        opening = open_websocket_url(URL, extra_headers=[(b"Origin", each) for each in origins])
        if not is_served:
            with pytest.raises(ConnectionRejected, match="403"):
                await opening.__aenter__()
            return
        async with opening as ws:
            await ws.send_message("hello")
            assert await ws.get_message() == "hello"

    async with trio.open_nursery() as nursery:
        await run_with(load("origin.py"), client, nursery)


async def test_auth_lets_in_who_shows_the_token_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    async def two_clients() -> None:
        await load("auth_client.py")()
        await load("errors.py")()

    async with trio.open_nursery() as nursery:
        await run_with(load("auth_server.py"), two_clients, nursery)
    assert printed(capsys) == ["chat.v2 - welcome to chat.v2", "HTTP status 401 b'Who are you?\\n'"]


async def test_reconnect_comes_back_until_the_server_has_said_all(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)

    async def wait_a_while() -> None:
        await trio.sleep(100)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(load("reconnect.py"))
        await trio.sleep(0.1)
        with trio.move_on_after(2):
            await sending("one", code=1001)()
        await run_with(sending("two"), wait_a_while, nursery)
    # Chance decides how often it comes in two seconds.
    reason = "CloseReason<code=1000, name=NORMAL_CLOSURE, reason=None>"
    assert list(dict.fromkeys(printed(capsys))) == ["one", "two", reason]


async def test_reconnecting_subscribes_again_and_tells_what_may_be_lost(
    mock_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    received: list[list[str | bytes]] = []

    async def take_one_report(request: WebSocketRequest) -> None:
        ws = await request.accept()
        messages: list[str | bytes] = []
        received.append(messages)
        await ws.send_message(f"connection {len(received)}")
        messages += [await ws.get_message(), await ws.get_message()]
        await trio.sleep(1)
        await ws.aclose(1012 if len(received) < 3 else 1000)

    def serve() -> Awaitable[object]:
        return serve_websocket(take_one_report, "127.0.0.1", 8000, None)

    async with trio.open_nursery() as nursery:
        await run_with(serve, load("reconnecting.py"), nursery)
    assert received == [["subscribe", f"report {number}"] for number in range(3)]
    assert printed(capsys) == [
        "connection 1",
        "connection 2",
        "connection 3",
        "1 may be lost: CloseReason<code=1012, name=SERVICE_RESTART, reason=None>",
        "1 may be lost: CloseReason<code=1012, name=SERVICE_RESTART, reason=None>",
        "1 may be lost: CloseReason<code=1000, name=NORMAL_CLOSURE, reason=None>",
    ]


async def test_should_retry_comes_back_with_a_code_of_the_servers_own(
    mock_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    clients = 0

    async def close_at_first(request: WebSocketRequest) -> None:
        nonlocal clients
        clients += 1
        ws = await request.accept()
        if clients > 2:
            await ws.send_message("welcome")
        await ws.aclose(4005 if clients == 1 else 1012)

    def serve() -> Awaitable[object]:
        return serve_websocket(close_at_first, "127.0.0.1", 8000, None)

    async with trio.open_nursery() as nursery:
        await run_with(serve, load("should_retry.py"), nursery)
    assert printed(capsys) == ["welcome"]


async def test_proxy_tells_whose_fault_it_is(network: Network, capsys: pytest.CaptureFixture[str]) -> None:
    client, relay = load("proxy.py"), Relay()
    answers = iter([b"HTTP/1.1 407 No\r\n\r\n", b"HTTP/1.1 502 Bad Gateway\r\n\r\n"])

    async def serve(stream: trio.abc.Stream) -> None:
        peer = RawPeer(stream, is_client=False)
        if (answer := next(answers, None)) is None:
            await relay(peer)
        else:
            await peer.read_head()
            await stream.send_all(answer)

    await client()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, await network.open_tcp_listeners(8001))
        for _ in range(2):
            await client()
        async with trio.open_nursery() as others:
            await run_with(sending("hello"), client, others)
        nursery.cancel_scope.cancel()
    lines = printed(capsys)
    assert lines[0].startswith("Look at the proxy: no connection to the proxy http://127.0.0.1:8001: ")
    assert lines[1] == "The proxy wants another user name or password."
    assert lines[2].endswith(
        "the proxy http://127.0.0.1:8001 answered CONNECT with HTTP status 502: 'Bad Gateway'"
    )
    assert lines[3:] == ["hello"]
    assert b"\r\nProxy-Authorization: Basic " in relay.heads[0]


async def test_cookies_are_shown_at_the_second_visit(capsys: pytest.CaptureFixture[str]) -> None:
    async def handle(request: WebSocketRequest) -> None:
        is_known = (b"cookie", b"known=yes") in request.headers
        if request.path == "/news" and not is_known:
            await request.reject(302, extra_headers=[(b"Location", b"/login")])
            return
        ws = await request.accept(extra_headers=[(b"Set-Cookie", b"known=yes; Path=/")])
        await ws.send_message("welcome back" if is_known else "welcome")

    client = load("cookies.py")
    async with trio.open_nursery() as nursery:
        await run_with(lambda: serve_websocket(handle, "127.0.0.1", 8000, None), client, nursery)
    assert printed(capsys) == ["/login - welcome", "/news - welcome back"]


async def test_unix_socket_carries_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    await load("unix_socket.py")()
    assert printed(capsys) == ["hello"]


async def test_systemd_serves_only_what_systemd_hands_over(monkeypatch: pytest.MonkeyPatch) -> None:
    # What it does with that, test_systemd.py has in processes of their own.
    monkeypatch.delenv("LISTEN_PID", raising=False)
    with pytest.raises(SystemExit, match="to be started by systemd"):
        await load("systemd.py")()


async def test_tls_client_without_a_certificate_is_not_let_in(
    certificates: Certificates,
    certificate_files: CertificateFiles,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(certificate_files.ca.parent)
    leaf = certificates.authority.issue_cert("someone@example.org")
    leaf.private_key_pem.write_to_path("client.key")
    leaf.cert_chain_pems[0].write_to_path("client.pem")

    async def clients() -> None:
        await load("tls_mutual_client.py")()
        with pytest.raises(TLSFailed, match="the server wants a certificate of ours"):
            await load("tutorial_tls_client.py")()

    async with trio.open_nursery() as nursery:
        await run_with(load("tls_mutual_server.py"), clients, nursery)
    assert printed(capsys) == ["hello"]


async def test_tls_truststore_trusts_whom_the_system_trusts(
    certificate_files: CertificateFiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(certificate_files.ca.parent)

    async def clients() -> None:
        with pytest.raises(TLSFailed, match="not signed by an authority that is trusted"):
            await load("tls_truststore.py")()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate_files.ca))
        await load("tls_truststore.py")()

    async with trio.open_nursery() as nursery:
        await run_with(load("tutorial_tls_server.py"), clients, nursery)
    assert printed(capsys) == ["hello"]


async def test_tls_names_have_a_certificate_each(
    certificates: Certificates, certificate_files: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(certificate_files.ca.parent)
    leaf = certificates.authority.issue_cert("other.test")
    leaf.private_key_pem.write_to_path("other.key")
    leaf.cert_chain_pems[0].write_to_path("other.pem")

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: object, **options: object) -> list[object]:  # type: ignore[override]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 8443))]

        async def getnameinfo(self, *args: object) -> tuple[str, str]:
            raise NotImplementedError

    async def clients() -> None:
        trio.socket.set_custom_hostname_resolver(Resolver())
        for host in ("localhost", "other.test", "127.0.0.1"):
            async with open_websocket_url(f"wss://{host}:8443", certificates.client_context()) as ws:
                await ws.send_message("hello")
                assert await ws.get_message() == "hello"
        with pytest.raises(TLSFailed, match="for another host"):
            await open_websocket_url("wss://third.test:8443", certificates.client_context()).__aenter__()

    async with trio.open_nursery() as nursery:
        await run_with(load("tls_names.py"), clients, nursery)


async def test_own_stream_carries_a_connection(capsys: pytest.CaptureFixture[str]) -> None:
    await load("own_stream.py")()
    assert printed(capsys) == ["you asked for /news"]


# ------------------------------------------------------------------------------------------------------- testing


async def test_tests_of_code_that_is_given_a_connection_pass(
    mock_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    await load("testing_pair.py")()
    assert printed(capsys) == ["lost: the connection was reset"]


@pytest.mark.slow
async def test_test_of_a_program_that_connects_again_passes(
    mock_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    await load("testing_reconnect.py")()
    assert printed(capsys) == ["3 messages after 5 attempts"]


async def test_bad_line_is_played(
    mock_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    await load("testing_faults.py")()
    assert printed(capsys) == ["stalled after 50000 bytes", "100000 bytes after 60 s"]


# --------------------------------------------------------------------------------------------------- other pages


async def test_timeouts_waits_in_small_steps(
    mock_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async def think(request: WebSocketRequest) -> None:
        ws = await request.accept()
        assert await ws.get_message() == "hello"
        await trio.sleep(2.5)
        await ws.send_message("hello yourself")

    async with trio.open_nursery() as nursery:
        await run_with(lambda: serve_websocket(think, "", 8000, None), load("timeouts.py"), nursery)
    assert printed(capsys) == ["nothing yet", "nothing yet", "hello yourself"]


async def test_ticker_leaves_out_what_a_slow_client_missed(
    mock_clock: trio.testing.MockClock, network: Network
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(load("ticker.py"))
        await trio.testing.wait_all_tasks_blocked()
        slow = RawPeer(await network.open_stuck_stream(8000), is_client=True)
        await slow.stream.send_all(request_head())
        await slow.read_head()
        values = []
        for _ in range(4):
            await trio.sleep(10.05)
            values.append(int((await slow.read_frame()).payload))
        nursery.cancel_scope.cancel()
    assert values == sorted(set(values))
    assert values[-1] >= 190


async def test_errors_tells_why_a_connection_ended(
    network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    async def hang_up() -> None:
        port = (await network.open_tcp_listeners(8000))[0]
        peer = RawPeer(await port.accept(), is_client=False)
        await peer.stream.send_all(response_head(await peer.read_head()))
        await peer.stream.aclose()

    await load("errors.py")()
    async with trio.open_nursery() as nursery:
        await run_with(sending("news", code=4000, reason="enough"), load("errors.py"), nursery)
    async with trio.open_nursery() as nursery:
        await run_with(hang_up, load("errors.py"), nursery)
    assert printed(capsys) == [
        "cannot connect to 127.0.0.1 port 8000: Connection refused",
        "news",
        "closed with 4000 PRIVATE_RESERVED enough",
        "no goodbye: the peer ended the connection without a close frame",
    ]


async def test_sansio_client_talks_to_a_server_without_trio(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = DOCS / "snippets" / "sansio_client.py"
    code = compile(path.read_text("utf-8"), str(path), "exec")
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(socket, "create_connection", lambda address: ours)
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(theirs))
            await echo(await wrap_server_stream(nursery, stream))

        nursery.start_soon(serve)
        await trio.to_thread.run_sync(exec, code, {"__name__": "__main__"})
    first, second = printed(capsys)
    assert first.startswith("HandshakeCompleted(subprotocol=None, headers=((b'upgrade', b'websocket'),")
    assert second == "hello"


# ----------------------------------------------------------------------------------------------------- streaming.rst


async def test_streaming_programs_send_and_receive_in_parts(
    mock_clock: trio.testing.MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with trio.open_nursery() as nursery:
        await run_with(load("streaming_server.py"), load("streaming_client.py"), nursery)
    *came, answer = printed(capsys)
    assert came == [f"came: 'line {number}\\n'" for number in (1, 2, 3)]
    assert answer == "6553600 bytes came back"


async def test_tunnel_carries_bytes_both_ways_until_an_end_closes(mock_clock: trio.testing.MockClock) -> None:
    async def shout(stream: trio.abc.Stream) -> None:
        async for data in stream:
            await stream.send_all(data.upper())

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(9000)
        nursery.start_soon(trio.serve_listeners, shout, listeners)
        nursery.start_soon(load("tunnel.py"))
        await trio.testing.wait_all_tasks_blocked()
        async with open_websocket_url("ws://127.0.0.1:8000/") as ws:
            stream = WebSocketStream(ws)
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"HELLO"
        assert (await ws.wait_closed()).code == 1000
        nursery.cancel_scope.cancel()


# ----------------------------------------------------------------------------------------------------- the pages


def test_every_program_stands_on_a_page_and_has_a_test() -> None:
    pages = "".join(page.read_text("utf-8") for page in PAGES)
    tests = Path(__file__).read_text("utf-8")
    for program in PROGRAMS:
        assert f"literalinclude:: snippets/{program.name}\n" in pages, f"{program.name} stands on no page"
        assert f'"{program.name}"' in tests, f"{program.name} is not run here"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_has_python_that_no_test_runs(page: Path) -> None:
    text = page.read_text("utf-8")
    assert not re.search(r"code(-block)?:: *(python|pycon)|^ *>>> |^(?! *\.\. ).*::$", text, re.MULTILINE), (
        "put it into docs/snippets/, and a test of it here"
    )


@pytest.mark.parametrize(
    ("module", "page"),
    [
        ("trio_websocket", "reference.rst"),
        ("trio_websocket.protocol", "reference_protocol.rst"),
        ("trio_websocket.testing", "reference_testing.rst"),
    ],
)
def test_reference_has_every_public_name(module: str, page: str) -> None:
    text = (DOCS / page).read_text("utf-8")
    documented = re.findall(
        r"^\.\. (?:auto(?:class|exception|function|data)|py:(?:data|class)):: (\w+)", text, re.MULTILINE
    )
    assert sorted(documented) == sorted(importlib.import_module(module).__all__)
