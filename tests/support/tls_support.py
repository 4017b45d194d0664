"""A TLS peer that a test has in its hand, record by record, and a transport of ours that talks to it."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import trio
import trio.testing
from certificates import Certificates
from fakes import Owner

from trio_websocket._transports import StreamTransport
from trio_websocket._transports._tls import TlsTransport
from trio_websocket.testing import FaultyStream

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


class TlsOwner(Owner):
    """Notes all that is told, and fills `room` first, as long as it has some."""

    def __init__(self) -> None:
        super().__init__()
        self.room = memoryview(b"")

    @property
    def is_filling(self) -> bool:
        """Whether there is room."""
        return bool(self.room)

    def fill(self, receive: Callable[[memoryview], int]) -> int:
        """Have the room written to."""
        size = receive(self.room)
        self.room = self.room[size:]
        return size


class TlsPeer:
    """The other side, over `stream`: Python's own TLS without any I/O of its own."""

    def __init__(self, stream: trio.abc.Stream, context: ssl.SSLContext, *, server_side: bool) -> None:
        self.stream = stream
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        name = None if server_side else "localhost"
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=name
        )

    def records(self, *messages: bytes) -> bytes:
        """Each message as records of its own."""
        for message in messages:
            rest = memoryview(message)
            while rest:
                rest = rest[self.tls.write(rest) :]
        return self.outgoing.read()

    async def send(self, *messages: bytes) -> None:
        """Send each as records of its own, all at once."""
        await self.stream.send_all(self.records(*messages))

    def close_notify(self) -> bytes:
        """The record that ends our direction."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    async def receive(self) -> bytes:
        """What comes next, or b"" after a close_notify; an end without that is an `EOFError`."""
        while (data := self._read()) is None:
            await self._read_on()
        return data

    def _read(self) -> bytes | None:
        try:
            return self.tls.read(65536)
        except ssl.SSLWantReadError:
            return None

    async def receive_exactly(self, size: int) -> bytes:
        """So many bytes."""
        received = bytearray()
        while len(received) < size:
            received += await self.receive()
        assert len(received) == size
        return bytes(received)

    async def do_handshake(self) -> None:
        """Shake hands, and no more."""
        while not self._shake_hands():
            await self._flush()
            await self._read_on()
        await self._flush()

    async def try_handshake(self) -> None:
        """The same, for as long as there is someone to shake hands with."""
        with contextlib.suppress(EOFError, trio.BrokenResourceError):
            await self.do_handshake()

    def _shake_hands(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    async def _flush(self) -> None:
        if self.outgoing.pending:
            await self.stream.send_all(self.outgoing.read())

    async def _read_on(self) -> None:
        data = await self.stream.receive_some()
        if not data:
            raise EOFError("the transport has ended without a close_notify")
        self.incoming.write(data)


class Stubborn(ssl.SSLObject):
    """OpenSSL in the middle of a message of its peer's, such as a session ticket in two records."""

    failure: ssl.SSLError | None = None

    def write(self, data: Any) -> int:
        if self.failure is not None:
            raise self.failure
        return super().write(data)


def stubborn(context: ssl.SSLContext) -> None:
    """Have `context` make such ones, which are as usual while there is no `failure`."""
    context.sslobject_class = Stubborn


def make_contexts(
    certificates: Certificates, version: ssl.TLSVersion | None = None
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context and a client's, for just one version if that is given."""
    contexts = certificates.server_context(), certificates.client_context()
    for context in contexts:
        if version is not None:
            context.minimum_version = context.maximum_version = version
    return contexts


@contextlib.asynccontextmanager
async def leaving_nothing(transport: TlsTransport, owner: TlsOwner) -> AsyncIterator[None]:
    """At the end of the block the transport is gone, was told so just once, and left no task."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    yield
    transport.abort()
    await owner.lost.wait()
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living <= tasks
    assert transport.backlog == 0
    told = [what for what, _ in owner.told]
    assert (told.count("lost"), told[-1]) == (1, "lost")
    assert told.count("eof") <= 1


@contextlib.asynccontextmanager
async def talking_tls(
    certificates: Certificates,
    *,
    server_side: bool = True,
    version: ssl.TLSVersion | None = None,
    owner: TlsOwner | None = None,
    tune: Callable[[ssl.SSLContext], None] = lambda context: None,
    is_owned: bool = True,
) -> AsyncIterator[tuple[TlsTransport, TlsOwner, TlsPeer, FaultyStream]]:
    """A transport of ours on `server_side`, established; its owner; the peer; and the valve for what we send."""
    server, client = make_contexts(certificates, version)
    ours, theirs = trio.testing.memory_stream_pair()
    valve = FaultyStream(ours)
    mine, other = (server, client) if server_side else (client, server)
    tune(mine)
    transport = TlsTransport(
        StreamTransport(valve),
        mine,
        server_side=server_side,
        server_hostname=None if server_side else "localhost",
    )
    peer = TlsPeer(theirs, other, server_side=not server_side)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.do_handshake)
        await transport.do_handshake()
    owner = TlsOwner() if owner is None else owner
    if is_owned:
        transport.set_owner(owner)
        await trio.testing.wait_all_tasks_blocked()
    async with leaving_nothing(transport, owner):
        yield transport, owner, peer, valve
        if not is_owned:
            transport.set_owner(owner)
        valve.clear()
