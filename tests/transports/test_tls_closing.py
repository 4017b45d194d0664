"""TLS over a transport: how it ends, politely or not, and with real sockets."""

from __future__ import annotations

import socket
import ssl

import pytest
import trio
import trio.testing
from certificates import Certificates
from tls_support import VERSIONS, TlsOwner, leaving_nothing, make_contexts, talking_tls

from trio_websocket._kernel import Buffer
from trio_websocket._transports import StreamTransport
from trio_websocket._transports._tls import TlsTransport
from trio_websocket.testing import Stall

settle = trio.testing.wait_all_tasks_blocked
versions = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


class Counting(TlsOwner):
    """Tells when so many bytes have come."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.left = size
        self.has_all = trio.Event()

    def data_received(self, data: Buffer) -> None:
        super().data_received(data)
        self.left -= len(data)
        if self.left == 0:
            self.has_all.set()


def close(transport: TlsTransport, *, linger: float = 5, shutdown: bool = False) -> None:
    transport.close(timeout=10, linger=linger, shutdown=shutdown)


# ---------------------------------------------------------------------------------------------------- the peer ends


@versions
async def test_close_notify_is_the_end_of_file(certificates: Certificates, version: ssl.TLSVersion) -> None:
    async with talking_tls(certificates, version=version) as (tls, owner, peer, _):
        await peer.stream.send_all(peer.records(b"last") + peer.close_notify())
        await settle()
        assert owner.told == [("data", b"last"), ("eof", None)]
        # Our direction is open still.
        tls.write(b"reply")
        assert await peer.receive() == b"reply"
        close(tls, linger=0)
        with pytest.raises(ssl.SSLZeroReturnError):
            await peer.receive()
        await owner.lost.wait()
        assert owner.error is None


async def test_nothing_is_heard_behind_a_close_notify(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (_, owner, peer, _):
        end = peer.close_notify()
        await peer.stream.send_all(end + b"no TLS at all")
        await settle()
        await peer.stream.send_all(b"no TLS at all")
        await settle()
        await peer.stream.aclose()
        await settle()
        assert owner.told == [("eof", None)]


async def test_truncation_is_an_end_of_file_and_later_the_error(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (tls, owner, peer, _):
        await peer.stream.send_all(peer.records(b"last") + peer.records(b"cut")[:-1])
        await peer.stream.aclose()
        await settle()
        assert owner.told == [("data", b"last"), ("eof", None)]
        close(tls)
        await owner.lost.wait()
        assert isinstance(owner.error, ssl.SSLEOFError)
        assert "without close_notify" in str(owner.error)


async def test_end_waits_behind_what_was_not_told_yet(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (tls, owner, peer, _):
        tls.pause_reading()
        await peer.stream.send_all(peer.records(b"last") + peer.close_notify())
        # The read that is under way takes the data, and then the transport is paused; its end is told in any case.
        await settle()
        tls.eof_received()
        assert owner.told == []
        tls.resume_reading()
        tls.eof_received()
        assert owner.told == []
        await settle()
        assert owner.told == [("data", b"last"), ("eof", None)]
        tls.pause_reading()
        tls.resume_reading()
        await settle()
        assert len(owner.told) == 2
        close(tls, linger=0)
        await owner.lost.wait()
        # There was a close_notify.
        assert owner.error is None


async def test_end_of_file_alone_waits_while_reading_is_paused(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (tls, owner, _, _):
        tls.pause_reading()
        tls.eof_received()
        assert owner.told == []
        tls.resume_reading()
        await settle()
        assert owner.told == [("eof", None)]


async def test_untold_data_is_dropped_with_the_connection_while_reading_is_paused(
    certificates: Certificates,
) -> None:
    async with talking_tls(certificates) as (tls, owner, peer, _):
        tls.pause_reading()
        await peer.send(b"untold")
        await settle()
        tls._inner.abort()
        await owner.lost.wait()
        assert owner.told == [("lost", None)]


async def test_turn_that_comes_after_the_end_tells_nothing(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (tls, owner, peer, _):
        tls.pause_reading()
        await peer.send(b"told")
        await settle()
        tls.resume_reading()
        error = OSError("gone")
        tls.connection_lost(error)
        assert owner.told == [("data", b"told"), ("lost", error)]
        await settle()
        assert len(owner.told) == 2
        tls._inner.set_owner(TlsOwner())


# --------------------------------------------------------------------------------------------------------- we end


@versions
async def test_closing_sends_what_is_left_and_a_close_notify(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    async with talking_tls(certificates, version=version) as (tls, owner, peer, _):
        tls.write(bytes(100_000))
        close(tls, shutdown=True)
        close(tls)
        tls.write(b"dropped")
        assert await peer.receive_exactly(100_000) == bytes(100_000)
        assert await peer.receive() == b""
        # Behind it, the transport's own end.
        assert await peer.stream.receive_some() == b""
        await peer.stream.aclose()
        await owner.lost.wait()
        assert owner.told == [("lost", None)]


async def test_peer_that_ends_without_close_notify_after_us_is_no_error(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (tls, owner, peer, _):
        close(tls)
        await peer.stream.send_all(peer.records(b"crossed our close"))
        await peer.stream.aclose()
        await owner.lost.wait()
        assert owner.told == [("lost", None)]


async def test_closing_while_reading_is_paused_drops_the_rest(
    certificates: Certificates, mock_clock: trio.testing.MockClock
) -> None:
    async with talking_tls(certificates) as (tls, owner, peer, _):
        tls.pause_reading()
        await peer.send(b"untold")
        await settle()
        tls.resume_reading()
        close(tls)
        assert await peer.receive() == b""
        await owner.lost.wait()
        assert owner.told == [("lost", None)]
        assert trio.current_time() == 5


async def test_closing_has_a_bound_if_the_peer_does_not_read(
    certificates: Certificates, mock_clock: trio.testing.MockClock
) -> None:
    async with talking_tls(certificates) as (tls, owner, _, valve):
        await valve.inject(send=[Stall()])
        tls.write(b"x")
        close(tls)
        await owner.lost.wait()
        assert trio.current_time() == 10
        assert owner.error is None


async def test_aborting_sends_no_close_notify(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (tls, owner, peer, _):
        tls.abort()
        await owner.lost.wait()
        with pytest.raises(EOFError):
            await peer.receive()


async def test_error_of_the_inner_transport_is_ours(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (tls, owner, peer, _):
        peer.stream = trio.testing.memory_stream_pair()[0]

        class Gone(trio.BrokenResourceError):
            pass

        inner = tls._inner
        assert isinstance(inner, StreamTransport)
        error = Gone("cut")
        inner._fail(error)
        await owner.lost.wait()
        assert owner.error is error


# ---------------------------------------------------------------------------------------------------- real sockets


@versions
@pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
async def test_blocking_peer_in_a_thread_is_served_over_real_sockets(
    certificates: Certificates, version: ssl.TLSVersion, server_side: bool
) -> None:
    server, client = make_contexts(certificates, version)
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        stream = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        accepted = await listener.accept()
    ours, theirs = (accepted, stream) if server_side else (stream, accepted)
    name = "localhost"
    blocking = socket.socket(fileno=theirs.socket.detach())
    message = bytes(range(256)) * 1024

    def talk() -> bytes:
        blocking.setblocking(True)
        with (client if server_side else server).wrap_socket(
            blocking, server_side=not server_side, server_hostname=name if server_side else None
        ) as peer:
            peer.sendall(message)
            received = bytearray()
            while len(received) < len(message):
                received += peer.recv(65536)
            assert peer.recv(1) == b""
            return bytes(received)

    transport = TlsTransport(
        StreamTransport(ours),
        server if server_side else client,
        server_side=server_side,
        server_hostname=None if server_side else name,
    )
    received: list[bytes] = []

    async def run_peer() -> None:
        received.append(await trio.to_thread.run_sync(talk))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_peer)
        await transport.do_handshake()
        owner = Counting(len(message))
        transport.set_owner(owner)
        transport.write(message)
        await owner.has_all.wait()
        transport.close(timeout=60, linger=60, shutdown=True)
        await owner.lost.wait()
    assert received == [message]
    assert owner.data == message
    assert owner.error is None


@pytest.mark.parametrize("https_compatible", [False, True])
async def test_trios_own_tls_closes_cleanly_with_ours(
    certificates: Certificates, https_compatible: bool
) -> None:
    server, client = make_contexts(certificates)
    ours, theirs = trio.testing.memory_stream_pair()
    transport = TlsTransport(StreamTransport(ours), server, server_side=True)
    stream = trio.SSLStream(theirs, client, server_hostname="localhost", https_compatible=https_compatible)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.do_handshake)
        await transport.do_handshake()
    owner = TlsOwner()
    async with leaving_nothing(transport, owner):
        transport.set_owner(owner)
        await stream.send_all(b"x")
        close(transport, linger=60, shutdown=True)
        assert await stream.receive_some() == b""
        await stream.aclose()
        await owner.lost.wait()
        assert owner.error is None
