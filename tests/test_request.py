"""A client's request, which is answered once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from support import CLOSE, RawPeer, request_head

from trio_websocket import (
    CloseReason,
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    WebSocketRequest,
    wrap_server_stream,
)
from trio_websocket._request import awaits_answer, finish_request, has_ended_with
from trio_websocket._transports import pace_of_this_run

settle = trio.testing.wait_all_tasks_blocked


@asynccontextmanager
async def requested(*lines: bytes, path: str = "/") -> AsyncIterator[tuple[WebSocketRequest, RawPeer]]:
    """A request over streams in memory."""
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        await theirs.send_all(request_head(path, *lines))
        yield await wrap_server_stream(nursery, ours), RawPeer(theirs, is_client=True)
        await theirs.aclose()
        nursery.cancel_scope.cancel()


async def test_request_tells_what_the_client_asks_for() -> None:
    lines = [b"X-Token: a", b"x-token: b", b"Sec-WebSocket-Protocol: chat, superchat", b"Origin: http://test"]
    async with requested(*lines, path="/path?query=1") as (request, _):
        assert request.path == "/path?query=1"
        assert request.proposed_subprotocols == ("chat", "superchat")
        assert isinstance(request.headers, list)
        assert [value for name, value in request.headers if name == b"x-token"] == [b"a", b"b"]
        names = {name for name, _ in request.headers}
        assert {b"origin", b"upgrade", b"sec-websocket-key"} <= names
        assert not names & {b"host", b"sec-websocket-protocol", b"sec-websocket-extensions"}
        assert isinstance(request.local, str)
        assert isinstance(request.remote, str)


async def test_request_has_a_name_for_logs_and_after_accepting_the_connections() -> None:
    async with requested(path="/path?token=secret") as (request, _):
        assert str(request) == repr(request) == f"<WebSocketRequest '/path' from {request.remote}>"
        ws = await request.accept()
        assert str(request) == str(ws)
        assert repr(request).startswith("<WebSocketRequest '/path' from ")


async def test_accepting_answers_with_subprotocol_and_headers() -> None:
    async with requested(b"Sec-WebSocket-Protocol: chat, superchat") as (request, peer):
        ws = await request.accept(subprotocol="superchat", extra_headers=[(b"X-Extra", b"yes")])
        assert ws.subprotocol == "superchat"
        assert ws.handshake_headers == tuple(request.headers)
        head = await peer.read_head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"\r\nSec-WebSocket-Protocol: superchat\r\n" in head
        assert b"\r\nX-Extra: yes\r\n" in head


@pytest.mark.parametrize(
    ("status_code", "body", "content"), [(403, None, b""), (404, b"not here", b"not here"), (302, None, b"")]
)
async def test_rejecting_answers_with_status_headers_and_body(
    status_code: int, body: bytes | None, content: bytes
) -> None:
    async with requested() as (request, peer):
        await request.reject(status_code, extra_headers=[(b"Location", b"/there")], body=body)
        answer = await peer.read_to_end()
        head, _, rest = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status_code)
        assert b"\r\nLocation: /there" in head
        assert rest == content


async def test_rejecting_with_headers_that_are_ours_to_send_leaves_them_out() -> None:
    async with requested() as (request, peer):
        headers = [(b"connection", b"keep-alive"), (b"X-A", b"1"), (b"Transfer-Encoding", b"chunked")]
        await request.reject(403, extra_headers=headers, body=b"no")
        head, _, rest = (await peer.read_to_end()).partition(b"\r\n\r\n")
        assert b"\r\nX-A: 1" in head
        assert b"keep-alive" not in head
        assert b"chunked" not in head
        assert rest == b"no"


async def test_request_can_be_answered_only_once() -> None:
    async with requested() as (request, _):
        await request.accept()
        with pytest.raises(RuntimeError, match="accepted already"):
            await request.accept()
        with pytest.raises(RuntimeError, match="accepted already"):
            await request.reject(403)
    async with requested() as (request, _):
        await request.reject(403)
        with pytest.raises(RuntimeError, match="rejected already"):
            await request.accept()
        with pytest.raises(RuntimeError, match="rejected already"):
            await request.reject(403)


async def test_of_two_tasks_that_answer_at_once_one_is_refused() -> None:
    async with requested() as (request, _):
        outcomes: list[str] = []

        async def accept() -> None:
            try:
                await request.accept()
                outcomes.append("accepted")
            except RuntimeError:
                outcomes.append("refused")

        async def reject() -> None:
            with pytest.raises(RuntimeError, match="accepted"):
                await request.reject(403)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            nursery.start_soon(accept)
        await reject()
        assert sorted(outcomes) == ["accepted", "refused"]


async def test_wrong_answer_may_be_followed_by_a_right_one() -> None:
    async with requested() as (request, _):
        with pytest.raises(ValueError, match="chat"):
            await request.accept(subprotocol="chat")
        with pytest.raises(ValueError, match=r"."):
            await request.accept(extra_headers=[(b"Bad\r\n", b"x")])
        with pytest.raises(ValueError, match="600"):
            await request.reject(600)
        assert (await request.accept()).closed is None


async def test_answer_that_is_cancelled_was_not_given() -> None:
    async with requested() as (request, peer):
        for call in (request.accept, lambda: request.reject(403)):
            with trio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught
        await request.accept()
        assert (await peer.read_head()).startswith(b"HTTP/1.1 101 ")


async def test_answering_lets_others_run() -> None:
    pace_of_this_run().calls_left = 1
    async with requested() as (request, _):
        with pytest.raises(AssertionError, match="yielded"), trio.testing.assert_no_checkpoints():
            await request.accept()
    async with requested() as (request, _):
        with trio.testing.assert_checkpoints():
            await request.reject(403)


async def test_client_that_has_gone_cannot_be_answered() -> None:
    async with trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        await theirs.send_all(request_head())
        request = await wrap_server_stream(nursery, ours)
        await theirs.aclose()
        await settle()
        # Nothing is left that keeps the nursery open.
        assert len(nursery.child_tasks) == 0
        for answer in (request.accept, lambda: request.reject(403)):
            with pytest.raises(HandshakeError, match="ended the connection before its request was answered"):
                await answer()


async def test_nursery_lives_as_long_as_the_connection() -> None:
    async with requested() as (request, peer):
        ws = await request.accept()
        await peer.read_head()
        await settle()
        await peer.send_close(4000)
        await peer.stream.aclose()
        assert await ws.wait_closed() == CloseReason(4000, None)


async def test_nursery_that_is_cancelled_answers_503(mock_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        await theirs.send_all(request_head())
        await wrap_server_stream(nursery, ours)
        nursery.cancel_scope.cancel()
    answer = await RawPeer(theirs, is_client=True).read_to_end()
    assert answer.startswith(b"HTTP/1.1 503 ")
    # The client had time to read it.
    assert 0 < trio.current_time() <= 2


async def test_nursery_that_is_cancelled_closes_with_1001() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    peer = RawPeer(theirs, is_client=True)

    async def answer_close() -> None:
        await peer.read_head()
        sent = await peer.read_frame()
        assert (sent.opcode, sent.payload[:2]) == (CLOSE, b"\x03\xe9")
        await peer.send_close(1001)
        await theirs.aclose()

    async with trio.open_nursery() as outer:
        outer.start_soon(answer_close)
        async with trio.open_nursery() as nursery:
            await theirs.send_all(request_head())
            ws = await (await wrap_server_stream(nursery, ours)).accept()
            nursery.cancel_scope.cancel()
    assert ws.closed is not None
    assert ws.closed.code == 1001


async def test_closed_nursery_leaves_nothing_open() -> None:
    async with trio.open_nursery() as nursery:
        pass
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(request_head())
    with pytest.raises(RuntimeError, match="closed"):
        await wrap_server_stream(nursery, ours)
    assert await theirs.receive_some() == b""


# --------------------------------------------------------------------------------------------- what a server does with it


async def test_finishing_answers_what_nobody_has_answered(mock_clock: trio.testing.MockClock) -> None:
    async with requested() as (request, peer):
        assert awaits_answer(request)
        await finish_request(request, 1000, None, 500)
        assert (await peer.read_to_end()).startswith(b"HTTP/1.1 500 ")
        assert trio.current_time() == 1


async def test_finishing_waits_until_the_rejection_is_out(mock_clock: trio.testing.MockClock) -> None:
    async with requested() as (request, peer):
        await request.reject(403)
        assert not awaits_answer(request)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(finish_request, request, 1000, None, 500)
            assert (await peer.read_to_end()).startswith(b"HTTP/1.1 403 ")
            await peer.stream.aclose()
        assert trio.current_time() == 0


async def test_finishing_closes_the_connection(mock_clock: trio.testing.MockClock) -> None:
    async with requested() as (request, peer):
        ws = await request.accept()
        await peer.read_head()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(finish_request, request, 4000, "bye", 500)
            assert (await peer.read_frame()).payload == b"\x0f\xa0bye"
            await peer.send_close(4000)
            await peer.stream.aclose()
        assert ws.closed == CloseReason(4000, "bye")


async def test_finishing_lets_go_of_a_client_that_has_gone_or_sent_too_much() -> None:
    async with requested() as (request, peer):
        await peer.stream.aclose()
        await settle()
        assert not awaits_answer(request)
        await finish_request(request, 1000, None, 500)
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        await theirs.send_all(request_head() + bytes(70_000))
        request = await wrap_server_stream(nursery, ours, 1, 2**20, 2**20)
        await theirs.send_all(bytes(1))
        await settle()
        assert awaits_answer(request)
        await finish_request(request, 1000, None, 500)
        assert not awaits_answer(request)
        await settle()
        assert len(nursery.child_tasks) == 0


@pytest.mark.parametrize("grace", [0, 2])
async def test_cancelled_finishing_takes_no_longer_than_its_grace(
    mock_clock: trio.testing.MockClock, grace: float
) -> None:
    for accept in (False, True):
        async with requested() as (request, peer):
            if accept:
                await request.accept()
            else:
                await request.reject(403)
            start = trio.current_time()
            with trio.CancelScope() as scope:
                scope.cancel()
                await finish_request(request, 1000, None, 500, grace=grace)
            assert trio.current_time() - start <= grace
            if not accept or not grace:
                assert trio.current_time() - start <= 1
            await peer.read_to_end()


async def open_and_close() -> tuple[WebSocketRequest, WebSocketConnection]:
    async with requested() as (request, peer):
        ws = await request.accept()
        await peer.send_close(4000)
        await peer.stream.aclose()
        await ws.wait_closed()
    return request, ws


async def test_error_that_only_says_that_the_connection_ended_is_known() -> None:
    request, ws = await open_and_close()
    with pytest.raises(ConnectionClosed) as caught:
        await ws.get_message()
    own = caught.value
    assert has_ended_with(request, own)
    assert has_ended_with(request, ConnectionClosed(ws.closed))
    assert not has_ended_with(request, ConnectionClosed(CloseReason(1006, None)))
    assert not has_ended_with(request, ValueError())
    assert not has_ended_with(request, HandshakeError("another connection's"))


async def test_group_that_only_says_that_the_connection_ended_is_known() -> None:
    request, ws = await open_and_close()

    async def group_of(*errors: Exception) -> BaseException:
        async def fail(error: Exception) -> None:
            raise error

        try:
            async with trio.open_nursery() as nursery:
                for error in errors:
                    nursery.start_soon(fail, error)
        except BaseException as group:
            return group
        raise AssertionError

    assert has_ended_with(request, await group_of(ConnectionClosed(ws.closed)))
    assert not has_ended_with(request, await group_of(ConnectionClosed(ws.closed), ValueError()))


async def test_error_of_an_open_connection_is_no_end_even_if_it_has_no_reason() -> None:
    class Closed(ConnectionClosed):
        def __init__(self) -> None:
            pass

    async with requested() as (request, _):
        assert not has_ended_with(request, Closed())
        await request.accept()
        assert not has_ended_with(request, Closed())


async def test_handshake_error_says_that_the_connection_ended_if_the_client_has_gone() -> None:
    async with requested() as (request, peer):
        assert not has_ended_with(request, HandshakeError("x"))
        await peer.stream.aclose()
        await settle()
        assert has_ended_with(request, HandshakeError("x"))
