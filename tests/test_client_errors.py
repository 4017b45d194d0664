"""What goes wrong with a client's connection, and what comes out of its block."""

from __future__ import annotations

import math
import sys

import pytest
import trio
import trio.testing
from support import HOST, RawPeer, check_echo, raw_server, response_head, serving, url_of

from trio_websocket import (
    CloseReason,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
    WebSocketConnection,
    WebSocketRequest,
    connect_websocket,
    open_websocket,
    open_websocket_url,
)

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

settle = trio.testing.wait_all_tasks_blocked


# ---------------------------------------------------------------------------------------------- what goes wrong, says so


async def test_rejection_is_told_with_all_that_the_server_said() -> None:
    async def handler(request: WebSocketRequest) -> None:
        await request.reject(403, extra_headers=[(b"X-Why", b"no")], body=b"go away")

    async with serving(handler) as server:
        with pytest.raises(ConnectionRejected, match="403 Forbidden: 'go away'") as caught:
            async with open_websocket_url(url_of(server)):
                pass
    assert (caught.value.status_code, caught.value.body) == (403, b"go away")
    assert caught.value.headers is not None
    assert (b"x-why", b"no") in caught.value.headers


async def test_no_way_to_the_server_is_an_os_error_too() -> None:
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with trio.open_nursery() as nursery:
        for expected in (OSError, HandshakeError, ConnectionFailed):
            with pytest.raises(expected, match=f"cannot connect to {HOST} port {port}"):
                await connect_websocket(nursery, HOST, port, "/", use_ssl=False)
            with pytest.raises(expected, match=f"cannot connect to {HOST} port {port}"):
                async with open_websocket(HOST, port, "/", use_ssl=False):
                    pass


async def test_server_that_never_answers_is_a_connection_timeout(mock_clock: trio.testing.MockClock) -> None:
    async def silent(peer: RawPeer) -> None:
        await trio.sleep_forever()

    async with raw_server(silent, shake_hands=False) as port:
        with pytest.raises(
            ConnectionTimeout, match=f"{HOST} port {port} within connect_timeout=7 seconds"
        ) as caught:
            async with open_websocket(HOST, port, "/", use_ssl=False, connect_timeout=7):
                pass
    assert trio.current_time() == 7
    assert isinstance(caught.value.__cause__, trio.TooSlowError)


async def test_server_that_never_shakes_hands_with_tls_is_a_connection_timeout(
    mock_clock: trio.testing.MockClock,
) -> None:
    async def silent(peer: RawPeer) -> None:
        await trio.sleep_forever()

    async with raw_server(silent, shake_hands=False) as port:
        with pytest.raises(ConnectionTimeout):
            async with open_websocket(HOST, port, "/", use_ssl=True, connect_timeout=7):
                pass
    assert trio.current_time() == 7


async def never_close(peer: RawPeer) -> None:
    await trio.sleep_forever()


async def test_server_that_never_closes_is_a_disconnection_timeout(
    mock_clock: trio.testing.MockClock,
) -> None:
    async with raw_server(never_close) as port:
        with pytest.raises(DisconnectionTimeout, match="disconnect_timeout=7 seconds"):
            async with open_websocket(HOST, port, "/", use_ssl=False, disconnect_timeout=7) as ws:
                pass
    assert trio.current_time() == 7
    # What we said; that there was no answer is the error.
    assert ws.closed == CloseReason(1000, None)


@pytest.mark.parametrize(("disconnect_timeout", "seconds"), [(7, 2), (math.inf, 2), (1, 1)])
async def test_block_that_raises_is_left_within_two_seconds_whatever_the_peer_does(
    mock_clock: trio.testing.MockClock, disconnect_timeout: float, seconds: float
) -> None:
    async with raw_server(never_close) as port:
        with pytest.raises(KeyError) as caught:
            async with open_websocket(
                HOST, port, "/", use_ssl=False, disconnect_timeout=disconnect_timeout
            ) as ws:
                raise KeyError
    assert trio.current_time() == seconds
    assert caught.value.__context__ is None
    assert ws.closed == CloseReason(1000, None)


async def test_infinity_switches_timeouts_off(mock_clock: trio.testing.MockClock) -> None:
    async def slow(peer: RawPeer) -> None:
        head = await peer.read_head()
        await trio.sleep(80_000)
        await peer.stream.send_all(response_head(head))
        await peer.read_frame()
        await trio.sleep(80_000)
        await peer.send_close()

    async with (
        raw_server(slow, shake_hands=False) as port,
        open_websocket(
            HOST, port, "/", use_ssl=False, connect_timeout=math.inf, disconnect_timeout=math.inf
        ) as ws,
    ):
        pass
    assert trio.current_time() == pytest.approx(160_000)
    assert ws.closed == CloseReason(1000, None)


# ------------------------------------------------------------------------------------------- what the block raises


class Interrupt(BaseException):
    """No `Exception`, as KeyboardInterrupt is none."""


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyError("x"),
        HandshakeError("the user's own"),
        trio.TooSlowError(),
        trio.BrokenResourceError(),
        ExceptionGroup("x", [ValueError("x")]),
        ExceptionGroup("x", [trio.BrokenResourceError()]),
        BaseExceptionGroup("x", [Interrupt()]),
        Interrupt(),
        KeyboardInterrupt(),
        SystemExit(1),
        GeneratorExit(),
        StopIteration("x"),
        StopAsyncIteration("x"),
        RuntimeError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_the_block_raises_comes_out_as_it_is(error: BaseException) -> None:
    async with serving() as server:
        connections: list[WebSocketConnection] = []
        caught: BaseException | None = None
        try:
            async with open_websocket_url(url_of(server)) as ws:
                connections.append(ws)
                raise error
        except BaseException as raised:
            caught = raised
        assert caught is error
        assert caught.__cause__ is None
        # It closed all the same.
        assert connections[0].closed == CloseReason(1000, None)


async def test_connection_closed_in_the_block_comes_out_as_it_is() -> None:
    async def handler(request: WebSocketRequest) -> None:
        await (await request.accept()).aclose(4000, "enough")

    async with serving(handler) as server:
        seen: list[BaseException] = []
        try:
            async with open_websocket_url(url_of(server)) as ws:
                try:
                    await ws.get_message()
                except ConnectionClosed as error:
                    seen.append(error)
                    raise
        except BaseException as raised:
            seen.append(raised)
        assert seen[0] is seen[1]


async def test_cancelled_block_closes_with_1000_and_goes_on_being_cancelled() -> None:
    reasons: list[CloseReason] = []

    async def handler(request: WebSocketRequest) -> None:
        reasons.append(await (await request.accept()).wait_closed())

    async with serving(handler) as server:
        with trio.CancelScope() as scope:
            async with open_websocket_url(url_of(server)) as ws:
                scope.cancel()
                await ws.get_message()
        assert scope.cancelled_caught
        await settle()
        assert [reason.code for reason in reasons] == [1000]


async def test_cancelled_block_closes_within_two_seconds(mock_clock: trio.testing.MockClock) -> None:
    async with raw_server(never_close) as port:
        with trio.move_on_after(5):
            async with open_websocket(HOST, port, "/", use_ssl=False):
                await trio.sleep_forever()
        assert trio.current_time() == 7


async def test_own_exception_of_a_cancelled_block_comes_out(mock_clock: trio.testing.MockClock) -> None:
    async with raw_server(never_close) as port:
        with trio.CancelScope() as scope, pytest.raises(KeyError):
            async with open_websocket(HOST, port, "/", use_ssl=False):
                scope.cancel()
                raise KeyError
        assert not scope.cancelled_caught
        assert trio.current_time() == 2


async def test_block_that_is_cancelled_at_its_very_end_closes_all_the_same() -> None:
    async with serving() as server:
        with trio.CancelScope() as scope:
            async with open_websocket_url(url_of(server)) as ws:
                scope.cancel()
        assert scope.cancelled_caught
        assert ws.closed == CloseReason(1000, None)


async def test_block_may_close_the_connection_itself() -> None:
    async with serving() as server:
        async with open_websocket_url(url_of(server)) as ws:
            await ws.aclose(4000, "mine")
        assert ws.closed is not None
        assert ws.closed.code == 4000


async def test_no_task_is_left_when_the_block_ends() -> None:
    async with serving() as server:
        # What the server keeps for all that come begins with the first.
        async with open_websocket_url(url_of(server)):
            pass
        await settle()
        before = trio.lowlevel.current_statistics().tasks_living
        async with open_websocket_url(url_of(server)) as ws:
            await check_echo(ws)
            assert trio.lowlevel.current_statistics().tasks_living > before
        # Ours are gone at once; the server's follow.
        await settle()
        assert trio.lowlevel.current_statistics().tasks_living == before
