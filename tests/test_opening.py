"""The opening handshake over a transport, with a transport that a test plays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import trio
import trio.testing
from fakes import FakeTransport
from support import MASK, PING, PONG, TEXT, frame, request_head, response_head

from trio_websocket import CloseReason, ConnectionRejected, HandshakeError
from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket._opening import ClientOpening, ServerOpening
from trio_websocket._options import ConnectionOptions
from trio_websocket.protocol import ClientHandshake, ServerHandshake
from trio_websocket.protocol._handshake import OpeningRequest

T = TypeVar("T")

settle = trio.testing.wait_all_tasks_blocked


def make_client(**options: float) -> tuple[ClientOpening, FakeTransport]:
    transport = FakeTransport()
    handshake = ClientHandshake(host="test", resource="/", random_bytes=lambda _: b"the sample nonce")
    return ClientOpening(transport, handshake, ConnectionOptions(**options)), transport  # type: ignore[arg-type]


def make_server() -> tuple[ServerOpening, FakeTransport]:
    transport = FakeTransport()
    return ServerOpening(transport, ServerHandshake(), ConnectionOptions(disconnect_timeout=7)), transport


async def meanwhile(call: Callable[[], Awaitable[T]], then: Callable[[], object]) -> T:
    """Make a call that has to wait, and do something when it does."""
    results: list[T] = []

    async def run() -> None:
        results.append(await call())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await settle()
        then()
    return results[0]


def only(group: pytest.ExceptionInfo[BaseException]) -> BaseException:
    """The one exception in a group of one."""
    error = group.value
    while isinstance(getattr(error, "exceptions", None), tuple):
        [error] = error.exceptions  # type: ignore[attr-defined]
    return error


# ------------------------------------------------------------------------------------------------------ the client's


async def test_client_sends_its_request_and_takes_the_answer() -> None:
    opening, transport = make_client()
    ws = await meanwhile(
        lambda: opening.connect("/path"),
        lambda: opening.data_received(response_head(bytes(transport.written), b"X-Extra: yes")),
    )
    assert transport.written.startswith(b"GET / HTTP/1.1\r\n")
    assert (ws.path, ws.is_client, ws.closed) == ("/path", True, None)
    assert (b"x-extra", b"yes") in ws.handshake_headers
    assert transport.owner is ws._link
    await opening.wait_over()


async def test_answer_may_come_byte_by_byte() -> None:
    opening, transport = make_client()

    def answer() -> None:
        for byte in response_head(bytes(transport.written)):
            opening.data_received(bytes([byte]))

    ws = await meanwhile(lambda: opening.connect("/"), answer)
    assert ws.closed is None


async def test_frames_behind_the_answer_are_the_connections() -> None:
    opening, transport = make_client()

    def answer() -> None:
        head = response_head(transport.take_written())
        opening.data_received(head + frame(TEXT, b"first") + frame(PING, b"second"))

    ws = await meanwhile(lambda: opening.connect("/"), answer)
    # Nobody has to receive the message first.
    assert transport.written[:2] == frame(PONG, b"second", mask=MASK)[:2]
    assert ws.get_message_nowait() == "first"


async def test_end_of_file_behind_the_answer_is_the_connections() -> None:
    opening, transport = make_client()

    def answer() -> None:
        opening.data_received(response_head(bytes(transport.written)) + frame(TEXT, b"last"))
        opening.eof_received()

    ws = await meanwhile(lambda: opening.connect("/"), answer)
    assert ws.closed == CloseReason(1006, None)
    assert ws.get_message_nowait() == "last"
    assert transport.is_closing()


async def test_reset_behind_the_answer_is_the_connections() -> None:
    opening, transport = make_client()
    reset = trio.BrokenResourceError("reset")

    def answer() -> None:
        opening.data_received(response_head(bytes(transport.written)))
        transport.lose(reset)

    ws = await meanwhile(lambda: opening.connect("/"), answer)
    assert await ws.wait_closed() == CloseReason(1006, None)
    assert ws._link.make_closed().__cause__ is reset


async def test_rejection_is_raised_with_what_the_server_said() -> None:
    opening, transport = make_client()
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-Why: no\r\n\r\nno"
    with pytest.raises(BaseException, match=r".") as caught:
        await meanwhile(lambda: opening.connect("/"), lambda: opening.data_received(answer))
    error = only(caught)
    assert isinstance(error, ConnectionRejected)
    assert (error.status_code, error.body) == (403, b"no")
    assert error.headers is not None
    assert (b"x-why", b"no") in error.headers
    assert transport.is_aborted


def garbage(opening: ClientOpening, transport: FakeTransport) -> None:
    opening.data_received(b"SSH-2.0-OpenSSH_9.6\r\n")


def end_of_file(opening: ClientOpening, transport: FakeTransport) -> None:
    opening.eof_received()


def half_an_answer(opening: ClientOpening, transport: FakeTransport) -> None:
    opening.data_received(b"HTTP/1.1 101 Sw")
    opening.eof_received()


def reset_by_peer(opening: ClientOpening, transport: FakeTransport) -> None:
    error = trio.BrokenResourceError("broken")
    error.__cause__ = ConnectionResetError(104, "reset by peer")
    transport.lose(error)


def lost(opening: ClientOpening, transport: FakeTransport) -> None:
    transport.lose(trio.BrokenResourceError("no cause"))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (garbage, "something else than an HTTP/1.1 response: 'SSH"),
        (end_of_file, "the server ended the connection before sending a response"),
        (half_an_answer, "the server ended the connection in the middle of its response"),
        (reset_by_peer, "before sending a response: .*reset by peer"),
        (lost, "before sending a response: no cause"),
    ],
)
async def test_client_says_what_was_wrong_with_the_answer(
    answer: Callable[[ClientOpening, FakeTransport], None], message: str
) -> None:
    opening, transport = make_client()
    with pytest.raises(BaseException, match=r".") as caught:
        await meanwhile(lambda: opening.connect("/"), lambda: answer(opening, transport))
    error = only(caught)
    assert type(error) is HandshakeError
    assert error.__cause__ is not None
    with pytest.raises(HandshakeError, match=message):
        raise error
    assert transport.is_aborted


async def test_cancelled_client_drops_the_connection() -> None:
    opening, transport = make_client()
    with trio.move_on_after(0.001):
        await opening.connect("/")
    assert transport.is_aborted


# ------------------------------------------------------------------------------------------------------ the server's


async def receive_request(data: bytes = b"") -> tuple[ServerOpening, FakeTransport, OpeningRequest]:
    opening, transport = make_server()
    request = await meanwhile(
        opening.receive_request, lambda: opening.data_received(request_head("/?q") + data)
    )
    return opening, transport, request


async def test_server_takes_the_request_and_accepts_it() -> None:
    opening, transport, request = await receive_request()
    assert request.path == "/?q"
    ws = opening.accept(request, None, [(b"X-Extra", b"yes")])
    assert transport.written.startswith(b"HTTP/1.1 101 ")
    assert b"X-Extra: yes\r\n" in transport.written
    assert (ws.path, ws.is_server, ws.handshake_headers) == ("/?q", True, request.headers)
    assert transport.owner is ws._link
    await opening.wait_over()


async def test_frames_behind_the_request_are_the_connections() -> None:
    opening, transport, request = await receive_request(frame(TEXT, b"early", mask=MASK))
    assert transport.is_reading()
    opening.data_received(frame(TEXT, b"and more", mask=MASK))
    # No more is read until the request is answered.
    assert not transport.is_reading()
    ws = opening.accept(request, None, ())
    assert ws.get_message_nowait() == "early"
    assert ws.get_message_nowait() == "and more"
    assert transport.is_reading()


async def test_server_rejects_and_closes_so_that_the_answer_can_be_read() -> None:
    opening, transport, _ = await receive_request()
    opening.reject(403, (), b"no")
    assert transport.written.startswith(b"HTTP/1.1 403 ")
    assert transport.written.endswith(b"\r\n\r\nno")
    assert transport.closing == {"timeout": 7, "linger": 1.0, "shutdown": True}
    # What the client still sends is read and dropped, or closing would reset the connection.
    opening.data_received(bytes(100))
    assert transport.is_reading()


async def test_client_that_leaves_before_the_answer_is_let_go() -> None:
    opening, transport, request = await receive_request()
    opening.eof_received()
    assert opening.has_ended
    assert transport.is_aborted
    await opening.wait_over()
    with pytest.raises(HandshakeError, match="ended the connection before its request was answered"):
        opening.accept(request, None, ())
    with pytest.raises(HandshakeError, match="ended the connection before its request was answered"):
        opening.reject(403, (), None)


async def test_end_of_file_behind_the_answer_does_not_cut_it_off() -> None:
    opening, transport, _ = await receive_request()
    opening.reject(403, (), None)
    opening.eof_received()
    assert not transport.is_aborted


@pytest.mark.parametrize("answer", ["accept", "reject"])
async def test_client_that_sends_too_much_ahead_is_left(answer: str) -> None:
    opening, transport, request = await receive_request(bytes(70_000))
    opening.data_received(bytes(1))
    with pytest.raises(HandshakeError, match="ahead of the opening handshake") as caught:
        if answer == "accept":
            opening.accept(request, None, ())
        else:
            opening.reject(403, (), None)
    assert isinstance(caught.value.__cause__, RemoteProtocolError)
    assert transport.is_aborted
    assert opening.has_ended


async def test_wrong_argument_leaves_the_request_unanswered() -> None:
    opening, transport, request = await receive_request()
    with pytest.raises(ValueError, match="not one that the client proposed"):
        opening.accept(request, "chat", ())
    with pytest.raises(ValueError, match="101"):
        opening.reject(101, (), None)
    assert transport.written == b""
    opening.accept(request, None, ())
    assert transport.written.startswith(b"HTTP/1.1 101 ")


async def test_connection_does_not_keep_its_handshake() -> None:
    opening, _, request = await receive_request()
    handshake = opening._handshake
    assert handshake in vars(opening).values()
    opening.accept(request, None, ())
    assert handshake not in vars(opening).values()


async def test_wrong_request_is_answered_before_the_connection_ends() -> None:
    opening, transport = make_server()

    def answer() -> None:
        opening.data_received(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")

    async with trio.open_nursery() as nursery:

        async def receive() -> None:
            with pytest.raises(HandshakeError, match="Upgrade: websocket"):
                await opening.receive_request()

        nursery.start_soon(receive)
        await settle()
        answer()
        await settle()
        assert transport.written.startswith(b"HTTP/1.1 426 ")
        assert transport.closing == {"timeout": 7, "linger": 1.0, "shutdown": True}
        assert not transport.is_aborted
        transport.lose()


async def test_connection_without_a_request_is_dropped_without_an_answer() -> None:
    opening, transport = make_server()
    with pytest.raises(BaseException, match=r".") as caught:
        await meanwhile(opening.receive_request, opening.eof_received)
    assert "before sending a request" in str(only(caught))
    assert transport.written == b""
    assert not transport.is_closing()
    assert transport.is_aborted


@pytest.mark.parametrize("data", [b"", b"GET / HT"])
async def test_cancelled_server_drops_the_connection(data: bytes) -> None:
    opening, transport = make_server()
    opening.data_received(data)
    with trio.move_on_after(0.001):
        await opening.receive_request()
    assert transport.is_aborted


async def test_drained_backlog_is_of_no_interest() -> None:
    opening, transport = make_server()
    opening.backlog_drained()
    assert transport.written == b""


def test_handshake_takes_nothing_straight_to_where_it_belongs() -> None:
    opening, _ = make_server()
    with pytest.raises(NotImplementedError):
        opening.fill(len)
    assert not opening.is_filling
