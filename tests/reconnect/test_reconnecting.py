"""A WebSocket that outlives its connections: what its calls do, and what becomes of messages."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from reconnect_support import PLAIN, URL, client, closing, hanging_up, network, rejecting, shake_hands
from support import CLOSE, HOST, TEXT, RawPeer, echo, serving, url_of

from trio_websocket import (
    Backoff,
    CloseReason,
    ConnectionClosed,
    ConnectionInterrupted,
    ConnectionRejected,
    ReconnectingWebSocket,
    WebSocketConnection,
    open_reconnecting_websocket_url,
    open_websocket_url,
    serve_websocket,
)
from trio_websocket._options import ClientOptions

settle = trio.testing.wait_all_tasks_blocked


# ----------------------------------------------------------------------------------------------- over real sockets


async def test_messages_go_both_ways() -> None:
    async with serving() as server, open_reconnecting_websocket_url(url_of(server)) as ws:
        await ws.send_message("hello")
        await ws.send_message(b"\x00")
        assert [await ws.get_message(), await ws.get_message()] == ["hello", b"\x00"]
        assert await ws.ping() >= 0
        assert ws.state == "connected"
        assert ws.outages == ()


async def test_server_that_dies_and_comes_back_is_found_again() -> None:
    async def serve(port: int, scope: trio.CancelScope, task_status: Any) -> None:
        with scope:
            await serve_websocket(echo, HOST, port, None, task_status=task_status)

    backoff = Backoff(initial=0.001, maximum=0.01)
    async with trio.open_nursery() as nursery:
        scope = trio.CancelScope()
        server = await nursery.start(serve, 0, scope)
        port = server.port
        async with open_reconnecting_websocket_url(url_of(server), backoff=backoff) as ws:
            for number in range(3):
                await ws.send_message(str(number))
                assert await ws.get_message() == str(number)
                scope.cancel()
                while ws.state == "connected":
                    await trio.lowlevel.checkpoint()
                scope = trio.CancelScope()
                await nursery.start(serve, port, scope)
            await ws.wait_connected()
            assert len(ws.outages) == 3
            assert all(outage.unconfirmed == 1 for outage in ws.outages)
        scope.cancel()


# -------------------------------------------------------------------------------------------------------- sending


async def test_send_waits_for_the_next_connection(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client(monkeypatch, hanging_up(), OSError(), "serve") as (ws, net):
        await settle()
        assert ws.state == "waiting"
        await ws.send_message("hello")
        assert trio.current_time() == 3
        assert await ws.ping() == 0
    assert net.received == [["hello"]]


async def test_those_that_wait_to_send_are_served_in_their_order(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [str(number) for number in range(20)]

    async def send_as_soon_as_connected() -> None:
        await ws.wait_connected()
        await ws.send_message("late")

    async with client(monkeypatch, hanging_up(), "serve") as (ws, net):
        await settle()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_as_soon_as_connected)
            for text in texts:
                nursery.start_soon(ws.send_message, text)
                await settle()
        await ws.ping()
    assert [text for text in net.received[0] if text != "late"] == texts


async def test_nothing_is_sent_twice_and_what_may_be_lost_is_counted(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = trio.Event()
    async with network(monkeypatch) as net:
        net.scripts = [net.serving_until(lost), net.serve]
        async with open_reconnecting_websocket_url(URL, backoff=PLAIN) as ws:
            for text in ("one", "two"):
                await ws.send_message(text)
            await ws.ping()
            for text in ("three", "four", "five"):
                await ws.send_message(text)
            await settle()
            lost.set()
            await settle()
            [outage] = ws.outages
            assert outage.unconfirmed == 3
            await ws.send_message("six")
            assert outage.unconfirmed == 3
            await ws.ping()
    assert net.received == [["one", "two", "three", "four", "five"], ["six"]]


async def test_ping_confirms_only_what_was_sent_before_it(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = trio.Event()
    async with network(monkeypatch) as net:
        net.scripts = [net.serving_until(lost), net.serve]
        async with open_reconnecting_websocket_url(URL, backoff=PLAIN) as ws:
            await ws.send_message("one")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.ping)
                nursery.start_soon(ws.ping)
                await settle()
                await ws.send_message("two")
            lost.set()
            await settle()
            assert ws.outages[0].unconfirmed == 1


async def test_send_that_waits_for_room_when_the_connection_is_lost_goes_to_the_next(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = trio.Event()

    async def read_nothing(peer: RawPeer) -> None:
        await shake_hands(peer)
        await lost.wait()

    async with network(monkeypatch, read_nothing) as net:
        net.make_pair = trio.testing.lockstep_stream_pair
        net.scripts.append(net.serve)
        async with (
            open_reconnecting_websocket_url(URL, backoff=PLAIN, write_backlog=10) as ws,
            trio.open_nursery() as nursery,
        ):
            await ws.send_message("x" * 100)
            nursery.start_soon(ws.send_message, "waits for room")
            await settle()
            lost.set()
            await settle()
            assert ws.outages[0].unconfirmed == 1
            await ws.wait_connected()
    assert net.received == [["waits for room"]]
    assert ws.outages[0].unconfirmed == 1


async def test_message_may_be_compressed_or_not() -> None:
    async with (
        serving(compression=True) as server,
        open_reconnecting_websocket_url(url_of(server), compression=True) as ws,
    ):
        for compress in (True, False, None):
            await ws.send_message("x" * 1000, compress=compress)
            assert await ws.get_message() == "x" * 1000


@pytest.mark.parametrize("message", [1, None, ["x"]])
async def test_what_is_no_message_is_refused(monkeypatch: pytest.MonkeyPatch, message: Any) -> None:
    async with client(monkeypatch, "serve") as (ws, net):
        with pytest.raises(ValueError, match="a message is"):
            await ws.send_message(message)
        await ws.send_message("hello")
        await ws.ping()
    assert net.received == [["hello"]]


# ------------------------------------------------------------------------------------------------------ receiving


async def test_what_came_before_the_loss_is_received_before_what_came_after_it(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = [closing(1012, "a", "b", "c"), hanging_up("d", "e"), closing(1000, "f")]
    async with client(monkeypatch, *scripts, message_queue_size=10) as (ws, _):
        await trio.sleep(20)
        assert [message async for message in ws] == ["a", "b", "c", "d", "e", "f"]


async def test_receivers_wait_over_an_outage(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[str | bytes] = []

    async def receive() -> None:
        received.append(await ws.get_message())

    scripts = [hanging_up("a", after=5), closing(1012), closing(1000, "b", "c", after=5)]
    async with client(monkeypatch, *scripts) as (ws, _), trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(receive)
    assert sorted(map(str, received)) == ["a", "b", "c"]


@pytest.mark.parametrize("is_lost", [False, True])
async def test_message_that_a_cancelled_call_puts_back_is_the_next_ones(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, is_lost: bool
) -> None:
    get_message = WebSocketConnection.get_message

    async def get_and_put_back(plain: WebSocketConnection) -> str | bytes:
        # As one that waits for the socket in person does when it is cancelled at the last moment.
        message = await get_message(plain)
        try:
            await trio.sleep_forever()
        finally:
            plain._link.inbox.put(message)

    monkeypatch.setattr(WebSocketConnection, "get_message", get_and_put_back)
    script = hanging_up("a", after=0 if is_lost else 9)
    async with client(monkeypatch, script, closing(1000, "b"), message_queue_size=9) as (ws, _):
        with trio.move_on_after(0.5):
            await ws.get_message()
        assert len(ws.outages) == is_lost
        monkeypatch.setattr(WebSocketConnection, "get_message", get_message)
        if is_lost:
            assert [message async for message in ws] == ["a", "b"]
        else:
            assert await ws.get_message() == "a"


async def test_receivers_share_what_came_before_the_loss(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[str | bytes] = []

    async def receive() -> None:
        received.append(await ws.get_message())

    async with client(monkeypatch, hanging_up("a"), closing(1000, "b")) as (ws, _):
        await settle()
        assert ws.state == "waiting"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(receive)
    assert received == ["a", "b"]


@pytest.mark.parametrize("code", [1000, 1005])
async def test_iteration_ends_with_a_normal_close(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    async def close_without_code(peer: RawPeer) -> None:
        await shake_hands(peer)
        await peer.send_frame(CLOSE)
        await peer.read_frame()

    last = closing(1000) if code == 1000 else close_without_code
    async with client(monkeypatch, closing(1001, "a"), last) as (ws, _):
        assert [message async for message in ws] == ["a"]
        with pytest.raises(ConnectionClosed) as caught:
            await ws.get_message()
        assert caught.value.reason is not None
        assert caught.value.reason.code == code


async def test_iteration_raises_what_is_not_normal(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = [closing(1001, "a"), closing(1001, "b")]
    async with client(monkeypatch, *scripts, backoff=Backoff(attempts=2)) as (ws, _):
        assert [await anext(ws), await anext(ws)] == ["a", "b"]
        # It goes away again and again: that is no normal end.
        with pytest.raises(ConnectionClosed) as caught:
            await anext(ws)
    assert caught.value.reason is not None
    assert caught.value.reason.code == 1001


async def test_messages_that_nobody_takes_are_bounded_and_what_that_costs_is_told(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = [hanging_up(*[f"{name}{number}" + "x" * 80 for number in range(5)]) for name in "abcdef"]
    async with client(
        monkeypatch, *scripts, closing(1000), message_queue_size=10, message_queue_bytes=1000
    ) as (ws, _):
        await trio.sleep(200)
        received = [str(message)[:2] async for message in ws]
        dropped = sum(outage.dropped for outage in ws.outages)
    # The newest, in their order.
    assert received == [f"{name}{number}" for name in "abcdef" for number in range(5)][-len(received) :]
    assert 5 <= len(received) <= 20
    assert dropped == 30 - len(received)


# ----------------------------------------------------------------------------------------------------------- ping


async def test_ping_that_is_interrupted_pings_the_next_connection(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client(monkeypatch, hanging_up(after=5), "serve") as (ws, _):
        assert await ws.ping(b"payload") == 0
        assert trio.current_time() == 6
        assert len(ws.outages) == 1
        with pytest.raises(ValueError, match="125"):
            await ws.ping(bytes(126))


# --------------------------------------------------------------------------------------------- on_outage="raise"

CALLS: list[Callable[[ReconnectingWebSocket], Awaitable[object]]] = [
    lambda ws: ws.send_message("x"),
    lambda ws: ws.get_message(),
    lambda ws: ws.ping(),
    lambda ws: ws.__anext__(),
]


@pytest.mark.parametrize("number", range(len(CALLS)), ids=["send", "get", "ping", "iterate"])
async def test_calls_during_an_outage_raise_if_they_shall(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    call = CALLS[number]
    async with client(monkeypatch, hanging_up("a"), "serve", on_outage="raise") as (ws, net):
        await settle()
        assert await ws.get_message() == "a"
        for _ in range(3):
            with pytest.raises(ConnectionInterrupted):
                await call(ws)
        with pytest.raises(ConnectionInterrupted) as caught:
            await call(ws)
        assert caught.value.__cause__ is ws.outages[0].cause
        assert trio.current_time() == 0
        await ws.wait_connected()
        assert trio.current_time() == 1
        await ws.send_message("hello")
        await ws.ping()
    assert net.received == [["hello"]]


async def test_calls_that_wait_when_the_connection_is_lost_raise_if_they_shall(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = 0

    async def expect(call: Callable[[ReconnectingWebSocket], Awaitable[object]]) -> None:
        nonlocal interrupted
        with pytest.raises(ConnectionInterrupted):
            await call(ws)
        interrupted += 1

    async with client(monkeypatch, hanging_up(after=5), "serve", on_outage="raise") as (ws, _):
        async with trio.open_nursery() as nursery:
            for call in CALLS[1:]:
                nursery.start_soon(expect, call)
        assert trio.current_time() == 5
    assert interrupted == 3


@pytest.mark.parametrize("number", range(len(CALLS)), ids=["send", "get", "ping", "iterate"])
async def test_calls_find_it_closed_for_good_before_they_would_raise_of_an_outage(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async def close_and_stay(peer: RawPeer) -> None:
        await shake_hands(peer)
        await trio.sleep(1)
        await peer.send_close(codes.pop())
        await peer.read_to_end()

    codes = [4000, 1012]
    async with client(monkeypatch, close_and_stay, close_and_stay, on_outage="raise") as (ws, _):
        # The close came a moment ago; the server has a second to end TCP.
        await trio.sleep(1.5)
        with pytest.raises(ConnectionInterrupted):
            await CALLS[number](ws)
        await ws.wait_connected()
        await trio.sleep(1.5)
        with pytest.raises(ConnectionClosed) as caught:
            await CALLS[number](ws)
        assert caught.value.received == CloseReason(4000, None)


async def test_iteration_ends_with_a_normal_close_whatever_an_outage_does(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client(monkeypatch, closing(1000, "a", after=1), on_outage="raise") as (ws, _):
        assert [message async for message in ws] == ["a"]


async def test_loop_that_tries_again_and_again_lets_others_run(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    backoff = Backoff(initial=0)
    async with client(monkeypatch, hanging_up(), closing(1000, "a"), on_outage="raise", backoff=backoff) as (
        ws,
        _,
    ):
        while True:
            try:
                assert await ws.get_message() == "a"
                break
            except ConnectionInterrupted:
                pass


# ----------------------------------------------------------------------------------------------------- on_connect


async def test_on_connect_comes_before_all_else_on_each_connection(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: list[str] = []

    async def welcome(peer: RawPeer) -> None:
        await shake_hands(peer)
        await peer.send_frame(TEXT, b"who is it?")
        for _ in range(2):
            first.append((await peer.read_frame()).payload.decode())
            await peer.send_frame(TEXT, b"welcome")

    async def log_in(plain: WebSocketConnection) -> None:
        assert await plain.get_message() == "who is it?"
        await plain.send_message("me")
        await trio.sleep(3)

    async with client(monkeypatch, welcome, welcome, welcome, on_connect=log_in, message_queue_size=5) as (
        ws,
        _,
    ):
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(ws.send_message, str(number))
                await trio.sleep(10)
        # What it has not taken is for others.
        assert [await ws.get_message() for _ in range(6)] == ["welcome"] * 6
    assert first == ["me", "0", "me", "1", "me", "2"]
    assert [outage.unconfirmed for outage in ws.outages[:2]] == [1, 1]


async def test_on_connect_may_fail_with_its_connection(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def log_in(plain: WebSocketConnection) -> None:
        await plain.get_message()

    async with client(
        monkeypatch, hanging_up(), closing(1013), hanging_up("a", after=5), "serve", on_connect=log_in
    ) as (ws, net):
        assert net.dialled_at == [0, 1, 3]
        assert ws.outages == ()
        assert ws.state == "connected"


# ------------------------------------------------------------------------------------------------------- given up


async def test_what_is_given_up_is_told_to_every_call(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[ConnectionClosed] = []

    async def expect(call: Callable[[ReconnectingWebSocket], Awaitable[object]]) -> None:
        with pytest.raises(ConnectionClosed) as caught:
            await call(ws)
        errors.append(caught.value)

    async with client(monkeypatch, hanging_up("a"), OSError(), rejecting(401)) as (ws, _):
        assert await ws.get_message() == "a"
        await settle()
        calls = [*CALLS, lambda ws: ws.wait_connected()]
        async with trio.open_nursery() as nursery:
            for call in calls:
                nursery.start_soon(expect, call)
        for call in calls:
            await expect(call)
        assert ws.state == "closed"
        [outage] = ws.outages
        assert outage.duration is None
        assert outage.attempts == 2
    assert len(set(map(id, errors))) == 10
    for error in errors:
        assert error.reason is not None
        assert error.reason.code == 1006
        assert isinstance(error.__cause__, ConnectionRejected)
        assert len(error.earlier_errors) == 2


async def test_what_came_before_it_was_given_up_is_still_received(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client(monkeypatch, closing(4000, "a", "b"), message_queue_size=5) as (ws, _):
        await settle()
        assert ws.state == "closed"
        assert [await ws.get_message(), await ws.get_message()] == ["a", "b"]
        with pytest.raises(ConnectionClosed) as caught:
            await ws.get_message()
        assert caught.value.reason is not None
        assert caught.value.reason.code == 4000
        assert caught.value.initiator == "remote"
        with pytest.raises(ConnectionClosed):
            await ws.send_message("x")


# ------------------------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"colour": "red"}, TypeError, "colour"),
        ({"on_outage": "shrug"}, ValueError, "on_outage='shrug' is neither"),
        ({"max_message_size": -1}, ValueError, "max_message_size=-1"),
        ({"url": "http://x"}, ValueError, "http"),
    ],
)
def test_argument_that_can_t_be_right_is_refused_at_the_call(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        open_reconnecting_websocket_url(**{"url": URL, **arguments})


def test_options_are_those_of_open_websocket_url() -> None:
    parameters = inspect.signature(open_websocket_url).parameters.values()
    names = {each.name: each.annotation for each in parameters if each.kind is each.KEYWORD_ONLY}
    assert names == {name: each.__forward_arg__ for name, each in ClientOptions.__annotations__.items()}


async def test_it_says_where_it_leads_and_how_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client(monkeypatch, "serve") as (ws, _):
        assert repr(ws) == "<ReconnectingWebSocket ws://127.0.0.1:8000/ connected>"
    assert repr(ws) == "<ReconnectingWebSocket ws://127.0.0.1:8000/ closed>"
