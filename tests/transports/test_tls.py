"""TLS over a transport: what it tells its owner, and how it writes."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest
import trio
import trio.testing
from certificates import Certificates
from fakes import over_socket
from tls_support import VERSIONS, Stubborn, TlsOwner, leaving_nothing, make_contexts, stubborn, talking_tls

from trio_websocket import Endpoint
from trio_websocket._kernel import Buffer
from trio_websocket._transports import StreamTransport
from trio_websocket._transports._tls import TlsTransport
from trio_websocket.testing import Stall

settle = trio.testing.wait_all_tasks_blocked
sides = pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
versions = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


class Pausing(TlsOwner):
    """Pauses after each data."""

    transport: TlsTransport

    def data_received(self, data: Buffer) -> None:
        super().data_received(data)
        self.transport.pause_reading()

    @property
    def pieces(self) -> list[bytes]:
        return [value for what, value in self.told if what == "data"]


# ---------------------------------------------------------------------------------------------------------- reading


@sides
@versions
async def test_what_is_said_is_heard_on_either_side(
    certificates: Certificates, server_side: bool, version: ssl.TLSVersion
) -> None:
    message = bytes(range(256)) * 1024
    async with talking_tls(certificates, server_side=server_side, version=version) as (tls, owner, peer, _):
        assert peer.tls.version() == {VERSIONS[0]: "TLSv1.2", VERSIONS[1]: "TLSv1.3"}[version]
        await peer.send(b"hello")
        await settle()
        assert owner.told == [("data", b"hello")]
        tls.write(b"world")
        assert await peer.receive() == b"world"
        await peer.send(message)
        await settle()
        assert owner.data == b"hello" + message
        tls.write(message)
        assert await peer.receive_exactly(len(message)) == message


async def test_records_that_come_together_are_told_together(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (_, owner, peer, _):
        await peer.send(*[b"%d" % i for i in range(10)])
        await settle()
        assert owner.told == [("data", b"0123456789")]


async def test_record_is_heard_however_it_is_cut(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (_, owner, peer, _):
        for byte in peer.records(b"in", b"pieces"):
            await peer.stream.send_all(bytes([byte]))
            await settle()
        assert owner.told == [("data", b"in"), ("data", b"pieces")]


async def test_flood_of_tiny_records_is_heard_in_full(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (_, owner, peer, _):
        await peer.send(*[b"x"] * 10_000)
        await settle()
        assert owner.data == b"x" * 10_000


async def test_nothing_is_told_while_reading_is_paused(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (tls, owner, peer, _):
        tls.pause_reading()
        await peer.send(b"one")
        await settle()
        await peer.send(b"two")
        await settle()
        assert owner.told == []
        tls.resume_reading()
        # Never from inside a method.
        assert owner.told == []
        tls.resume_reading()
        await settle()
        assert owner.data == b"onetwo"
        await peer.send(b"three")
        await settle()
        assert owner.data == b"onetwothree"


async def test_pausing_again_before_the_turn_keeps_all(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (tls, owner, peer, _):
        tls.pause_reading()
        await peer.send(b"kept")
        await settle()
        for _ in range(3):
            tls.resume_reading()
            tls.pause_reading()
        await settle()
        assert owner.told == []
        tls.resume_reading()
        await settle()
        assert owner.told == [("data", b"kept")]


async def test_owner_may_pause_in_the_middle_of_what_came_at_once(certificates: Certificates) -> None:
    owner = Pausing()
    message = bytes(range(256)) * 1024
    async with talking_tls(certificates, owner=owner) as (tls, _, peer, _):
        owner.transport = tls
        await peer.send(message)
        await settle()
        for count in range(1, 100):
            assert len(owner.pieces) == count
            if owner.data == message:
                break
            tls.resume_reading()
            await settle()
        assert owner.data == message
        # No more than one read of the inner transport at once, and the record that began before it.
        assert max(map(len, owner.pieces)) <= 65536 + 16384


async def test_end_of_tls_behind_what_made_the_owner_pause_is_told(certificates: Certificates) -> None:
    owner = Pausing()
    async with talking_tls(certificates, owner=owner) as (tls, _, peer, _):
        owner.transport = tls
        await peer.stream.send_all(peer.records(b"message") + peer.close_notify())
        await settle()
        assert owner.told == [("data", b"message")]
        # TCP has not ended: nothing else will ever come.
        tls.resume_reading()
        await settle()
        assert owner.told == [("data", b"message"), ("eof", None)]


async def test_owner_may_pause_and_resume_while_it_is_told(certificates: Certificates) -> None:
    class Hesitating(Pausing):
        def data_received(self, data: Buffer) -> None:
            super().data_received(data)
            self.transport.resume_reading()

    owner = Hesitating()
    async with talking_tls(certificates, owner=owner) as (tls, _, peer, _):
        owner.transport = tls
        await peer.send(bytes(300_000))
        await settle()
        assert owner.data == bytes(300_000)


async def test_owner_may_write_and_close_while_it_is_told(certificates: Certificates) -> None:
    class Answering(Pausing):
        def data_received(self, data: Buffer) -> None:
            self.told.append(("data", bytes(data)))
            self.transport.write(b"answer")
            self.transport.close(timeout=10, linger=0, shutdown=True)

    owner = Answering()
    async with talking_tls(certificates, owner=owner) as (tls, _, peer, _):
        owner.transport = tls
        await peer.send(bytes(300_000))
        await settle()
        assert len(owner.pieces) == 1
        assert await peer.receive() == b"answer"
        assert await peer.receive() == b""


async def test_data_before_there_is_an_owner_is_kept_and_the_peer_slowed_down(
    certificates: Certificates,
) -> None:
    async with talking_tls(certificates, is_owned=False) as (tls, owner, peer, _):
        for _ in range(10):
            await peer.send(bytes(65536))
            await settle()
        # What is taken in meanwhile has a bound: two reads.
        assert tls._incoming.pending <= 2 * 65536
        tls.set_owner(owner)
        assert owner.told == []
        await settle()
        assert owner.data == bytes(655_360)


async def test_new_owner_is_told_from_then_on(certificates: Certificates) -> None:
    async with talking_tls(certificates, is_owned=False) as (tls, second, peer, _):
        first = TlsOwner()
        for owner in (first, second):
            tls.set_owner(owner)
            await peer.send(b"new")
            await settle()
            assert owner.told == [("data", b"new")]


async def test_owner_may_have_it_filled_in_where_it_belongs(certificates: Certificates) -> None:
    owner = TlsOwner()
    room = bytearray(100_000)
    async with talking_tls(certificates, owner=owner) as (_, _, peer, _):
        owner.room = memoryview(room)
        message = bytes(range(250)) * 400
        whole = peer.records(message, b"and more")
        for start in range(0, len(whole), 30_000):
            await peer.stream.send_all(whole[start : start + 30_000])
            await settle()
        assert room == message
        assert owner.told == [("data", b"and more")]


async def test_end_while_filling_is_told_as_the_end(certificates: Certificates) -> None:
    owner = TlsOwner()
    async with talking_tls(certificates, owner=owner) as (_, _, peer, _):
        owner.room = memoryview(bytearray(10))
        await peer.stream.send_all(peer.records(b"half") + peer.close_notify())
        await settle()
        assert len(owner.room) == 6
        assert owner.told == [("eof", None)]


async def test_tls_in_tls_works(certificates: Certificates) -> None:
    server, client = make_contexts(certificates)
    message = bytes(range(256)) * 1024
    ours, theirs = trio.testing.memory_stream_pair()
    outer = TlsTransport(StreamTransport(ours), server, server_side=True)
    inner = TlsTransport(outer, server, server_side=True)
    stream = trio.SSLStream(
        trio.SSLStream(theirs, client, server_hostname="localhost"), client, server_hostname="localhost"
    )
    owner = TlsOwner()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.do_handshake)
        await outer.do_handshake()
        await inner.do_handshake()
    inner.set_owner(owner)
    async with leaving_nothing(inner, owner):
        await stream.send_all(message)
        await settle()
        assert owner.data == message


# ----------------------------------------------------------------------------------------------------------- errors


async def test_garbage_ends_the_connection_with_openssls_reason_behind_what_came_before(
    certificates: Certificates,
) -> None:
    async with talking_tls(certificates) as (_, owner, peer, _):
        await peer.stream.send_all(peer.records(b"good") + b"no TLS at all")
        await owner.lost.wait()
        assert owner.told[0] == ("data", b"good")
        assert [what for what, _ in owner.told] == ["data", "lost"]
        assert isinstance(owner.error, ssl.SSLError)
        assert owner.error.reason == "WRONG_VERSION_NUMBER"
        # The peer hears an alert.
        with pytest.raises(ssl.SSLError, match="alert"):
            await peer.receive()


async def test_garbage_while_filling_ends_the_connection(certificates: Certificates) -> None:
    owner = TlsOwner()
    async with talking_tls(certificates, owner=owner) as (_, _, peer, _):
        owner.room = memoryview(bytearray(10))
        await peer.stream.send_all(b"no TLS at all")
        await owner.lost.wait()
        assert isinstance(owner.error, ssl.SSLError)


async def test_forged_record_ends_the_connection(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (_, owner, peer, _):
        record = bytearray(peer.records(b"genuine"))
        record[-1] ^= 1
        await peer.stream.send_all(record)
        await owner.lost.wait()
        assert isinstance(owner.error, ssl.SSLError)
        assert owner.data == b""


async def test_alert_of_the_peer_ends_the_connection(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (tls, owner, peer, _):
        # What breaks the peer's reading has it send an alert.
        peer.incoming.write(b"no TLS at all")
        with pytest.raises(ssl.SSLError):
            peer.tls.read(1)
        await peer.stream.send_all(peer.outgoing.read())
        await owner.lost.wait()
        assert isinstance(owner.error, ssl.SSLError)
        assert "ALERT" in (owner.error.reason or "")
        tls.write(b"dropped")
        assert tls.backlog == 0


async def test_error_of_an_owner_ends_this_connection_and_no_more(certificates: Certificates) -> None:
    error = RuntimeError("ours")

    class Broken(TlsOwner):
        def data_received(self, data: Buffer) -> None:
            raise error

    async with talking_tls(certificates, owner=Broken()) as (_, owner, peer, _):
        await peer.send(b"x")
        await owner.lost.wait()
        assert owner.error is error


async def test_error_of_an_owner_in_a_turn_ends_this_connection_and_no_more(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    error = RuntimeError("ours")

    class Broken(TlsOwner):
        def data_received(self, data: Buffer) -> None:
            raise error

    async with talking_tls(certificates, owner=Broken()) as (tls, owner, peer, _):
        tls.pause_reading()
        await peer.send(b"x")
        await settle()
        tls.resume_reading()
        await owner.lost.wait()
        assert owner.error is error
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]


async def test_error_of_an_owner_at_the_end_is_logged(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    error = RuntimeError("ours")

    class Broken(TlsOwner):
        def connection_lost(self, reason: Exception | None) -> None:
            super().connection_lost(reason)
            raise error

    async with talking_tls(certificates, owner=Broken()) as (tls, owner, _, _):
        tls.abort()
        await owner.lost.wait()
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [error]


# ---------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("size", [1, 16384, 16385, 200_000])
async def test_one_message_goes_to_the_inner_transport_in_one_call(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    calls: list[int] = []
    write = StreamTransport.write

    def counting(self: StreamTransport, data: bytes) -> None:
        calls.append(len(data))
        write(self, data)

    async with talking_tls(certificates) as (tls, _, peer, _):
        monkeypatch.setattr(StreamTransport, "write", counting)
        tls.write(bytes(size))
        assert len(calls) == 1
        assert await peer.receive_exactly(size) == bytes(size)


@pytest.mark.parametrize("size", [10, 100_000])
async def test_parts_are_sent_as_one_and_in_order(certificates: Certificates, size: int) -> None:
    async with talking_tls(certificates) as (tls, _, peer, _):
        tls.writelines([b"head", bytes(size), b"tail"])
        assert await peer.receive_exactly(size + 8) == b"head" + bytes(size) + b"tail"


async def test_writing_nothing_sends_nothing(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (tls, _, _, valve):
        await valve.inject(send=[Stall()])
        tls.write(b"")
        assert tls.backlog == 0


async def test_memory_for_large_messages_is_not_kept(certificates: Certificates) -> None:
    # A BIO keeps the room of the most that it ever held.
    held = [0]

    class Measuring(ssl.SSLObject):
        def read(self, len: int = 1024, buffer: Any = None) -> Any:
            held.append(tls._incoming.pending)
            return super().read(len, buffer)

        def write(self, data: Any) -> int:
            size = super().write(data)
            held.append(tls._outgoing.pending)
            return size

    def measuring(context: ssl.SSLContext) -> None:
        context.sslobject_class = Measuring

    async with talking_tls(certificates, tune=measuring) as (tls, owner, peer, _):
        await peer.send(bytes(1_000_000))
        tls.write(bytes(1_000_000))
        await peer.receive_exactly(1_000_000)
        await settle()
        assert owner.data == bytes(1_000_000)
        assert 16_000 < max(held) < 17_000


async def test_backlog_is_what_the_inner_transport_has_left(certificates: Certificates) -> None:
    class Listening(TlsOwner):
        drained = 0

        def backlog_drained(self) -> None:
            self.drained += 1

    owner = Listening()
    async with (
        talking_tls(certificates, owner=owner) as (tls, _, peer, valve),
        trio.open_nursery() as nursery,
    ):
        owner.drained = 0
        await valve.inject(send=[Stall()])
        tls.write(bytes(100_000))
        assert tls.backlog > 100_000
        nursery.start_soon(tls.wait_backlog, 1000)
        await settle()
        assert len(nursery.child_tasks) == 1
        tls.wake_waiters()
        await settle()
        assert len(nursery.child_tasks) == 0
        nursery.start_soon(tls.wait_backlog, 1000)
        valve.clear()
        await settle()
        assert len(nursery.child_tasks) == 0
        assert owner.drained == 1
        assert await peer.receive_exactly(100_000) == bytes(100_000)


async def test_what_may_leave_without_a_word_is_the_inner_transports_to_know(
    certificates: Certificates,
) -> None:
    async with over_socket() as (inner, _, _):
        tls = TlsTransport(inner, certificates.server_context(), server_side=True)
        tls.set_max_backlog(7)
        assert inner.outlet is not None
        assert inner.outlet.max_backlog == 7


async def test_what_openssl_cannot_send_yet_waits_until_it_has_read_on(certificates: Certificates) -> None:
    async with (
        talking_tls(certificates, tune=stubborn) as (tls, owner, peer, _),
        trio.open_nursery() as nursery,
    ):
        openssl = tls._tls
        assert isinstance(openssl, Stubborn)
        openssl.failure = ssl.SSLWantReadError()
        tls.write(b"one ")
        tls.writelines([b"two ", b"three"])
        assert tls.backlog == 13
        await tls.wait_backlog(13)
        nursery.start_soon(tls.wait_backlog, 12)
        nursery.start_soon(tls.wait_backlog, 12)
        await settle()
        assert len(nursery.child_tasks) == 2
        openssl.failure = None
        await peer.send(b"go on")
        assert await peer.receive() == b"one two three"
        await settle()
        assert len(nursery.child_tasks) == 0
        assert tls.backlog == 0
        assert owner.data == b"go on"


@pytest.mark.parametrize("end", ["wake_waiters", "abort"])
async def test_waiting_for_openssl_ends_when_it_has_become_pointless(
    certificates: Certificates, end: str
) -> None:
    async with (
        talking_tls(certificates, tune=stubborn) as (tls, _, _, _),
        trio.open_nursery() as nursery,
    ):
        openssl = tls._tls
        assert isinstance(openssl, Stubborn)
        openssl.failure = ssl.SSLWantReadError()
        tls.write(b"never sent")
        nursery.start_soon(tls.wait_backlog, 0)
        await settle()
        assert len(nursery.child_tasks) == 1
        getattr(tls, end)()
        await settle()
        assert len(nursery.child_tasks) == 0


async def test_error_in_a_write_is_told_later(certificates: Certificates) -> None:
    async with talking_tls(certificates, tune=stubborn) as (tls, owner, peer, _):
        openssl = tls._tls
        assert isinstance(openssl, Stubborn)
        tls.write(b"before")
        openssl.failure = ssl.SSLError(ssl.SSL_ERROR_SSL, "bad length")
        tls.write(b"x")
        tls.write(b"y")
        assert owner.told == []
        await owner.lost.wait()
        assert owner.error is openssl.failure
        assert await peer.receive() == b"before"


class Chatty(ssl.SSLObject):
    """OpenSSL that answers each record with one of its own, as it does to key updates."""

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        got = super().read(len, buffer)
        self.write(bytes(10_000))
        return got


@pytest.mark.parametrize("does_read", [False, True])
async def test_peer_that_has_tls_answer_has_to_read_the_answers(
    certificates: Certificates, does_read: bool
) -> None:
    def chatty(context: ssl.SSLContext) -> None:
        context.sslobject_class = Chatty

    async with talking_tls(certificates, tune=chatty) as (tls, owner, peer, valve):
        if not does_read:
            await valve.inject(send=[Stall()])
        for _ in range(10):
            await peer.send(b"x")
            await settle()
        if does_read:
            assert owner.data == b"x" * 10
        else:
            assert tls.backlog < 100_000
            valve.clear()
            await owner.lost.wait()
            assert "does not read" in str(owner.error)


# ------------------------------------------------------------------------------------------------------------ seams


async def test_reading_in_person_is_the_inner_transports(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (tls, owner, peer, _):
        inner = tls._inner
        assert not tls.can_read_in_person()
        came = trio.Event()

        async def read() -> None:
            await came.wait()

        inner.can_read_in_person = lambda: True  # type: ignore[method-assign]
        inner.read_in_person = read  # type: ignore[method-assign]
        assert tls.can_read_in_person()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tls.read_in_person)
            await settle()
            assert len(nursery.child_tasks) == 1
            came.set()
        tls.pause_reading()
        await peer.send(b"x")
        await settle()
        tls.resume_reading()
        # It would wait for what is here already.
        assert not tls.can_read_in_person()
        await settle()
        assert owner.data == b"x"
        # It is an owner that nobody can fill.
        assert not tls.is_filling
        with pytest.raises(NotImplementedError):
            tls.fill(len)


async def test_ends_are_those_of_the_inner_transport_with_tls(certificates: Certificates) -> None:
    server, _ = make_contexts(certificates)
    one, other = socket.socketpair()
    with other:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(one))
        transport = TlsTransport(StreamTransport(stream), server, server_side=True)
        assert transport.local == transport.remote == "unix:"
        await stream.aclose()
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        accepted = await listener.accept()
        async with client, accepted:
            transport = TlsTransport(StreamTransport(accepted), server, server_side=True)
            port = client.socket.getsockname()[1]
            assert transport.remote == Endpoint("127.0.0.1", port, is_ssl=True)
            assert isinstance(transport.local, Endpoint)
            assert transport.local.is_ssl
