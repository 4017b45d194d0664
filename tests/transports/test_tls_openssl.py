"""TLS against OpenSSL's own programs: what no peer in Python can be made to do."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from certificates import CertificateFiles, Certificates
from tls_support import TlsOwner, leaving_nothing

from trio_websocket._kernel import Buffer
from trio_websocket._transports import StreamTransport
from trio_websocket._transports._tls import TlsTransport

pytestmark = [pytest.mark.external("openssl"), pytest.mark.slow]


class Expecting(TlsOwner):
    """Wakes who waits for something."""

    def __init__(self) -> None:
        super().__init__()
        self.progress = trio.lowlevel.ParkingLot()

    def data_received(self, data: Buffer) -> None:
        super().data_received(data)
        self.progress.unpark_all()

    async def wait_for(self, is_there: Callable[[bytes], bool]) -> None:
        while not is_there(self.data):
            await self.progress.park()


@asynccontextmanager
async def running(*arguments: object) -> AsyncIterator[trio.Process]:
    process = await trio.lowlevel.open_process(
        ["openssl", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        process.kill()
        await process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            await pipe.aclose()


async def read_until(process: trio.Process, *ends: bytes) -> bytes:
    """What the program says, up to all of `ends`, one behind the other."""
    said, at = bytearray(), 0
    assert process.stdout is not None
    for end in ends:
        while (found := said.find(end, at)) < 0:
            data = await process.stdout.receive_some()
            assert data, bytes(said)
            said += data
        at = found + len(end)
    return bytes(said)


async def say(process: trio.Process, line: bytes) -> None:
    assert process.stdin is not None
    await process.stdin.send_all(line)


@asynccontextmanager
async def serving_openssl(
    certificates: Certificates, *options: str
) -> AsyncIterator[tuple[TlsTransport, Expecting, trio.Process]]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        address = f"127.0.0.1:{listener.socket.getsockname()[1]}"
        async with running("s_client", "-connect", address, *options) as client:
            stream = await listener.accept()
            transport = TlsTransport(StreamTransport(stream), certificates.server_context(), server_side=True)
            await transport.do_handshake()
            owner = Expecting()
            transport.set_owner(owner)
            async with leaving_nothing(transport, owner):
                yield transport, owner, client


async def test_client_cannot_renegotiate(certificates: Certificates) -> None:
    async with serving_openssl(certificates, "-tls1_2") as (_, owner, client):
        await say(client, b"before\n")
        await owner.wait_for(lambda data: data == b"before\n")
        # What `s_client` takes as an order to renegotiate.
        await say(client, b"R\n")
        await read_until(client, b"RENEGOTIATING", b"no renegotiation")
        await owner.lost.wait()
        assert owner.data == b"before\n"


async def test_keys_may_be_updated(certificates: Certificates) -> None:
    async with serving_openssl(certificates, "-tls1_3") as (tls, owner, client):
        expected = b""
        # What `s_client` takes as orders to update its keys, and both sides'.
        for order in (b"k\n", b"K\n"):
            await say(client, order)
            await read_until(client, b"KEYUPDATE")
            await say(client, b"hello\n")
            expected += b"hello\n"
            await owner.wait_for(lambda data, expected=expected: data == expected)  # type: ignore[misc]
            tls.write(b"understood\n")
            await read_until(client, b"understood")


async def test_session_ticket_in_several_records_holds_no_message_up(
    certificates: Certificates, certificate_files: CertificateFiles
) -> None:
    held_up = 0

    class Counting(ssl.SSLObject):
        def write(self, data: Any) -> int:
            nonlocal held_up
            try:
                return super().write(data)
            except ssl.SSLWantReadError:
                held_up += 1
                raise

    class Eager(TlsTransport):
        lines = 0

        def data_received(self, data: Buffer) -> None:
            super().data_received(data)
            if self._is_established and self.lines < 10:
                self.write(b"line %d\n" % self.lines)
                self.lines += 1

    context = certificates.client_context()
    context.sslobject_class = Counting
    # A ticket has the client's certificate in it, which makes it long.
    names = [f"client-{number}.example.org" for number in range(60)]
    certificates.authority.issue_cert(*names).configure_cert(context)
    files = certificate_files
    arguments = ["-accept", "127.0.0.1:0", "-cert", files.certificate, "-key", files.key, "-CAfile", files.ca]
    async with running("s_server", *arguments, "-Verify", 2, "-max_send_frag", 512, "-rev") as server:
        said = await read_until(server, b"ACCEPT ", b"\n")
        port = int(said.rsplit(b":", 1)[1])
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        inner = StreamTransport(stream, receive_size=300)
        transport = Eager(inner, context, server_side=False, server_hostname="localhost")
        await transport.do_handshake()
        owner = Expecting()
        transport.set_owner(owner)
        async with leaving_nothing(transport, owner):
            await owner.wait_for(lambda data: data.count(b"\n") == 10)
            assert owner.data == b"".join(b"%d enil\n" % number for number in range(10))
    assert held_up > 0
