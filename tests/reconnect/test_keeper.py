"""The one task that has a connection, or seeks one: how it begins, what it goes through, and how it ends."""

from __future__ import annotations

import contextvars
import gc
import logging
import sys
import weakref
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from checkpoints import contained
from reconnect_support import (
    PLAIN,
    URL,
    Script,
    client,
    closing,
    hanging_up,
    network,
    rejecting,
    say_nothing,
    shake_hands,
)
from support import RawPeer

from trio_websocket import (
    Backoff,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    ReconnectingWebSocket,
    WebSocketConnection,
    open_reconnecting_websocket_url,
)
from trio_websocket._reconnect._keeper import MAX_OUTAGES

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

settle = trio.testing.wait_all_tasks_blocked


async def stay_silent(peer: RawPeer) -> None:
    """A script: accept, and never say anything."""
    await shake_hands(peer)
    await peer.read_to_end()


async def expect_closed(call: Callable[[], Awaitable[object]], code: int) -> ConnectionClosed:
    """The call says that it is over."""
    with pytest.raises(ConnectionClosed) as caught:
        await call()
    assert caught.value.reason is not None
    assert caught.value.reason.code == code
    return caught.value


# ------------------------------------------------------------------------------------------------- the beginning


async def test_block_is_entered_once_there_is_a_connection(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts: list[Script | Exception] = [OSError(), rejecting(503), say_nothing]
    async with client(monkeypatch, *scripts, "serve", connect_timeout=5) as (ws, net):
        assert net.dialled_at == [0, 1, 3, 12]
        assert ws.state == "connected"
        # There was none before that could have been lost.
        assert ws.outages == ()


async def test_what_is_not_worth_retrying_is_raised_on_entering(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with contained(), network(monkeypatch, OSError(), rejecting(401)):
        with pytest.raises(ConnectionRejected) as caught:
            async with open_reconnecting_websocket_url(URL, backoff=PLAIN):
                raise AssertionError("it opened")
        assert [type(error) for error in caught.value.earlier_errors] == [ConnectionFailed]


async def test_too_many_attempts_are_raised_on_entering(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with contained(), network(monkeypatch) as net:
        with pytest.raises(ConnectionFailed) as caught:
            async with open_reconnecting_websocket_url(URL, backoff=Backoff(attempts=3)):
                raise AssertionError("it opened")
        assert len(caught.value.earlier_errors) == 2
    assert len(net.dialled_at) == 3


async def test_block_is_entered_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with network(monkeypatch) as net:
        net.scripts = [net.serve]
        block = open_reconnecting_websocket_url(URL)
        async with block:
            pass
        with pytest.raises(RuntimeError, match="was entered before"):
            await block.__aenter__()


async def test_block_that_is_not_entered_costs_nothing() -> None:
    async with contained():
        open_reconnecting_websocket_url(URL)


# ---------------------------------------------------------------------------------------------------- its outages


async def test_state_tells_what_is_going_on(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[str] = []
    async with client(monkeypatch, hanging_up(after=5), say_nothing, rejecting(404), connect_timeout=5) as (
        ws,
        _,
    ):
        for _ in range(15):
            states.append(ws.state)
            await trio.sleep(1.001)
    assert states == ["connected"] * 5 + ["waiting"] + ["connecting"] * 5 + ["waiting"] * 2 + ["closed"] * 2


async def test_each_outage_leaves_a_record(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio-websocket")
    scripts: list[Script | Exception] = [
        hanging_up(after=5),
        OSError(),
        rejecting(503),
        closing(1012, after=20),
    ]
    async with client(monkeypatch, *scripts, "serve") as (ws, _):
        await ws.send_message("hello")
        await trio.sleep(100)
        first, second = ws.outages
        assert ws.state == "connected"
    assert (first.began, first.duration, first.attempts, first.unconfirmed) == (5, 7, 3, 1)
    assert (second.began, second.duration, second.attempts, second.unconfirmed) == (32, 1, 1, 0)
    assert first.cause.reason is not None
    assert first.cause.reason.code == 1006
    assert second.cause.received is not None
    assert second.cause.received.code == 1012
    assert (first.dropped, second.dropped) == (0, 0)
    name = "ws://127.0.0.1:8000/"
    lines = [message for message in caplog.messages if message.startswith(name)]
    assert [line for line in lines if "again after" in line] == [
        f"{name}: connected again after 7.0 seconds; 1 of the messages sent before may be lost",
        f"{name}: connected again after 1.0 seconds; 0 of the messages sent before may be lost",
    ]
    assert len([line for line in lines if "trying again in" in line]) == 4


async def test_outages_do_not_keep_their_connections(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: list[weakref.ref[WebSocketConnection]] = []

    async def note(ws: WebSocketConnection) -> None:
        connections.append(weakref.ref(ws))

    async with client(monkeypatch, *[hanging_up()] * 3, "serve", on_connect=note) as (ws, _):
        await trio.sleep(100)
        gc.collect()
        assert len(ws.outages) == 3
        assert [each() is not None for each in connections] == [False, False, False, True]


@pytest.mark.slow
async def test_only_the_latest_outages_are_kept(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    backoff = Backoff(initial=1, factor=1, jitter=0)
    async with client(monkeypatch, *[hanging_up()] * (MAX_OUTAGES + 5), "serve", backoff=backoff) as (ws, _):
        await trio.sleep(1000)
        assert len(ws.outages) == MAX_OUTAGES
        assert ws.outages[0].began == 5


async def test_close_is_noticed_by_the_next_call_though_tcp_does_not_end(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def close_and_stay(peer: RawPeer) -> None:
        await shake_hands(peer)
        await peer.send_close(1012)
        await peer.read_to_end()

    async with client(monkeypatch, close_and_stay, "serve") as (ws, net):
        await settle()
        await ws.send_message("hello")
        await ws.ping()
        # A second for the server to end TCP, and the wait.
        assert trio.current_time() == 2
    assert net.received == [["hello"]]


async def test_close_is_noticed_though_nobody_calls(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client(monkeypatch, hanging_up(), "serve") as (_, net):
        await trio.sleep(10)
        assert net.dialled_at == [0, 1]


# ----------------------------------------------------------------------------------------------------- on_connect


async def test_bug_in_on_connect_is_raised_on_entering(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for bug in (KeyError("x"), ExceptionGroup("g", [KeyError()]), SystemExit(3), ConnectionFailed("else")):

        async def fail(plain: WebSocketConnection, bug: BaseException = bug) -> None:
            raise bug

        async with contained(), network(monkeypatch) as net:
            net.scripts = [net.serve]
            with pytest.raises(type(bug)) as caught:
                async with open_reconnecting_websocket_url(URL, on_connect=fail):
                    raise AssertionError("it opened")
            assert caught.value is bug
            assert bug.__cause__ is None
    assert "failed" not in caplog.text


async def test_bug_in_on_connect_later_ends_it_and_is_logged(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    async def fail_later(plain: WebSocketConnection) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyError("bug")

    async with client(monkeypatch, hanging_up(), "serve", on_connect=fail_later) as (ws, _):
        error = await expect_closed(ws.get_message, 1006)
        assert isinstance(error.__cause__, KeyError)
        # The block goes on.
        await trio.sleep(1)
    assert "ws://127.0.0.1:8000/: failed" in caplog.text
    assert "KeyError: 'bug'" in caplog.text


async def test_on_connect_that_takes_too_long_is_tried_again(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Exception] = []

    def should_retry(error: Exception) -> bool:
        seen.append(error)
        return True

    async def wait_for_welcome(plain: WebSocketConnection) -> None:
        assert await plain.get_message() == "welcome"

    async with client(
        monkeypatch,
        stay_silent,
        hanging_up("welcome", after=5),
        connect_timeout=7,
        on_connect=wait_for_welcome,
        should_retry=should_retry,
    ):
        # The silent server gets two seconds to answer a close.
        assert trio.current_time() == 7 + 2 + 1
    [error] = seen
    assert isinstance(error, ConnectionTimeout)
    assert str(error) == "on_connect took more than connect_timeout=7 seconds"


async def test_on_connect_runs_in_the_callers_context(monkeypatch: pytest.MonkeyPatch) -> None:
    variable = contextvars.ContextVar[str]("variable")
    variable.set("mine")

    async def look(plain: WebSocketConnection) -> None:
        assert variable.get() == "mine"

    async with client(monkeypatch, "serve", on_connect=look):
        pass


async def test_should_retry_that_fails_ends_it(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: Exception) -> bool:
        raise KeyError("bug")

    async with client(monkeypatch, hanging_up(), should_retry=fail) as (ws, _):
        error = await expect_closed(ws.get_message, 1006)
        assert isinstance(error.__cause__, KeyError)


# -------------------------------------------------------------------------------------------------------- the end


async def test_leaving_closes_normally(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[bytes] = []

    async def note_close(peer: RawPeer) -> None:
        await shake_hands(peer)
        frame = await peer.read_frame()
        codes.append(frame.payload)
        await peer.send_close()

    async with contained(), client(monkeypatch, note_close):
        pass
    assert codes == [b"\x03\xe8"]


class Boom(Exception):
    pass


async def test_what_the_block_raises_comes_out_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for boom in (Boom(), ExceptionGroup("its own", [Boom()]), StopAsyncIteration(), KeyboardInterrupt()):
        async with contained(), network(monkeypatch) as net:
            net.scripts = [net.serve]
            with pytest.raises(type(boom)) as caught:
                async with open_reconnecting_websocket_url(URL):
                    raise boom
            assert caught.value is boom
            assert boom.__cause__ is None


async def test_loops_and_functions_may_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def first() -> str | bytes:
        async with open_reconnecting_websocket_url(URL) as ws:
            async for message in ws:
                return message
        raise AssertionError("there was none")

    async with contained(), network(monkeypatch, *[closing(1000, "a", after=0.001)] * 2) as net:
        for _ in range(1):
            async with open_reconnecting_websocket_url(URL) as ws:
                assert await ws.get_message() == "a"
                break
        assert await first() == "a"
    assert len(net.dialled_at) == 2


@pytest.mark.parametrize("how", ["returns", "raises", "is cancelled"])
async def test_leaving_a_silent_peer_is_bounded(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    caught: BaseException | None = None

    async def use() -> None:
        async with open_reconnecting_websocket_url(URL, disconnect_timeout=30):
            if how == "raises":
                raise Boom
            if how == "is cancelled":
                scope.cancel()
                await trio.sleep_forever()

    async with contained(), network(monkeypatch, stay_silent):
        with trio.CancelScope() as scope:
            try:
                await use()
            except Exception as error:
                caught = error
        assert trio.current_time() == (30 if how == "returns" else 2)
    if how == "returns":
        assert isinstance(caught, DisconnectionTimeout)
        assert str(caught).endswith("did not answer our close within disconnect_timeout=30 seconds")
    else:
        assert type(caught) is (Boom if how == "raises" else type(None))


@pytest.mark.parametrize(
    "scripts", [[OSError()] * 9, [say_nothing], [stay_silent]], ids=["wait", "dial", "greet"]
)
@pytest.mark.parametrize("has_raised", [False, True])
async def test_leaving_in_an_outage_is_prompt(
    mock_clock: trio.testing.MockClock,
    monkeypatch: pytest.MonkeyPatch,
    scripts: list[Script | Exception],
    has_raised: bool,
) -> None:
    calls = 0

    async def greet(plain: WebSocketConnection) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            await trio.sleep_forever()

    async with contained(), network(monkeypatch, hanging_up(), *scripts):
        try:
            async with open_reconnecting_websocket_url(URL, backoff=PLAIN, on_connect=greet):
                await trio.sleep(5)
                if has_raised:
                    raise Boom
        except Boom:
            assert has_raised
        # A connection that on_connect has gets two seconds for its close.
        assert trio.current_time() == (7 if scripts == [stay_silent] else 5)


async def test_closing_says_code_and_reason_and_ends_all_calls_at_once(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames: list[bytes] = []

    async def note_close(peer: RawPeer) -> None:
        await shake_hands(peer)
        await peer.send_frame(1, b"never taken")
        frames.append((await peer.read_frame()).payload)
        await trio.sleep(3)
        await peer.send_close(4000)

    async with client(monkeypatch, note_close) as (ws, _):
        await settle()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ws.aclose, 4000, "enough")
            await settle()
            nursery.start_soon(ws.aclose)
            await settle()
            for call in (ws.get_message, ws.ping, ws.wait_connected, lambda: ws.send_message("x")):
                error = await expect_closed(call, 4000)
                assert error.initiator == "local"
            assert trio.current_time() == 0
            assert ws.state == "closed"
        assert trio.current_time() == 3
        await ws.aclose()
    assert frames == [b"\x0f\xa0enough"]
    assert ws.outages == ()


async def test_closing_wakes_those_who_wait(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def expect(call: Callable[[], Awaitable[object]], code: int) -> None:
        await expect_closed(call, code)

    for scripts, code in (([hanging_up()], 4001), (["serve"], 1000)):
        async with client(monkeypatch, *scripts) as (ws, _):
            await settle()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(expect, ws.get_message, code)
                if scripts != ["serve"]:
                    nursery.start_soon(expect, ws.ping, code)
                    nursery.start_soon(expect, ws.wait_connected, code)
                    nursery.start_soon(expect, lambda: ws.send_message("x"), code)
                await settle()
                await ws.aclose(code)


async def test_iteration_ends_when_we_close(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client(monkeypatch, "serve") as (ws, _), trio.open_nursery() as nursery:

        async def receive() -> None:
            assert [message async for message in ws] == []

        nursery.start_soon(receive)
        await settle()
        await ws.aclose()


async def test_close_code_without_a_meaning_closes_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client(monkeypatch, "serve") as (ws, _):
        with pytest.raises(ValueError, match="999"):
            await ws.aclose(999)
        await expect_closed(ws.get_message, 1000)


async def test_closing_that_is_cancelled_is_over_at_once(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with contained(), client(monkeypatch, stay_silent) as (ws, _):
        with trio.move_on_after(1):
            await ws.aclose()
        assert trio.current_time() == 1
        await expect_closed(ws.get_message, 1000)


async def test_call_between_the_decision_to_leave_and_the_close_finds_it_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def look(ws: ReconnectingWebSocket) -> None:
        await left.wait()
        error = await expect_closed(ws.get_message, 1000)
        assert error.initiator == "local"

    left = trio.Event()
    async with network(monkeypatch) as net, trio.open_nursery() as nursery:
        net.scripts = [net.serve]
        with pytest.raises(Boom):
            async with open_reconnecting_websocket_url(URL) as ws:
                nursery.start_soon(look, ws)
                await settle()
                left.set()
                raise Boom


@pytest.mark.parametrize("is_lost", [False, True])
def test_run_that_ends_before_the_block_is_left_takes_the_task_with_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_lost: bool
) -> None:
    async def main() -> None:
        ours, theirs = trio.testing.memory_stream_pair()

        async def open_tcp_stream(host: str, port: int) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            return ours

        monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake_hands, RawPeer(theirs, is_client=False))
            await open_reconnecting_websocket_url(URL).__aenter__()
            if is_lost:
                await theirs.aclose()
                await settle()

    trio.run(main)
    assert caplog.text == ""


async def test_entering_that_is_cancelled_leaves_nothing(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with contained(), network(monkeypatch, say_nothing):
        with trio.move_on_after(5) as scope:
            async with open_reconnecting_websocket_url(URL):
                raise AssertionError("it opened")
        assert scope.cancelled_caught


@pytest.mark.parametrize("is_shielded", [False, True])
async def test_on_connect_may_close_for_good(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, is_shielded: bool
) -> None:
    reconnecting: list[ReconnectingWebSocket] = []

    async def close(plain: WebSocketConnection) -> None:
        if reconnecting:
            with trio.CancelScope(shield=is_shielded):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(reconnecting[0].aclose, 4000)

    async with contained(), client(monkeypatch, hanging_up(), "serve", on_connect=close) as (ws, _):
        reconnecting.append(ws)
        await expect_closed(ws.get_message, 4000)


async def test_on_connect_that_is_late_to_notice_the_end_brings_nothing_back(
    mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def be_late(plain: WebSocketConnection) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)

    async with contained(), client(monkeypatch, hanging_up(), "serve", on_connect=be_late) as (ws, _):
        await trio.sleep(2)
        assert ws.state == "connecting"
        await ws.aclose(4000)
        await expect_closed(ws.get_message, 4000)
    assert len(ws.outages) == 1
