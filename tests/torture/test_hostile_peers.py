"""Thousands of hostile peers against one server, and against our client; nothing may break, hang, or be left behind.

What a peer does comes from a seed, which a failure names: `random_client(seed)` in tests/support/hostile_scripts.py gives it again.
"""

from __future__ import annotations

import functools
import gc
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio
import trio.testing
from certificates import Certificates
from hostile import count_open_files, drain, exchange, reset
from hostile_scripts import MADE_SERVERS, Script, made_clients, made_server, random_client, random_server
from support import CLOSE, HOST, RawPeer, echo, serving

from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
    WebSocketConnection,
    WebSocketRequest,
    WebSocketServer,
    open_websocket,
)
from trio_websocket._connection._link import Link
from trio_websocket._transports import Transport
from trio_websocket.protocol import RemoteProtocolError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("transport")]

# Only so that a failure is one: nothing here waits for it.
SAFETY_NET = 60
CROWD = 20  # peers at a time


# --------------------------------------------------------------------------------------------- what may be left behind


def remains() -> list[object]:
    """What a connection is made of, and is still in memory."""
    gc.collect()
    kinds = (WebSocketConnection, WebSocketRequest, Link, Transport)
    return [each for each in gc.get_objects() if isinstance(each, kinds)]


class Watch(logging.Handler):
    """Collects from the log what a programmer should look at. It keeps no record, as records keep connections alive."""

    def __init__(self) -> None:
        super().__init__()
        self.problems: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a record."""
        if record.levelno >= logging.WARNING:
            self.problems.append(self.format(record))
        for error in record.args or ():
            if isinstance(error, HandshakeError):
                try:
                    check_error(error)
                except AssertionError as problem:
                    self.problems.append(f"{error!r}: {problem}")


@contextmanager
def leaving_nothing_behind() -> Iterator[None]:
    """Nothing that runs, is open, or takes memory; and nothing in the log that calls for a programmer."""
    logger = logging.getLogger("trio-websocket")
    watch = Watch()
    before = len(remains())
    files = count_open_files()
    tasks = trio.lowlevel.current_statistics().tasks_living
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(watch)
    try:
        yield
    finally:
        logger.removeHandler(watch)
        logger.setLevel(level)
        logger.propagate = True
    assert watch.problems == []
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert count_open_files() == files
    assert len(remains()) == before


def check_error(error: HandshakeError | ConnectionClosed) -> None:
    """It says what happened; and what happened is the peer's doing, neither a bug of ours nor a timeout."""
    assert str(error)
    assert not isinstance(error, ConnectionTimeout | DisconnectionTimeout)
    if isinstance(error, ConnectionRejected):
        return
    if isinstance(error, ConnectionClosed):
        assert error.reason is not None
        if error.__cause__ is None:
            assert error.received is not None
            return
    causes = RemoteProtocolError | trio.BrokenResourceError | ssl.SSLError
    assert isinstance(error.__cause__, causes), repr(error.__cause__)


@contextmanager
def named(name: str) -> Iterator[None]:
    """Say in whose turn it was that something went wrong."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{name}: {error!r}") from error
    except trio.Cancelled:
        print(f"{name} was under way")
        raise


# ----------------------------------------------------------------------------------------------------- hostile clients


async def handle(request: WebSocketRequest) -> None:
    """Answer as the path says, with many ways to be met at an awkward moment."""
    if request.path == "/reject":
        await request.reject(403, body=b"no")
        return
    if request.path == "/slow":
        for _ in range(10):
            await trio.lowlevel.checkpoint()
    if request.path == "/close":
        await (await request.accept()).aclose(1001)
    elif request.path == "/push":
        ws = await request.accept()
        for _ in range(5):
            await ws.send_message(bytes(300_000))
    else:
        try:
            await echo(request)
        except (HandshakeError, ConnectionClosed) as error:
            check_error(error)
            raise


async def leave(stream: trio.abc.Stream, ending: str) -> None:
    if ending == "reset":
        reset(stream.transport_stream if isinstance(stream, trio.SSLStream) else stream)
    elif ending == "half-close" and isinstance(stream, trio.SocketStream):
        await stream.send_eof()
    else:
        await trio.aclose_forcefully(stream)


async def attack(stream: trio.abc.Stream, script: Script) -> bytes | None:
    """Play a script; returns all that the other end said, or None if the peer did not listen to the end."""
    peer = RawPeer(stream, is_client=True)
    heard: bytes | None = None
    try:
        for piece in script.pieces:
            await stream.send_all(piece)
            if script.is_patient:
                await trio.lowlevel.checkpoint()
        await leave(stream, script.ending)
        if script.ending == "half-close":
            heard = await peer.read_to_end()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    finally:
        await trio.aclose_forcefully(stream)
    return heard


async def check_answer(heard: bytes) -> None:
    """What a server says is HTTP, then frames by the rules, and nothing behind the close frame."""
    if not heard:
        return
    head, end, rest = heard.partition(b"\r\n\r\n")
    status = head.split(b" ")[1]
    if status != b"101":
        assert head.startswith(b"HTTP/1.1 "), head
        assert status in {b"400", b"403", b"405", b"426", b"431", b"501", b"505"}, head
        return
    assert end
    stream = trio.testing.MemoryReceiveStream()
    stream.put_data(rest)
    stream.put_eof()
    peer = RawPeer(trio.StapledStream(trio.testing.MemorySendStream(), stream), is_client=True)
    try:
        while (frame := await peer.read_frame()).opcode != CLOSE:
            assert frame.opcode in {1, 2, 9, 10} and frame.fin
    except EOFError:
        return
    assert await peer.read_to_end() == b""


def clients(count: int) -> Iterator[tuple[str, Script]]:
    for number, script in enumerate(made_clients()):
        if number < count:
            yield f"hand-made client {number}", script
    for seed in range(count):
        yield f"random_client({seed})", random_client(seed)


@asynccontextmanager
async def echoing(ws: WebSocketConnection) -> AsyncIterator[None]:
    """Let a well-behaved client exchange messages all the time."""
    count = 0
    is_over = False

    async def go_on() -> None:
        nonlocal count
        while not is_over:
            await exchange(ws, f"still there? {count}")
            count += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go_on)
        yield
        is_over = True
    assert count > 0


async def wait_until_alone(handlers: trio.Nursery) -> None:
    """Wait until the server is left with one client, without anybody's help."""
    while len(handlers.child_tasks) > 1:
        await trio.lowlevel.checkpoint()


async def besiege(
    count: int, server_context: ssl.SSLContext | None, client_context: ssl.SSLContext | None
) -> None:
    """Let `CROWD` hostile clients at a time at a server, together with a well-behaved one."""
    scripts = clients(count)

    async def play_some(server: WebSocketServer) -> None:
        for name, script in scripts:
            with named(name):
                stream: trio.abc.Stream = await trio.open_tcp_stream(HOST, server.port)
                # Every other hostile client of a TLS server does not even speak TLS.
                if client_context is not None and not script.is_patient:
                    stream = trio.SSLStream(stream, client_context, server_hostname=HOST)
                heard = await attack(stream, script)
                if heard and client_context is None:
                    await check_answer(heard)

    options = {"connect_timeout": 5, "disconnect_timeout": 5}
    async with (
        trio.open_nursery() as handlers,
        serving(handle, server_context, handler_nursery=handlers, **options) as server,
        open_websocket(HOST, server.port, "/", use_ssl=client_context or False) as ws,
    ):
        async with echoing(ws), trio.open_nursery() as nursery:
            for _ in range(CROWD):
                nursery.start_soon(play_some, server)
        await wait_until_alone(handlers)
        await exchange(ws)


@pytest.mark.parametrize(("over", "count"), [("TCP", 1200), ("TLS", 100)])
async def test_server_serves_on_through_thousands_of_hostile_clients(
    over: str, count: int, certificates: Certificates
) -> None:
    contexts = (
        (certificates.server_context(), certificates.client_context()) if over == "TLS" else (None, None)
    )
    with trio.fail_after(SAFETY_NET), leaving_nothing_behind():
        await besiege(count, *contexts)


# ----------------------------------------------------------------------------------------------------- hostile servers


class HostileServer:
    """A server that does to each client what it was told last."""

    def __init__(self) -> None:
        self.make_script: Callable[[bytes], Script] = lambda request: made_server(0, request)
        self.is_hasty = False

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one client."""
        peer = RawPeer(stream, is_client=False)
        try:
            request = b"" if self.is_hasty else await peer.read_head()
        except (EOFError, trio.BrokenResourceError):
            await trio.aclose_forcefully(stream)
            return
        await attack(stream, self.make_script(request))


async def use(port: int) -> None:
    """Do what programs do; whatever the server does, it comes out as one of the library's own errors, or not at all."""
    try:
        async with open_websocket(
            HOST, port, "/", use_ssl=False, connect_timeout=20, disconnect_timeout=20
        ) as ws:
            await ws.send_message("hello")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(expect_closed, ws.ping)
                nursery.start_soon(expect_closed, drain, ws)
    except (HandshakeError, ConnectionClosed) as error:
        check_error(error)


async def expect_closed(call: Callable[..., Awaitable[object]], *args: object) -> None:
    try:
        await call(*args)
    except ConnectionClosed as error:
        check_error(error)


def servers(count: int) -> Iterator[tuple[str, Callable[[bytes], Script], bool]]:
    """Names, what they do about a request, and whether they do it before there is one."""
    for number in range(MADE_SERVERS):
        yield f"made_server({number})", functools.partial(made_server, number), False
    for seed in range(count):
        yield f"random_server({seed})", functools.partial(random_server, seed), seed % 20 == 0


async def meet(count: int) -> None:
    """Let `CROWD` clients at a time meet hostile servers."""
    cases = servers(count)

    async def meet_some() -> None:
        server = HostileServer()
        async with trio.open_nursery() as nursery:
            (listener,) = await nursery.start(functools.partial(trio.serve_tcp, host=HOST), server.serve, 0)
            for name, server.make_script, server.is_hasty in cases:
                with named(name):
                    await use(listener.socket.getsockname()[1])
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for _ in range(CROWD):
            nursery.start_soon(meet_some)


async def test_client_meets_thousands_of_hostile_servers_and_raises_only_its_own_errors() -> None:
    with trio.fail_after(SAFETY_NET), leaving_nothing_behind():
        await meet(1200)
