"""Cancelling what opens, holds and serves connections at each checkpoint: nothing is left, and no error is masked.

`checkpoints` tells how.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from certificates import Certificates
from checkpoints import (
    TIGHT,
    Attack,
    answer_request,
    assert_closed,
    assert_stream_closed,
    contained,
    torture,
)
from support import HOST, PING, PONG, RawPeer, make_pair, raw_server, request_head, serving, url_of

import trio_websocket
from trio_websocket import (
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
    WebSocketConnection,
    WebSocketRequest,
    WebSocketServer,
    connect_websocket,
    connect_websocket_url,
    open_websocket,
    open_websocket_url,
)

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


pytestmark = pytest.mark.usefixtures("transport")


async def prove(ws: WebSocketConnection, text: str = "proof") -> None:
    """The connection works, both ways, with a peer that sends back what it receives."""
    await ws.send_message(text)
    assert await ws.get_message() == text


async def prove_served(server: WebSocketServer) -> None:
    """The server goes on serving."""
    async with open_websocket_url(url_of(server)) as ws:
        await prove(ws)


# ------------------------------------------------------------------------------------------- over streams of yours


def test_cancelled_client_handshake_closes_the_stream() -> None:
    async def scenario(attack: Attack) -> None:
        ours, theirs = TIGHT()
        peer = RawPeer(theirs, is_client=False)
        async with theirs, trio.open_nursery() as nursery, trio.open_nursery() as tasks:
            tasks.start_soon(_answer_when_idle, peer)
            ending = await attack.run(lambda: trio_websocket.wrap_client_stream(nursery, ours, "test", "/"))
            assert ending.delay == 0
            if ending.value is None:
                assert not nursery.child_tasks
                await assert_stream_closed(ours)
            else:
                await _prove_with_raw(ending.value, peer)
            tasks.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
        await assert_stream_closed(ours)

    torture(scenario)


async def _answer_when_idle(peer: RawPeer) -> None:
    await trio.testing.wait_all_tasks_blocked()
    try:
        await answer_request(peer)
    except (trio.BrokenResourceError, EOFError):
        pass


async def _prove_with_raw(ws: WebSocketConnection, peer: RawPeer) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ws.ping, b"proof")
        assert (await peer.read_frame())[1:] == (PING, b"proof")
        await peer.send_frame(PONG, b"proof")


@pytest.mark.parametrize("answer", ["accept", "reject"])
def test_cancelled_server_handshake_closes_the_stream_and_a_cancelled_answer_was_not_given(
    answer: str,
) -> None:
    async def scenario(attack: Attack) -> None:
        ours, theirs = make_pair()
        peer = RawPeer(theirs, is_client=True)

        async def send_request() -> None:
            for part in (request_head()[:20], request_head()[20:]):
                await trio.testing.wait_all_tasks_blocked()
                await theirs.send_all(part)

        async with theirs, trio.open_nursery() as nursery, trio.open_nursery() as tasks:
            tasks.start_soon(send_request)
            request: WebSocketRequest | None = None

            async def receive_and_answer() -> None:
                nonlocal request
                request = await trio_websocket.wrap_server_stream(nursery, ours)
                await (request.accept() if answer == "accept" else request.reject(403))

            ending = await attack.run(receive_and_answer)
            if request is None:
                assert not nursery.child_tasks
                await assert_stream_closed(ours)
            else:
                await _answer_again(request, answer, peer, was_answered=ending.returned)
            tasks.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
        await assert_stream_closed(ours)

    torture(scenario)


async def _answer_again(request: WebSocketRequest, answer: str, peer: RawPeer, *, was_answered: bool) -> None:
    if was_answered:
        with pytest.raises(RuntimeError, match="already"):
            await request.accept()
    elif answer == "reject":
        await request.reject(403)
    else:
        await _prove_with_raw(await _accept_and_read(request, peer), peer)
        return
    assert (await peer.read_head()).startswith(b"HTTP/1.1 403" if answer == "reject" else b"HTTP/1.1 101")


async def _accept_and_read(request: WebSocketRequest, peer: RawPeer) -> WebSocketConnection:
    ws = await request.accept()
    assert (await peer.read_head()).startswith(b"HTTP/1.1 101")
    return ws


@pytest.mark.parametrize("wrap", ["wrap_client_stream", "wrap_server_stream"])
async def test_connection_that_its_nursery_does_not_take_is_closed(wrap: str) -> None:
    ours, theirs = make_pair()
    async with trio.open_nursery() as closed_nursery:
        pass
    async with contained(), theirs, trio.open_nursery() as nursery:
        if wrap == "wrap_client_stream":
            nursery.start_soon(answer_request, RawPeer(theirs, is_client=False))
            with pytest.raises(RuntimeError, match="closed"):
                await trio_websocket.wrap_client_stream(closed_nursery, ours, "test", "/")
        else:
            await theirs.send_all(request_head())
            with pytest.raises(RuntimeError, match="closed"):
                await trio_websocket.wrap_server_stream(closed_nursery, ours)
        await assert_stream_closed(ours)


# -------------------------------------------------------------------------------------------- over sockets, by a client


async def _open_by_url(
    server: WebSocketServer, body: Callable[[WebSocketConnection], Awaitable[None]]
) -> None:
    async with open_websocket_url(url_of(server)) as ws:
        await body(ws)


async def _open_by_host(
    server: WebSocketServer, body: Callable[[WebSocketConnection], Awaitable[None]]
) -> None:
    async with open_websocket(HOST, server.port, "/", use_ssl=False) as ws:
        await body(ws)


async def _connect(server: WebSocketServer, body: Callable[[WebSocketConnection], Awaitable[None]]) -> None:
    async with (
        trio.open_nursery() as nursery,
        await connect_websocket(nursery, HOST, server.port, "/", use_ssl=False) as ws,
    ):
        await body(ws)


async def _connect_by_url(
    server: WebSocketServer, body: Callable[[WebSocketConnection], Awaitable[None]]
) -> None:
    async with trio.open_nursery() as nursery, await connect_websocket_url(nursery, url_of(server)) as ws:
        await body(ws)


@pytest.mark.slow
@pytest.mark.parametrize("way", [_open_by_url, _open_by_host, _connect, _connect_by_url])
def test_client_cancelled_on_entering_within_or_on_leaving_leaves_nothing(way: Any) -> None:
    async def scenario(attack: Attack) -> None:
        async with serving() as server:
            opened: list[WebSocketConnection] = []

            async def body(ws: WebSocketConnection) -> None:
                opened.append(ws)
                await prove(ws)

            ending = await attack.run(lambda: way(server, body))
            # Well within the grace: the peer answers.
            assert ending.delay < 2
            if way in {_open_by_url, _open_by_host}:
                assert ending.returned or type(ending.error) is trio.Cancelled
            for ws in opened:
                await assert_closed(ws)
            await prove_served(server)

    torture(scenario, real_time=True)


class _Boom(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    "boom", [_Boom(), ExceptionGroup("the body's own", [_Boom()]), StopAsyncIteration()], ids=repr
)
def test_body_s_own_exception_comes_out_itself_whenever_the_block_is_cancelled(boom: Exception) -> None:
    async def scenario(attack: Attack) -> None:
        async with serving() as server:
            has_raised = False

            async def body(ws: WebSocketConnection) -> None:
                nonlocal has_raised
                await prove(ws)
                has_raised = True
                raise boom

            ending = await attack.run(lambda: _open_by_url(server, body))
            if has_raised:
                assert ending.error is boom
                assert boom.__cause__ is None
            else:
                assert type(ending.error) is trio.Cancelled

    torture(scenario, real_time=True)


async def _stay_silent(peer: RawPeer) -> None:
    await trio.sleep_forever()


async def _leave_at_once(peer: RawPeer) -> None:
    """A server that hangs up."""


@pytest.mark.parametrize("has_raised", [False, True], ids=["returns", "raises"])
def test_leaving_a_server_that_does_not_answer_is_bounded_and_masks_nothing(has_raised: bool) -> None:
    boom = _Boom()

    async def scenario(attack: Attack) -> None:
        async with raw_server(_stay_silent) as port:
            is_leaving = False

            async def use() -> None:
                nonlocal is_leaving
                async with open_websocket(HOST, port, "/", use_ssl=False, disconnect_timeout=5):
                    await trio.sleep(1)
                    is_leaving = True
                    if has_raised:
                        raise boom

            start = trio.current_time()
            ending = await attack.run(use)
            # The grace of a block that raised or was cancelled, for the server to answer the close that it is sent.
            assert ending.delay <= 2
            assert trio.current_time() - start <= (3 if has_raised else 6)
            if is_leaving and has_raised:
                assert ending.error is boom
            elif ending.was_cancelled:
                assert type(ending.error) is trio.Cancelled
            else:
                assert type(ending.error) is DisconnectionTimeout

    torture(scenario)


@pytest.mark.parametrize(
    ("how", "error_type"), [("refuses", OSError), ("hangs up", Exception), ("is silent", trio.TooSlowError)]
)
def test_connection_that_cannot_be_opened_says_why_whenever_it_is_cancelled(
    how: str, error_type: type
) -> None:
    async def use(port: int) -> None:
        async with open_websocket(HOST, port, "/", use_ssl=False, connect_timeout=5):
            raise AssertionError("it opened")

    async def scenario(attack: Attack) -> None:
        handler = _stay_silent if how == "is silent" else _leave_at_once
        async with raw_server(handler, shake_hands=False) as silent_port:
            listener = (await trio.open_tcp_listeners(0, host=HOST))[0]
            free_port = listener.socket.getsockname()[1]
            await listener.aclose()
            ending = await attack.run(lambda: use(free_port if how == "refuses" else silent_port))
            assert ending.delay == 0
            if ending.was_cancelled:
                assert type(ending.error) is trio.Cancelled
            else:
                assert isinstance(ending.error, ConnectionTimeout if how == "is silent" else HandshakeError)
                assert str(ending.error)
                assert isinstance(ending.error.__cause__, error_type)

    torture(scenario)


@pytest.mark.slow
def test_rejected_connection_is_rejected_or_cancelled_and_never_a_group() -> None:
    async def reject(request: WebSocketRequest) -> None:
        await request.reject(403, body=b"no")

    async def scenario(attack: Attack) -> None:
        async with serving(reject) as server:
            ending = await attack.run(lambda: _open_by_url(server, prove))
            assert type(ending.error) in {trio.Cancelled, ConnectionRejected}

    torture(scenario, real_time=True)


@pytest.mark.slow
def test_client_over_tls_cancelled_at_any_point_leaves_nothing(certificates: Certificates) -> None:
    server_context, client_context = certificates.server_context(), certificates.client_context()

    async def scenario(attack: Attack) -> None:
        async with serving(ssl_context=server_context) as server:

            async def use() -> None:
                async with open_websocket_url(url_of(server), client_context) as ws:
                    await prove(ws)

            ending = await attack.run(use)
            assert ending.returned or type(ending.error) is trio.Cancelled
            async with open_websocket_url(url_of(server), client_context) as ws:
                await prove(ws)

    torture(scenario, real_time=True)
