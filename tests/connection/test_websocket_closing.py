"""A connection's end, and what it owes to other tasks, over each transport."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from fakes import client_behind_valve, only_over_a_stream
from support import (
    CLOSE,
    PING,
    TEXT,
    Frame,
    client_of_raw_peer,
    connected_pair,
    frame,
    server_of_raw_peer,
    serving,
    url_of,
)

import trio_websocket
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection, open_websocket_url
from trio_websocket._connection._link import PULL_BUDGET
from trio_websocket._transports import CALLS_A_TURN
from trio_websocket.protocol import Message
from trio_websocket.testing import Stall

pytestmark = pytest.mark.usefixtures("transport")

settle = trio.testing.wait_all_tasks_blocked


class Interrupt(BaseException):
    """No `Exception`, as KeyboardInterrupt is none."""


# ----------------------------------------------------------------------------------------------------------- closing


async def test_closing_sends_code_and_reason_and_waits_for_the_answer() -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose, 4321, "grüße")
        assert await peer.read_frame() == Frame(True, CLOSE, b"\x10\xe1" + "grüße".encode())
        assert ws.closed == CloseReason(4321, "grüße")
        await settle()
        assert len(nursery.child_tasks) == 1
        await peer.send_close(4321)
        await peer.stream.aclose()


async def test_close_is_idempotent_and_may_be_called_by_several_tasks() -> None:
    async with connected_pair() as (client, server):
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(client.aclose, 4000 + number)
        assert client.closed is not None
        code = client.closed.code
        await client.aclose()
        await client.aclose(4005, "too late")
        assert client.closed.code == code
        assert await server.wait_closed() == client.closed
        await server.aclose()


async def test_both_ends_may_close_at_once() -> None:
    async with connected_pair() as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose, 4000)
            nursery.start_soon(server.aclose, 4001)
        for ws in (client, server):
            assert ws.closed is not None
            assert ws.closed.code in {4000, 4001}


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1016, 2999, 5000, 9999])
async def test_close_with_a_code_without_meaning_closes_with_1000_and_raises(code: int) -> None:
    async with connected_pair() as (client, server):
        with pytest.raises(ValueError, match=f"close code {code} "):
            await client.aclose(code, "why")
        assert await server.wait_closed() == client.closed == CloseReason(1000, None)


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        (1006, None, CloseReason(1000, None)),
        (1006, "lost", CloseReason(1000, "lost")),
        (1015, None, CloseReason(1000, None)),
        (1005, "text", CloseReason(1000, "text")),
        (1005, None, CloseReason(1005, None)),
        (4000, "ü" * 62, CloseReason(4000, "ü" * 61)),
        (4000, "x" * 124, CloseReason(4000, "x" * 123)),
    ],
)
async def test_what_one_connection_closed_with_may_be_handed_to_another(
    code: int, reason: str | None, told: CloseReason
) -> None:
    async with connected_pair() as (client, server):
        await client.aclose(code, reason)
        assert await server.wait_closed() == told


@only_over_a_stream
async def test_closing_sends_what_was_handed_over_first() -> None:
    async with client_behind_valve() as (ws, peer, valve), trio.open_nursery() as nursery:
        await valve.inject(send=[Stall()])
        await ws.send_message("before")
        nursery.start_soon(ws.aclose)
        await settle()
        valve.clear()
        assert await peer.read_frame() == Frame(True, TEXT, b"before")
        assert (await peer.read_frame()).opcode == CLOSE
        await peer.send_close()
        await peer.stream.aclose()


async def test_nothing_can_be_sent_once_closing_began() -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose, 4000, "enough")
        await settle()
        for call in (ws.send_message, ws.ping, ws.pong, lambda _: ws.get_message()):
            with pytest.raises(ConnectionClosed) as caught:
                await call(b"x")
            assert caught.value.reason == CloseReason(4000, "enough")
            assert caught.value.sent == CloseReason(4000, "enough")
            assert (caught.value.received, caught.value.initiator) == (None, "local")
        with pytest.raises(ConnectionClosed):
            ws.send_message_nowait(b"x")
        await peer.send_close(4000)
        await peer.stream.aclose()


async def test_closed_connection_says_who_closed_it_and_how() -> None:
    async with connected_pair() as (client, server):
        await client.aclose(4000, "bye")
        await server.wait_closed()
        for ws, initiator in ((client, "local"), (server, "remote")):
            with pytest.raises(ConnectionClosed) as caught:
                await ws.send_message("x")
            error = caught.value
            assert error.initiator == initiator
            assert error.sent is not None
            assert error.received is not None
            assert (error.sent.code, error.received.code) == (4000, 4000)
            assert error.__cause__ is None
            assert repr(ws) == f"<WebSocketConnection {ws} closed>"


async def test_peer_that_does_not_answer_our_close_is_left(mock_clock: trio.testing.MockClock) -> None:
    async with client_of_raw_peer() as (ws, peer):
        await ws.aclose()
        assert trio.current_time() == 60
        assert ws.closed == CloseReason(1000, None)
        with pytest.raises(ConnectionClosed) as caught:
            await ws.get_message()
        assert isinstance(caught.value.__cause__, trio.TooSlowError)
        assert "60 seconds" in str(caught.value.__cause__)
        assert (await peer.read_frame()).opcode == CLOSE
        assert await peer.read_to_end() == b""


async def test_cancelled_close_is_prompt_and_says_so(mock_clock: trio.testing.MockClock) -> None:
    async with client_of_raw_peer() as (ws, _):
        with trio.move_on_after(5):
            await ws.aclose()
        assert trio.current_time() == 5
        with pytest.raises(ConnectionClosed) as caught:
            await ws.ping()
        assert isinstance(caught.value.__cause__, trio.ClosedResourceError)
        assert await ws.wait_closed() == CloseReason(1000, None)


@pytest.mark.parametrize("error", [KeyError(), Interrupt()])
async def test_block_that_raises_is_left_within_two_seconds(
    mock_clock: trio.testing.MockClock, error: BaseException
) -> None:
    for pair, code in ((client_of_raw_peer, 1000), (server_of_raw_peer, None)):
        start = trio.current_time()
        async with pair() as (ws, peer):
            with pytest.raises(type(error)) as caught:
                async with ws:
                    raise error
            assert caught.value is error
            assert trio.current_time() == start + 2
            sent = await peer.read_frame()
            expected = code or (1011 if isinstance(error, Exception) else 1001)
            assert (sent.opcode, sent.payload[:2]) == (CLOSE, expected.to_bytes(2, "big"))


async def test_block_that_ends_normally_waits_for_the_peer(mock_clock: trio.testing.MockClock) -> None:
    async with client_of_raw_peer(), server_of_raw_peer() as (ws, _):
        async with ws:
            pass
        assert trio.current_time() == 60


async def test_peer_that_breaks_a_rule_while_we_close_is_the_reason() -> None:
    async with client_of_raw_peer() as (ws, peer), trio.open_nursery() as nursery:
        nursery.start_soon(ws.aclose, 4000, "enough")
        await settle()
        await peer.send_frame(3, b"no such opcode")
        reason = await ws.wait_closed()
        assert reason.code == 1002
        assert "opcode" in (reason.reason or "")
        with pytest.raises(ConnectionClosed) as caught:
            await ws.get_message()
        assert caught.value.sent == CloseReason(4000, "enough")


async def test_close_of_a_closed_connection_is_a_checkpoint_and_no_more() -> None:
    async with connected_pair() as (client, server):
        await client.aclose()
        await server.wait_closed()
        for ws in (client, server):
            with trio.testing.assert_checkpoints():
                await ws.aclose()
            with trio.testing.assert_checkpoints():
                await ws.wait_closed()


async def test_waiting_for_the_end_tells_why(mock_clock: trio.testing.MockClock) -> None:
    async with connected_pair() as (client, server), trio.open_nursery() as nursery:
        reasons: list[CloseReason] = []

        async def wait(ws: WebSocketConnection) -> None:
            reasons.append(await ws.wait_closed())

        nursery.start_soon(wait, client)
        nursery.start_soon(wait, server)
        await trio.sleep(100)
        assert reasons == []
        await server.aclose(4000, "bye")
        await settle()
        assert [reason.code for reason in reasons] == [4000, 4000]


async def test_cancelled_wait_for_the_end_closes_nothing() -> None:
    async with connected_pair() as (client, server):
        with trio.move_on_after(0.001):
            await client.wait_closed()
        await client.send_message("fine")
        assert await server.get_message() == "fine"


async def test_protocol_error_of_the_peer_is_the_cause() -> None:
    async with client_of_raw_peer() as (ws, peer):
        await peer.send_frame(3, b"no such opcode")
        with pytest.raises(ConnectionClosed) as caught:
            await ws.get_message()
        assert caught.value.reason is not None
        assert caught.value.reason.code == 1002
        assert caught.value.initiator == "local"
        assert "opcode" in str(caught.value.__cause__)
        sent = await peer.read_frame()
        assert (sent.opcode, sent.payload[:2]) == (CLOSE, b"\x03\xea")


async def test_message_over_the_limit_gets_1009() -> None:
    async with connected_pair(max_message_size=10) as (client, server):
        await client.send_message("x" * 10)
        assert await server.get_message() == "x" * 10
        # Bytes count, not characters.
        await client.send_message("ü" * 6)
        reason = await client.wait_closed()
        assert reason.code == 1009
        assert "max_message_size=10" in (reason.reason or "")


async def test_message_of_too_many_fragments_gets_1009() -> None:
    async with client_of_raw_peer(max_fragments=3) as (ws, peer):
        await peer.send_frame(TEXT, b"", fin=False)
        for _ in range(3):
            await peer.send_frame(0, b"", fin=False)
        with pytest.raises(ConnectionClosed) as caught:
            await ws.get_message()
        assert caught.value.reason is not None
        assert caught.value.reason.code == 1009


async def test_nursery_that_is_cancelled_closes_its_connections_with_1001() -> None:
    async with connected_pair() as (client, server):
        pass
    for ws in (client, server):
        assert ws.closed is not None
        assert ws.closed.code == 1001


# ---------------------------------------------------------------------------------------------------------- fairness


@only_over_a_stream
async def test_calls_that_had_to_wait_are_checkpoints() -> None:
    async with client_behind_valve(write_backlog=10) as (ws, peer, valve), trio.open_nursery() as nursery:

        async def later(call: Callable[..., object], *args: object) -> None:
            await settle()
            outcome = call(*args)
            if outcome is not None:
                await outcome  # type: ignore[misc]

        nursery.start_soon(later, peer.send_frame, TEXT, b"x")
        with trio.testing.assert_checkpoints():
            await ws.get_message()
        calls: list[Callable[[], Awaitable[None]]] = [lambda: ws.send_message("x"), ws.pong]
        for call in calls:
            await valve.inject(send=[Stall()])
            ws.send_message_nowait(bytes(20))
            nursery.start_soon(later, valve.clear)
            with trio.testing.assert_checkpoints():
                await call()
            await settle()
        nursery.start_soon(later, peer.stream.aclose)
        with trio.testing.assert_checkpoints():
            await ws.wait_closed()


async def test_calls_that_need_not_wait_let_others_run_once_in_a_turn() -> None:
    async with connected_pair(message_queue_size=1000, write_backlog=2**30) as (client, server):
        others = 0

        async def count() -> None:
            nonlocal others
            while True:
                await trio.lowlevel.checkpoint()
                others += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            for call in (lambda: client.send_message("x"), server.get_message, client.pong):
                await settle_briefly()
                before = others
                for _ in range(5 * CALLS_A_TURN):
                    await call()
                # In its turn, a task may run before or behind another.
                assert others - before >= 4
            nursery.cancel_scope.cancel()


async def settle_briefly() -> None:
    for _ in range(20):
        await trio.lowlevel.checkpoint()


async def test_peer_that_floods_with_tiny_frames_lets_others_run() -> None:
    async with client_of_raw_peer(write_backlog=2**30) as (ws, peer), trio.open_nursery() as nursery:
        others = 0

        async def count() -> None:
            nonlocal others
            while True:
                await trio.lowlevel.checkpoint()
                others += 1

        frames = 40 * PULL_BUDGET
        nursery.start_soon(count)
        await peer.stream.send_all(frames * frame(PING) + frame(TEXT, b"last"))
        before = others
        assert await ws.get_message() == "last"
        assert others - before >= 35
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("call", ["send_message", "ping", "pong", "get_message"])
async def test_every_call_checks_for_cancellation(call: str) -> None:
    async with connected_pair() as (client, server):
        await server.send_message("kept")
        await settle()
        arguments = ["withdrawn"] if call == "send_message" else []
        with trio.CancelScope() as scope:
            scope.cancel()
            await getattr(client, call)(*arguments)
        assert scope.cancelled_caught
        assert await client.get_message() == "kept"
        await client.send_message("next")
        assert await server.get_message() == "next"


# ----------------------------------------------------------------------------------------------------- what users do


async def test_send_message_can_be_patched_on_the_class(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[object] = []
    original = trio_websocket.WebSocketConnection.send_message

    async def send_message(self: WebSocketConnection, message: Message) -> None:
        sent.append(message)
        await original(self, message)

    monkeypatch.setattr("trio_websocket.WebSocketConnection.send_message", send_message)
    async with connected_pair() as (client, server):
        await client.send_message("x")
        assert await server.get_message() == "x"
    assert sent == ["x"]


async def test_log_has_the_path_without_its_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trio-websocket")
    async with serving() as server:
        async with open_websocket_url(url_of(server, "/path?token=secret")) as ws:
            assert ws.path == "/path?token=secret"
        # An endpoint is a URL.
        assert f"serving on {url_of(server, '')}" in caplog.messages
        assert f"{ws}: open, '/path', {ws.local.url} to {url_of(server, '')}" in caplog.messages  # type: ignore[union-attr]
    assert "secret" not in caplog.text


async def test_log_names_the_connection_and_never_shows_a_payload(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trio-websocket")
    async with connected_pair() as (client, server):
        await client.send_message("secret")
        await server.get_message()
        await client.ping(b"secret")
        await client.aclose(4000, "reason")
        await server.wait_closed()
    texts = [(record.levelno, record.getMessage()) for record in caplog.records]
    for name in (str(client), str(server)):
        assert any(level == logging.INFO and text.startswith(f"{name}: open, '/'") for level, text in texts)
        assert any(level == logging.INFO and text.startswith(f"{name}: closed, ") for level, text in texts)
    assert (logging.DEBUG, f"{client}: closing with {CloseReason(4000, 'reason')}") in texts
    assert "secret" not in caplog.text
