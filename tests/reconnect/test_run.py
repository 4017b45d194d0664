"""Running a session again on a new connection when one is lost."""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from typing import Any

import pytest
import trio
import trio.testing
from certificates import Certificates
from reconnect_support import (
    PLAIN,
    URL,
    Script,
    answering,
    closing,
    hanging_up,
    network,
    rejecting,
    say_nothing,
    shake_hands,
)
from support import HOST, RawPeer, echo, serving, url_of

import trio_websocket
from trio_websocket import (
    Backoff,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionRejected,
    ConnectionTimeout,
    HandshakeError,
    Heartbeat,
    PeerSilent,
    TLSFailed,
    WebSocketConnection,
    WebSocketRequest,
    open_websocket_url,
    run_websocket_url,
    serve_websocket,
)

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

QUICK = Backoff(initial=0, attempts=5)


async def receive_one(ws: WebSocketConnection) -> str | bytes:
    return await ws.get_message()


# -------------------------------------------------------------------------------------------------- what it does


async def test_result_is_what_the_session_returned() -> None:
    async def session(ws: WebSocketConnection) -> int:
        await ws.send_message("hello")
        assert await ws.get_message() == "hello"
        return 42

    async with serving() as server:
        assert await run_websocket_url(session, url_of(server)) == 42


async def test_options_are_those_of_open_websocket_url() -> None:
    requests: list[WebSocketRequest] = []

    async def handler(request: WebSocketRequest) -> None:
        requests.append(request)
        ws = await request.accept(subprotocol="b")
        if len(requests) < 3:
            await ws.aclose(1012)
        else:
            await ws.send_message("x" * 200)
            await ws.wait_closed()

    async def session(ws: WebSocketConnection) -> str | None:
        with pytest.raises(ConnectionClosed) as caught:
            await ws.get_message()
        if len(requests) < 3:
            raise caught.value
        assert caught.value.reason is not None
        assert caught.value.reason.code == 1009
        return ws.subprotocol

    async with serving(handler) as server:
        result = await run_websocket_url(
            session,
            url_of(server),
            backoff=QUICK,
            subprotocols=iter(["a", "b"]),
            extra_headers=iter([(b"X-A", b"1")]),
            max_message_size=100,
        )
    assert result == "b"
    # Each of the connections, though iterators are empty after the first.
    assert [request.proposed_subprotocols for request in requests] == [("a", "b")] * 3
    assert all((b"x-a", b"1") in request.headers for request in requests)


async def test_server_that_dies_and_comes_back_is_found_again() -> None:
    connections: list[WebSocketConnection] = []

    async def session(ws: WebSocketConnection) -> str:
        connections.append(ws)
        await ws.send_message("hello")
        assert await ws.get_message() == "hello"
        if len(connections) == 3:
            return "done"
        kill.set()
        await ws.get_message()
        raise AssertionError("it survived")

    listener = (await trio.open_tcp_listeners(0, host=HOST))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    kill = trio.Event()

    async def serve_and_die() -> None:
        nonlocal kill
        for _ in range(3):
            kill = trio.Event()
            async with trio.open_nursery() as server:
                server.start_soon(serve_websocket, echo, HOST, port, None)
                await kill.wait()
                server.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_and_die)
        result = await run_websocket_url(
            session, f"ws://{HOST}:{port}/", backoff=Backoff(initial=0.001, maximum=0.01)
        )
        nursery.cancel_scope.cancel()
    assert result == "done"
    assert len(connections) == 3
    assert all(ws.closed is not None for ws in connections)


async def test_waits_grow_until_a_connection_has_lasted(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts: list[Script | Exception] = [
        OSError("unreachable"),
        hanging_up(),
        rejecting(503),
        closing(1012, after=20),
        closing(1013, after=5),
        closing(1000, "news"),
    ]
    async with network(monkeypatch, *scripts) as net:
        assert await run_websocket_url(receive_one, URL, backoff=PLAIN) == "news"
    # Waits of 1, 2, 4; then 20 seconds and a wait of 1 anew; then 5 and 2.
    assert net.dialled_at == [0, 1, 3, 7, 28, 35]


async def test_retry_after_is_honoured(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = [
        rejecting(429, "Retry-After: 90"),
        rejecting(503, "Date: Sun, 06 Nov 1994 08:49:37 GMT", "Retry-After: Sun, 06 Nov 1994 08:51:37 GMT"),
        rejecting(500, "Retry-After: 1000000000"),
        closing(1000, "news"),
    ]
    async with network(monkeypatch, *scripts) as net:
        assert await run_websocket_url(receive_one, URL, backoff=PLAIN) == "news"
    assert net.dialled_at == [0, 90, 210, 3810]


@pytest.mark.parametrize("code", [1001, 1011, 1012, 1013, 1014])
async def test_close_that_may_pass_is_tried_again(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    async with network(monkeypatch, closing(code), closing(1000, "news")):
        assert await run_websocket_url(receive_one, URL, backoff=PLAIN) == "news"


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1008, 1009, 1010, 3000, 4000])
async def test_any_other_close_is_raised_at_once(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    async with network(monkeypatch, closing(code)) as net:
        with pytest.raises(ConnectionClosed) as caught:
            await run_websocket_url(receive_one, URL, backoff=QUICK)
        assert caught.value.reason is not None
        assert caught.value.reason.code == code
    assert len(net.dialled_at) == 1


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 410])
async def test_any_other_status_is_raised_at_once(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    async with network(monkeypatch, rejecting(status)) as net:
        with pytest.raises(ConnectionRejected) as caught:
            await run_websocket_url(receive_one, URL, backoff=QUICK)
        assert caught.value.status_code == status
    assert len(net.dialled_at) == 1


async def test_server_that_hangs_up_in_the_handshake_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = [answering(b""), answering(b"HTTP/1.1 101 Swi"), closing(1000, "news")]
    async with network(monkeypatch, *scripts):
        assert await run_websocket_url(receive_one, URL, backoff=QUICK) == "news"


@pytest.mark.parametrize("answer", [b"220 mail.example ESMTP\r\n\r\n", b"HTTP/1.1 101 Yes\r\n\r\n"])
async def test_server_that_speaks_no_websocket_is_not(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    async with network(monkeypatch, answering(answer)) as net:
        with pytest.raises(HandshakeError):
            await run_websocket_url(receive_one, URL, backoff=QUICK)
    assert len(net.dialled_at) == 1


async def test_silence_while_connecting_is_tried_again(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with network(monkeypatch, say_nothing, closing(1000, "news")) as net:
        result = await run_websocket_url(receive_one, URL, backoff=PLAIN, connect_timeout=5)
    assert result == "news"
    assert net.dialled_at == [0, 6]


async def test_silence_on_a_connection_is_tried_again(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[BaseException | None] = []

    async def fall_silent(peer: RawPeer) -> None:
        await shake_hands(peer)
        await peer.read_to_end()

    async def session(ws: WebSocketConnection) -> str | bytes:
        try:
            return await ws.get_message()
        except ConnectionClosed as error:
            errors.append(error.__cause__)
            raise

    async with network(monkeypatch, fall_silent, closing(1000, "news")):
        heartbeat = Heartbeat(interval=20, timeout=10)
        assert await run_websocket_url(session, URL, backoff=PLAIN, heartbeat=heartbeat) == "news"
    [error] = errors
    assert isinstance(error, PeerSilent)


async def test_certificate_that_is_not_trusted_is_raised_at_once(certificates: Certificates) -> None:
    async with serving(ssl_context=certificates.server_context()) as server:
        with pytest.raises(TLSFailed):
            await run_websocket_url(receive_one, url_of(server))
        result = await run_websocket_url(_ask, url_of(server), certificates.client_context())
    assert result == "hello"


async def _ask(ws: WebSocketConnection) -> str | bytes:
    await ws.send_message("hello")
    return await ws.get_message()


# ----------------------------------------------------------------------------------------------- the session's own


async def test_bug_in_the_session_comes_out_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for bug in (KeyError("x"), OSError("x"), ConnectionFailed("x"), ExceptionGroup("g", [KeyError()])):

        async def session(ws: WebSocketConnection, bug: Exception = bug) -> None:
            raise bug

        async with serving() as server:
            with pytest.raises(type(bug)) as caught:
                await run_websocket_url(session, url_of(server), backoff=QUICK)
        assert caught.value is bug
        assert bug.__cause__ is None


async def test_loss_of_another_connection_is_the_sessions_own_affair() -> None:
    sessions = 0

    async def session(ws: WebSocketConnection) -> None:
        nonlocal sessions
        sessions += 1
        async with open_websocket_url(url_of(dying)) as other:
            await other.get_message()

    async def die(request: WebSocketRequest) -> None:
        await (await request.accept()).aclose(1012)

    async with serving() as server, serving(die) as dying:
        with pytest.raises(ConnectionClosed) as caught:
            await run_websocket_url(session, url_of(server), backoff=QUICK)
    assert caught.value.reason is not None
    assert caught.value.reason.code == 1012
    assert sessions == 1


async def test_loss_may_come_out_of_the_sessions_nurseries(monkeypatch: pytest.MonkeyPatch) -> None:
    async def session(ws: WebSocketConnection) -> str | bytes:
        messages: list[str | bytes] = []

        async def receive() -> None:
            messages.append(await ws.get_message())
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(receive)
        return messages[0]

    async with network(monkeypatch, closing(1012), hanging_up(), closing(1000, "news")):
        assert await run_websocket_url(session, URL, backoff=QUICK) == "news"
    async with network(monkeypatch, closing(4000)):
        # What ends it is no group.
        with pytest.raises(ConnectionClosed, match="4000"):
            await run_websocket_url(session, URL, backoff=QUICK)


async def test_session_that_is_over_holds_nothing_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[set[object]]] = []

    async def session(ws: WebSocketConnection) -> int:
        state: set[object] = set()
        held.append(weakref.ref(state))
        if len(held) < 3:
            await ws.get_message()
        # The garbage collector must not be what sees to it: it can't, as long as an error is kept.
        gc.collect()
        return sum(each() is not None for each in held)

    async with network(monkeypatch, hanging_up(), hanging_up(), hanging_up()):
        assert await run_websocket_url(session, URL, backoff=QUICK) == 1


async def test_session_that_bears_the_loss_is_over_when_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def session(ws: WebSocketConnection) -> str:
        with pytest.raises(ConnectionClosed):
            await ws.get_message()
        return "enough"

    async with network(monkeypatch, hanging_up()) as net:
        assert await run_websocket_url(session, URL, backoff=QUICK) == "enough"
    assert len(net.dialled_at) == 1


async def test_connection_that_the_session_closed_is_not_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def session(ws: WebSocketConnection) -> None:
        await ws.aclose(1001)
        await ws.get_message()

    async with serving() as server:
        with pytest.raises(ConnectionClosed):
            await run_websocket_url(session, url_of(server), backoff=QUICK)


async def test_result_is_not_lost_if_the_peer_does_not_answer_the_close(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def ignore_close(peer: RawPeer) -> None:
        await shake_hands(peer)
        await peer.read_to_end()

    async def session(ws: WebSocketConnection) -> str:
        return "done"

    caplog.set_level(logging.INFO, "trio-websocket")
    async with network(monkeypatch, ignore_close) as net:
        assert await run_websocket_url(session, URL, disconnect_timeout=5) == "done"
        assert trio.current_time() == pytest.approx(5, abs=1)
    assert len(net.dialled_at) == 1
    assert "did not answer our close" in caplog.text


async def test_session_that_raises_disconnection_timeout_itself_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def session(ws: WebSocketConnection) -> None:
        raise trio_websocket.DisconnectionTimeout("of another connection")

    async with serving() as server:
        with pytest.raises(trio_websocket.DisconnectionTimeout, match="of another connection"):
            await run_websocket_url(session, url_of(server), backoff=QUICK)


# ---------------------------------------------------------------------------------------------------------- the end


async def test_last_error_tells_of_all_before(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts: list[Script | Exception] = [OSError("unreachable"), rejecting(503), hanging_up(), say_nothing]
    async with network(monkeypatch, *scripts) as net:
        with pytest.raises(ConnectionTimeout) as caught:
            await run_websocket_url(receive_one, URL, backoff=Backoff(attempts=4), connect_timeout=5)
    kinds = [type(error) for error in caught.value.earlier_errors]
    assert kinds == [ConnectionFailed, ConnectionRejected, ConnectionClosed]
    assert len(net.dialled_at) == 4


async def test_caller_may_decide_what_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Exception] = []

    def should_retry(error: Exception) -> bool:
        seen.append(error)
        return len(seen) < 3

    async with network(monkeypatch, rejecting(401), closing(1000), closing(1012)):
        with pytest.raises(ConnectionClosed, match="1012"):
            await run_websocket_url(receive_one, URL, backoff=QUICK, should_retry=should_retry)
    assert [type(error) for error in seen] == [ConnectionRejected, ConnectionClosed, ConnectionClosed]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"colour": "red"}, TypeError),
        ({"url": "http://x"}, ValueError),
        ({"connect_timeout": -1}, ValueError),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_is_opened(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], error: type[Exception]
) -> None:
    async with network(monkeypatch) as net:
        with pytest.raises(error):
            await run_websocket_url(receive_one, **{"url": URL, **arguments})
    assert net.dialled_at == []


async def test_cancelling_ends_a_wait_at_once(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with network(monkeypatch) as net:
        with trio.move_on_after(100) as scope:
            await run_websocket_url(receive_one, URL, backoff=PLAIN)
        assert scope.cancelled_caught
        assert trio.current_time() == 100
    assert net.dialled_at == [0, 1, 3, 7, 15, 31, 63]
