"""Each limit of docs/limits.rst has the default that is written there, and does what is written there.

A row of the table without a check here fails, and so does a check without a row.
"""

from __future__ import annotations

import inspect
import re
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio
import trio.testing
from certificates import Certificates
from hostile import MemoryListener
from support import (
    BINARY,
    CLOSE,
    CONT,
    HOST,
    MASK,
    PING,
    PONG,
    TEXT,
    RawPeer,
    client_of_raw_peer,
    echo,
    frame,
    raw_server,
    request_head,
    response_head,
    server_of_raw_peer,
    serving,
)
from tls_support import talking_tls

import trio_websocket
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    Heartbeat,
    WebSocketConnection,
    WebSocketRequest,
    open_websocket_url,
    wrap_server_stream,
)
from trio_websocket._connection._link import LINGER, PULL_BUDGET
from trio_websocket._connection._websocket import CANCEL_GRACE
from trio_websocket._dial import _proxy
from trio_websocket._options import ConnectionOptions
from trio_websocket._transports import _stream, _tls
from trio_websocket.protocol import (
    ClientHandshake,
    LocalProtocolError,
    Role,
    ServerHandshake,
    Session,
    _deflate_streams,
    _frames,
    _http1_messages,
    _session,
    _writer,
)
from trio_websocket.testing import FaultyStream, Stall, open_websocket_pair, serve_in_memory

PAGE = Path(__file__).parents[2] / "docs" / "limits.rst"


class Limit(NamedTuple):
    """A limit as the code has it."""

    default: object
    unit: str
    # Goes over it, and tells what came of it: the words of the page.
    go_over: Callable[..., Awaitable[list[str]]]


def option(name: str) -> object:
    """The default of an option, the same for every function that takes it."""
    defaults = {
        inspect.signature(function).parameters[name].default
        for function in (trio_websocket.open_websocket_url, trio_websocket.serve_websocket)
        if name in inspect.signature(function).parameters
    }
    (default,) = defaults
    return default


def argument(function: Callable[..., object], name: str) -> object:
    return inspect.signature(function).parameters[name].default


async def refusal(peer: RawPeer) -> list[str]:
    """The code and the text of the close frame that a raw peer gets."""
    while (close := await peer.read_frame()).opcode != CLOSE:
        pass
    return [str(int.from_bytes(close.payload[:2], "big")), close.payload[2:].decode()]


async def refused(ws: WebSocketConnection) -> list[str]:
    """The code and the text of the close frame that a connection of ours gets."""
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            await ws.get_message()
    received = caught.value.received
    assert received is not None
    return [str(received.code), str(received.reason)]


def same(first: list[str], second: list[str]) -> list[str]:
    assert first == second
    return first


# ------------------------------------------------------------------------------------------- what an option bounds


async def max_message_size() -> list[str]:
    size = (2**20 + 1).to_bytes(8, "big")
    async with client_of_raw_peer() as (_, peer):
        await peer.stream.send_all(b"\x82\x7f" + size)
        by_client = await refusal(peer)
    async with server_of_raw_peer() as (_, peer):
        await peer.stream.send_all(b"\x82\xff" + size + MASK)
        return same(by_client, await refusal(peer))


async def decompressed() -> list[str]:
    async with open_websocket_pair(compression=True) as (client, server):
        await client.send_message(bytes(50 * 2**20))
        by_server = await refused(client)
    async with open_websocket_pair(compression=True) as (client, server):
        await server.send_message(bytes(2**20 + 1))
        return same(by_server, await refused(server))


async def max_streamed_size() -> list[str]:
    async with open_websocket_pair(max_message_size=1, max_streamed_size=2) as (client, server):
        await client.send_message(b"xyz")
        with pytest.raises(ConnectionClosed):
            async with server.receive_fragments() as parts:
                async for _ in parts:
                    pass
        return await refused(client)


async def max_fragments() -> list[str]:
    async with server_of_raw_peer() as (_, peer):
        await peer.send_frame(TEXT, b"", fin=False)
        await peer.stream.send_all(2**16 * frame(CONT, fin=False, mask=MASK))
        return await refusal(peer)


async def queue_size() -> list[str]:
    async with open_websocket_pair() as pair:
        for _ in range(10):
            await pair.client.send_message(bytes(100_000))
        await trio.testing.wait_all_tasks_blocked()
        assert pair.server_stream.bytes_received < 400_000
    return ["is slowed down"]


async def queue_bytes() -> list[str]:
    async with open_websocket_pair(message_queue_size=1000) as pair:
        for _ in range(30):
            await pair.client.send_message(bytes(100_000))
        await trio.testing.wait_all_tasks_blocked()
        assert 2**20 < pair.server_stream.bytes_received < 2**20 + 300_000
    return ["is slowed down"]


async def write_backlog() -> list[str]:
    async with open_websocket_pair() as pair:
        await pair.client_stream.inject(send=[Stall()])
        sent = 0
        with pytest.raises(trio.WouldBlock):
            while True:
                pair.client.send_message_nowait(bytes(1000))
                sent += 1000
        assert 2**16 - 1000 < sent <= 2**16 + 1000
    return ["makes your sends wait"]


async def connect_timeout() -> list[str]:
    start = trio.current_time()
    listener = MemoryListener()
    async with trio.open_nursery() as nursery:
        await nursery.start(trio_websocket.WebSocketServer(echo, [listener]).run)
        stream = listener.connect()
        # A slow client sends a little now and then.
        with pytest.raises(trio.BrokenResourceError):
            for byte in request_head():
                await stream.send_all(bytes([byte]))
                await trio.sleep(1)
        assert await stream.receive_some() == b""
        nursery.cancel_scope.cancel()
    assert trio.current_time() - start == pytest.approx(60, abs=1.1)

    async def hang(stream: FaultyStream) -> None:
        await trio.sleep_forever()

    start = trio.current_time()
    async with serve_in_memory(echo, on_connect=hang):
        with pytest.raises(HandshakeError) as caught:
            await open_websocket_url("ws://test/").__aenter__()
    assert trio.current_time() - start == pytest.approx(60)
    return ["is dropped", type(caught.value).__name__]


async def disconnect_timeout() -> list[str]:
    async with open_websocket_pair() as pair:
        await pair.client_stream.inject(receive=[Stall()])
        start = trio.current_time()
        await pair.client.aclose()
        assert trio.current_time() - start == pytest.approx(60)
    return ["is dropped"]


async def heartbeat() -> list[str]:
    async with open_websocket_pair(heartbeat=Heartbeat()) as pair:
        await pair.client_stream.inject(receive=[Stall()])
        start = trio.current_time()
        with pytest.raises(ConnectionClosed) as caught:
            await pair.client.get_message()
        assert trio.current_time() - start <= 40
    assert caught.value.reason is not None
    return ["is dropped", str(caught.value.reason.code), type(caught.value.__cause__).__name__]


async def max_redirects() -> list[str]:
    async def redirect(request: WebSocketRequest) -> None:
        await request.reject(302, extra_headers=[(b"Location", b"/elsewhere")])

    async with serve_in_memory(redirect):
        with pytest.raises(ConnectionRejected) as caught:
            await open_websocket_url("ws://test/").__aenter__()
    assert caught.value.status_code == 302
    return ["is not followed", type(caught.value).__name__]


# --------------------------------------------------------------------------------------------------- what is fixed


async def rejection(*extra: bytes) -> list[str]:
    """The status and the text that a raw client gets for a request with more header lines."""
    async with serving() as server:
        peer = RawPeer(await trio.open_tcp_stream(HOST, server.port), is_client=True)
        async with peer.stream:
            await peer.stream.send_all(request_head("/", *extra))
            head, _, body = (await peer.read_to_end()).partition(b"\r\n\r\n")
    return [head.split()[1].decode(), body.decode().strip()]


async def failure(*extra: bytes) -> list[str]:
    """What a client of ours raises for a response with more header lines."""

    async def answer(peer: RawPeer) -> None:
        await peer.stream.send_all(response_head(await peer.read_head(), *extra))
        await peer.read_to_end()

    async with raw_server(answer, shake_hands=False) as port:
        with pytest.raises(HandshakeError) as caught:
            await open_websocket_url(f"ws://{HOST}:{port}/").__aenter__()
    return [type(caught.value).__name__, str(caught.value)]


async def request_size() -> list[str]:
    return await rejection(b"X: " + bytes(16384).replace(b"\0", b"x"))


async def response_size() -> list[str]:
    return await failure(b"X: " + bytes(16384).replace(b"\0", b"x"))


async def request_fields() -> list[str]:
    return await rejection(*[b"X: y"] * 124)


async def response_fields() -> list[str]:
    return await failure(*[b"X: y"] * 126)


async def rejection_body() -> list[str]:
    async def reject(request: WebSocketRequest) -> None:
        await request.reject(403, body=bytes(2**16 + 1))

    async with serve_in_memory(reject):
        with pytest.raises(ConnectionRejected) as caught:
            await open_websocket_url("ws://test/").__aenter__()
    assert caught.value.body == bytes(2**16)
    return ["is cut"]


async def sent_ahead() -> list[str]:
    ours, theirs = trio.testing.memory_stream_pair()
    stream = FaultyStream(ours)
    async with trio.open_nursery() as nursery:
        await theirs.send_all(request_head())
        request = await wrap_server_stream(nursery, stream)
        before = stream.bytes_received
        await theirs.send_all(100 * frame(BINARY, bytes(10_000), mask=MASK))
        await trio.testing.wait_all_tasks_blocked()
        # A read is under way when the request is there.
        assert stream.bytes_received - before <= 2**16
        ws = await request.accept()
        assert await ws.get_message() == bytes(10_000)
        await theirs.aclose()
        nursery.cancel_scope.cancel()
    return ["waits for the answer"]


async def control_payload() -> list[str]:
    refusals = []
    for opcode in (PING, PONG, CLOSE):
        async with server_of_raw_peer() as (_, peer):
            await peer.send_frame(opcode, bytes(126))
            refusals.append(await refusal(peer))
    return same(same(*refusals[:2]), refusals[2])


async def pongs() -> list[str]:
    async with open_websocket_pair() as pair:
        sent = pair.server_stream.bytes_sent
        await pair.server_stream.inject(send=[Stall()])
        for _ in range(10):
            # The client's own stream: what it would never send.
            await pair.client_stream.send_all(1000 * frame(PING, bytes(100), mask=MASK))
            await trio.testing.wait_all_tasks_blocked()
        pair.server_stream.clear()
        await trio.testing.wait_all_tasks_blocked()
        assert pair.server_stream.bytes_sent - sent <= 3 * 2**16
        assert await pair.client.ping() >= 0
    return ["only its latest ping is answered"]


async def frames_at_once() -> list[str]:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while pair.server_stream.bytes_sent == sent:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with open_websocket_pair() as pair:
        sent = pair.server_stream.bytes_sent
        flood = 5000 * frame(PONG, mask=MASK) + frame(PING, mask=MASK)
        await pair.client_stream.send_all(flood)
        await count_turns()
    assert turns >= 5000 // 256
    return ["waits while others have their turns"]


async def final_blocks() -> list[str]:
    async with open_websocket_pair(compression=True) as pair:
        # An empty stored block, the last one (RFC 1951 §3.2.4).
        payload = 1025 * b"\x01\x00\x00\xff\xff"
        await pair.client_stream.send_all(frame(BINARY, payload, rsv=4, mask=MASK))
        return await refused(pair.client)


async def unread() -> list[str]:
    session = Session(Role.CLIENT)
    session.receive_data(bytes(2**20 + 1))
    with pytest.raises(LocalProtocolError) as caught:
        session.receive_data(b"x")
    return [type(caught.value).__name__, str(caught.value)]


async def grace() -> list[str]:
    async with serve_in_memory(echo) as server:
        with pytest.raises(KeyError):
            async with open_websocket_url("ws://test/"):
                await server.streams[0].inject(receive=[Stall()])
                start = trio.current_time()
                raise KeyError
        assert trio.current_time() - start == pytest.approx(2)
        with trio.move_on_after(5):
            async with open_websocket_url("ws://test/") as ws:
                await server.streams[1].inject(receive=[Stall()])
                await ws.get_message()
        assert trio.current_time() - start == pytest.approx(2 + 5 + 2)
    return ["is dropped"]


async def linger() -> list[str]:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose)
        await peer.read_frame()
        start = trio.current_time()
        await peer.send_close()
        await ws.wait_closed()
        assert trio.current_time() - start == pytest.approx(1)
    return ["is dropped"]


class Chatty(ssl.SSLObject):
    """OpenSSL that answers each record with one of its own, as it does to key updates."""

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        got = super().read(len, buffer)
        self.write(bytes(10_000))
        return got


async def provoked(certificates: Certificates) -> list[str]:
    def chatty(context: ssl.SSLContext) -> None:
        context.sslobject_class = Chatty

    async with talking_tls(certificates, tune=chatty) as (_, owner, peer, valve):
        await valve.inject(send=[Stall()])
        for _ in range(7):
            await peer.send(b"x")
            await trio.testing.wait_all_tasks_blocked()
        await owner.lost.wait()
    assert isinstance(owner.error, ssl.SSLError)
    return ["is dropped", owner.error.args[1]]


async def proxy_head() -> list[str]:
    async def answer(peer: RawPeer) -> None:
        await peer.read_head()
        await peer.stream.send_all(b"HTTP/1.1 200 OK\r\nX: " + bytes(16384).replace(b"\0", b"x"))
        await peer.read_to_end()

    async with raw_server(answer, shake_hands=False) as port:
        with pytest.raises(HandshakeError) as caught:
            await open_websocket_url("ws://test/", proxy=f"http://{HOST}:{port}").__aenter__()
    text = str(caught.value)
    return [type(caught.value).__name__, text[text.index("answered") :]]


LIMITS = {
    "max_message_size": Limit(option("max_message_size"), "bytes", max_message_size),
    "max_message_size, decompressed": Limit(option("max_message_size"), "bytes", decompressed),
    "max_streamed_size": Limit(option("max_streamed_size"), "bytes", max_streamed_size),
    "max_fragments": Limit(option("max_fragments"), "frames", max_fragments),
    "message_queue_size": Limit(option("message_queue_size"), "messages", queue_size),
    "message_queue_bytes": Limit(option("message_queue_bytes"), "bytes", queue_bytes),
    "write_backlog": Limit(option("write_backlog"), "bytes", write_backlog),
    "connect_timeout": Limit(option("connect_timeout"), "seconds", connect_timeout),
    "disconnect_timeout": Limit(option("disconnect_timeout"), "seconds", disconnect_timeout),
    "heartbeat": Limit(option("heartbeat"), "seconds", heartbeat),
    "max_redirects": Limit(option("max_redirects"), "redirects", max_redirects),
    "request line and headers": Limit(argument(ServerHandshake, "max_header_size"), "bytes", request_size),
    "headers of responses": Limit(argument(ClientHandshake, "max_header_size"), "bytes", response_size),
    "header fields of a request": Limit(_http1_messages.MAX_HEADERS, "fields", request_fields),
    "header fields of a response": Limit(_http1_messages.MAX_HEADERS, "fields", response_fields),
    "body of a rejection": Limit(argument(ClientHandshake, "max_body_size"), "bytes", rejection_body),
    "what a client sends before it is answered": Limit(_stream.DEFAULT_RECEIVE_SIZE, "bytes", sent_ahead),
    "payload of a control frame": Limit(_frames.MAX_CONTROL_SIZE, "bytes", control_payload),
    "pongs that wait": Limit(_writer._MAX_PONGS, "bytes", pongs),
    "frames that are handled at once": Limit(PULL_BUDGET, "frames", frames_at_once),
    "final blocks of a compressed message": Limit(_deflate_streams._MAX_FINAL_BLOCKS, "blocks", final_blocks),
    "closing after an exception or a cancellation": Limit(CANCEL_GRACE, "seconds", grace),
    "end of file after the close": Limit(LINGER, "seconds", linger),
    "answers of TLS that wait": Limit(_tls._MAX_PROVOKED, "bytes", provoked),
    "headers of a proxy": Limit(_proxy._MAX_HEAD, "bytes", proxy_head),
    "bytes in a Session that were not pulled": Limit(_session._MAX_UNREAD, "bytes", unread),
}
SLOW = {"max_fragments", "max_message_size, decompressed"}


class Row(NamedTuple):
    """A row of the page's tables."""

    default: str
    unit: str
    # What the peer gets, with its literals and roles, and without them.
    gets: str
    plain: str


def read_tables() -> dict[str, Row]:
    """The rows of all tables with these five columns."""
    rows = {}
    for table in PAGE.read_text("utf-8").split(".. list-table::")[1:]:
        cells: list[list[str]] = []
        for line in table.splitlines()[1:]:
            if line.startswith("   * - "):
                cells.append([line[7:]])
            elif line.startswith("     - "):
                cells[-1].append(line[7:])
            elif line.startswith("       "):
                cells[-1][-1] += " " + line.strip()
            elif line and not line.startswith(" "):
                break
        assert cells.pop(0) == ["limit", "default", "unit", "a peer that goes over it", "protects from"]
        for name, default, unit, gets, protects in cells:
            assert protects, f"{name} protects from nothing"
            rows[unquote(name)] = Row(unquote(default), unit, gets, unquote(gets))
    return rows


def unquote(cell: str) -> str:
    return re.sub(r"`(.+?) <.+?>`", r"\1", cell).replace("`", "")


ROWS = read_tables()


def test_each_limit_has_a_row_and_each_row_a_check() -> None:
    assert sorted(ROWS) == sorted(LIMITS)


def test_each_option_that_is_a_limit_has_a_row() -> None:
    no_limits = {"receive_buffer_size", "compression"}
    assert set(ConnectionOptions.__dataclass_fields__) - no_limits <= set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_default_is_the_one_on_the_page(name: str) -> None:
    default = LIMITS[name].default
    shown = f"{default:,.0f}" if isinstance(default, int | float) else str(default)
    assert (shown, LIMITS[name].unit) == ROWS[name][:2]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in ROWS]
)
def test_peer_that_goes_over_it_gets_what_the_page_says(name: str, certificates: Certificates) -> None:
    go_over = LIMITS[name].go_over
    run = (
        (lambda: go_over(certificates))
        if "certificates" in inspect.signature(go_over).parameters
        else go_over
    )
    # What waits for real sockets must not see the clock jump.
    is_real = go_over in REAL
    clock = None if is_real else trio.testing.MockClock(autojump_threshold=0)
    seen = trio.run(run, clock=clock)
    for words in seen:
        assert words in ROWS[name].plain
    for literal in re.findall(r"``(.+?)``", ROWS[name].gets):
        assert literal in seen, f"{name}: nobody gets {literal!r}, but {seen}"


REAL = {request_size, response_size, request_fields, response_fields, proxy_head}
