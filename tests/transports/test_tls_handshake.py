"""TLS over a transport: the handshake, and all that may become of it."""

from __future__ import annotations

import ssl

import pytest
import trio
import trio.testing
from certificates import Certificates
from fakes import PlainStream
from tls_support import VERSIONS, TlsOwner, TlsPeer, leaving_nothing, make_contexts

from trio_websocket._kernel import Buffer
from trio_websocket._transports import StreamTransport
from trio_websocket._transports._tls import TlsTransport
from trio_websocket.testing import FaultyStream, Stall

settle = trio.testing.wait_all_tasks_blocked
versions = pytest.mark.parametrize("version", VERSIONS, ids=["1.2", "1.3"])


def make_server(stream: trio.abc.Stream, certificates: Certificates) -> TlsTransport:
    return TlsTransport(StreamTransport(stream), certificates.server_context(), server_side=True)


async def fail_handshake(transport: TlsTransport) -> BaseException:
    """What `do_handshake` raises; it has left no task."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    with pytest.raises((OSError, ValueError)) as caught:
        await transport.do_handshake()
    await settle()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    return caught.value


async def shake_hands(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext, name: str = "localhost"
) -> tuple[TlsTransport, TlsTransport, list[BaseException]]:
    """Both sides are ours; what they raised."""
    one, other = trio.testing.memory_stream_pair()
    server = TlsTransport(StreamTransport(one), server_context, server_side=True)
    client = TlsTransport(StreamTransport(other), client_context, server_side=False, server_hostname=name)
    errors: list[BaseException] = []

    async def run(transport: TlsTransport) -> None:
        try:
            await transport.do_handshake()
        except OSError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, server)
        nursery.start_soon(run, client)
    return server, client, errors


def first_flight(client: TlsPeer) -> bytes:
    with pytest.raises(ssl.SSLWantReadError):
        client.tls.do_handshake()
    return client.outgoing.read()


async def drop(transport: TlsTransport) -> TlsOwner:
    owner = TlsOwner()
    transport.set_owner(owner)
    transport.abort()
    await owner.lost.wait()
    return owner


@versions
async def test_both_sides_of_ours_understand_each_other(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    server, client, errors = await shake_hands(*make_contexts(certificates, version))
    assert errors == []
    owners = TlsOwner(), TlsOwner()
    async with leaving_nothing(server, owners[0]), leaving_nothing(client, owners[1]):
        server.set_owner(owners[0])
        client.set_owner(owners[1])
        server.write(b"from the server")
        client.write(b"from the client")
        await settle()
        assert [owner.told for owner in owners] == [
            [("data", b"from the client")],
            [("data", b"from the server")],
        ]


async def test_data_behind_the_handshake_is_kept(certificates: Certificates) -> None:
    server, client = make_contexts(certificates)
    ours, theirs = trio.testing.memory_stream_pair()
    transport = TlsTransport(StreamTransport(ours), server, server_side=True)
    peer = TlsPeer(theirs, client, server_side=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.do_handshake)
        await theirs.send_all(first_flight(peer))
        peer.incoming.write(await theirs.receive_some())
        peer.tls.do_handshake()
        # The client's last message and its first data together.
        await theirs.send_all(peer.records(b"early"))
    owner = TlsOwner()
    async with leaving_nothing(transport, owner):
        await settle()
        transport.set_owner(owner)
        assert owner.told == []
        await settle()
        assert owner.told == [("data", b"early")]


async def test_end_before_there_is_an_owner_is_told_to_it(certificates: Certificates) -> None:
    server, client, _ = await shake_hands(*make_contexts(certificates))
    client.write(b"last words")
    client.close(timeout=10, linger=0, shutdown=True)
    await settle()
    server.abort()
    await settle()
    owner = TlsOwner()
    server.set_owner(owner)
    assert owner.told == []
    await owner.lost.wait()
    assert owner.told == [("lost", None)]
    # Only once, whatever is asked of what is gone.
    server.pause_reading()
    server.resume_reading()
    server.close(timeout=10, linger=0, shutdown=True)
    server.abort()
    await settle()
    assert owner.told == [("lost", None)]
    await drop(client)


async def test_connection_lost_before_there_is_an_owner_is_told_behind_the_data(
    certificates: Certificates,
) -> None:
    error = trio.BrokenResourceError("reset")
    ours, theirs = trio.testing.memory_stream_pair()

    class Stream(PlainStream):
        failing = False

        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            if self.failing:
                raise error
            return await super().receive_some(max_bytes)

    server, client = make_contexts(certificates)
    stream = Stream(ours)
    transport = TlsTransport(StreamTransport(stream), server, server_side=True)
    peer = TlsPeer(theirs, client, server_side=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(peer.do_handshake)
        await transport.do_handshake()
    stream.failing = True
    await peer.send(b"last words")
    await settle()
    # The inner transport is paused, so it has not noticed yet.
    owner = TlsOwner()
    async with leaving_nothing(transport, owner):
        transport.set_owner(owner)
        await owner.lost.wait()
        assert owner.told == [("data", b"last words"), ("lost", error)]


# ----------------------------------------------------------------------------------------------------- what goes wrong


@versions
async def test_unknown_authority_fails_with_openssls_reason_on_both_sides(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    server_context, client_context = certificates.server_context(), ssl.create_default_context()
    for context in (server_context, client_context):
        context.minimum_version = context.maximum_version = version
    _, _, errors = await shake_hands(server_context, client_context)
    verification = [error for error in errors if isinstance(error, ssl.SSLCertVerificationError)]
    assert len(verification) == 1
    assert "certificate verify failed" in str(verification[0])
    # The server hears the alert in its handshake, as the client has the last word there in both versions.
    [alert] = [error for error in errors if error not in verification]
    assert isinstance(alert, ssl.SSLError)
    assert "ALERT_UNKNOWN_CA" in (alert.reason or "")


async def test_certificate_of_another_name_fails(certificates: Certificates) -> None:
    _, _, errors = await shake_hands(*make_contexts(certificates), name="elsewhere.example")
    [error] = [error for error in errors if isinstance(error, ssl.SSLCertVerificationError)]
    assert "elsewhere.example" in str(error)


async def test_missing_client_certificate_fails_the_server(certificates: Certificates) -> None:
    server_context, client_context = make_contexts(certificates)
    server_context.verify_mode = ssl.CERT_REQUIRED
    certificates.authority.configure_trust(server_context)
    _, client, [error] = await shake_hands(server_context, client_context)
    assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in str(error)
    # In TLS 1.3 the client was done before; it is told at the next read.
    owner = TlsOwner()
    client.set_owner(owner)
    await owner.lost.wait()
    assert "CERTIFICATE_REQUIRED" in str(owner.error)


async def test_no_common_version_fails_both_sides(certificates: Certificates) -> None:
    server_context, client_context = make_contexts(certificates)
    server_context.minimum_version = ssl.TLSVersion.TLSv1_3
    client_context.maximum_version = ssl.TLSVersion.TLSv1_2
    _, _, errors = await shake_hands(server_context, client_context)
    assert len(errors) == 2
    assert "ALERT_PROTOCOL_VERSION" in " ".join(map(str, errors))


@pytest.mark.parametrize("request_line", [b"GET / HTTP/1.1\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\n\r\n"])
async def test_plain_http_is_called_that(certificates: Certificates, request_line: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(request_line)
    error = await fail_handshake(make_server(ours, certificates))
    assert isinstance(error, ssl.SSLError)
    assert "REQUEST" in error.reason
    # A browser, or whoever forgot the "s", is told.
    answer = await theirs.receive_some()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"\r\n\r\nThis port speaks TLS: use wss: or https:.\n")
    assert await theirs.receive_some() == b""


@pytest.mark.parametrize("server_side", [False, True], ids=["client", "server"])
async def test_garbage_fails_the_handshake(certificates: Certificates, server_side: bool) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    server, client = make_contexts(certificates)
    transport = TlsTransport(
        StreamTransport(ours),
        server if server_side else client,
        server_side=server_side,
        server_hostname=None if server_side else "localhost",
    )
    await theirs.send_all(b"SSH-2.0-OpenSSH\r\n" * 10)
    error = await fail_handshake(transport)
    assert isinstance(error, ssl.SSLError)
    assert error.reason is not None


@versions
async def test_handshake_that_is_cut_off_anywhere_says_so(
    certificates: Certificates, version: ssl.TLSVersion
) -> None:
    server_context, client_context = make_contexts(certificates, version)
    client = TlsPeer(PlainStream(trio.testing.memory_stream_pair()[0]), client_context, server_side=False)
    hello = first_flight(client)
    for length in range(0, len(hello) + 1, 7):
        ours, theirs = trio.testing.memory_stream_pair()
        transport = TlsTransport(StreamTransport(ours), server_context, server_side=True)
        await theirs.send_all(hello[:length] or b"\x16")
        await theirs.send_eof()
        error = await fail_handshake(transport)
        assert isinstance(error, ssl.SSLEOFError)
        assert str(error) == "the peer ended the connection in the TLS handshake"


async def test_reset_in_the_handshake_says_so_with_its_cause(certificates: Certificates) -> None:
    reset = trio.BrokenResourceError("reset")

    class Stream(PlainStream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
            raise reset

    error = await fail_handshake(make_server(Stream(trio.testing.memory_stream_pair()[0]), certificates))
    assert isinstance(error, ssl.SSLEOFError)
    assert str(error) == "the connection was lost in the TLS handshake"
    assert error.__cause__ is reset


async def test_alert_that_does_not_leave_delays_the_error_for_a_second_at_most(
    certificates: Certificates, mock_clock: trio.testing.MockClock
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    valve = FaultyStream(ours, send=[Stall()])
    server, client = make_contexts(certificates)
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    peer = TlsPeer(theirs, client, server_side=False)
    await theirs.send_all(first_flight(peer))
    error = await fail_handshake(TlsTransport(StreamTransport(valve), server, server_side=True))
    assert "UNSUPPORTED_PROTOCOL" in str(error)
    assert trio.current_time() == 1


async def test_silence_ends_with_the_callers_patience(
    certificates: Certificates, mock_clock: trio.testing.MockClock
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"\x16\x03\x01\x02\x00\x01")
    transport = make_server(ours, certificates)
    with trio.move_on_after(5) as scope:
        await transport.do_handshake()
    assert scope.cancelled_caught
    assert trio.current_time() == 5
    assert await theirs.receive_some() == b""


async def test_cancelled_handshake_closes_the_inner_transport_wherever_it_stands(
    certificates: Certificates,
) -> None:
    server, client = make_contexts(certificates)
    for checkpoints in range(10):
        ours, theirs = trio.testing.memory_stream_pair()
        transport = TlsTransport(StreamTransport(ours), server, server_side=True)
        peer = TlsPeer(theirs, client, server_side=False)
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:

                async def cancel(scope: trio.CancelScope = scope, count: int = checkpoints) -> None:
                    for _ in range(count):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                nursery.start_soon(peer.try_handshake)
                nursery.start_soon(cancel)
                await transport.do_handshake()
            if scope.cancelled_caught:
                assert await drop(transport) is not None
            nursery.cancel_scope.cancel()
        if not scope.cancelled_caught:
            await drop(transport)
            break


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (None, "check_hostname requires server_hostname"),
        ("", "server_hostname cannot be an empty string"),
        ("x" * 64, "label"),
    ],
)
async def test_name_that_cannot_be_asked_for_is_a_value_error_and_closes(
    certificates: Certificates, name: str | None, message: str
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    transport = TlsTransport(
        StreamTransport(ours), certificates.client_context(), server_side=False, server_hostname=name
    )
    error = await fail_handshake(transport)
    assert isinstance(error, ValueError)
    assert message in str(error)
    assert await theirs.receive_some() == b""


async def test_context_of_the_other_side_says_so_and_closes(certificates: Certificates) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    transport = TlsTransport(StreamTransport(ours), certificates.client_context(), server_side=True)
    error = await fail_handshake(transport)
    assert "Cannot create a server socket with a PROTOCOL_TLS_CLIENT context" in str(error)
    assert await theirs.receive_some() == b""


async def test_error_in_the_users_own_callback_fails_the_handshake(certificates: Certificates) -> None:
    server, client = make_contexts(certificates)
    server.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    _, _, errors = await shake_hands(server, client)
    assert len(errors) == 2
    assert "UNRECOGNIZED_NAME" in " ".join(map(str, errors)).upper()


async def test_stream_that_takes_nothing_fails_the_handshake_with_its_error(
    certificates: Certificates, mock_clock: trio.testing.MockClock
) -> None:
    class Stream(PlainStream):
        async def send_all(self, data: Buffer) -> None:
            raise trio.BrokenResourceError("cannot send")

    transport = TlsTransport(
        StreamTransport(Stream(trio.testing.memory_stream_pair()[0])),
        certificates.client_context(),
        server_side=False,
        server_hostname="localhost",
    )
    error = await fail_handshake(transport)
    assert str(error) == "the connection was lost in the TLS handshake"
    assert str(error.__cause__) == "cannot send"


async def test_renegotiation_is_off_in_the_context(certificates: Certificates) -> None:
    context = certificates.server_context()
    context.options &= ~ssl.OP_NO_RENEGOTIATION
    before = context.options
    for _ in range(2):
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.aclose()
        await fail_handshake(TlsTransport(StreamTransport(ours), context, server_side=True))
        assert context.options == before | ssl.OP_NO_RENEGOTIATION
