"""Whatever a handler does ends one connection and no more."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing
from support import CLOSE, RawPeer, request_head

from trio_websocket import ConnectionClosed, HandshakeError, WebSocketRequest, wrap_server_stream
from trio_websocket._handler import run_handler

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

Handler = Callable[[WebSocketRequest], Awaitable[None]]


class Interrupt(BaseException):
    """No `Exception`, as KeyboardInterrupt is none."""


async def outcome_of(handler: Handler) -> tuple[bytes, bytes | None]:
    """What a raw client sees of `handler`: the answer's status line, and the payload of our close frame."""
    ours, theirs = trio.testing.memory_stream_pair()
    peer = RawPeer(theirs, is_client=True)
    seen: list[bytes] = []

    async def look() -> None:
        seen.append((await peer.read_head()).partition(b"\r\n")[0])
        if b" 101 " in seen[0]:
            sent = await peer.read_frame()
            assert sent.opcode == CLOSE
            seen.append(sent.payload)
            await peer.send_close(int.from_bytes(sent.payload[:2], "big"))
        await theirs.aclose()

    async with trio.open_nursery() as nursery:
        await theirs.send_all(request_head())
        request = await wrap_server_stream(nursery, ours)
        nursery.start_soon(look)
        with trio.CancelScope() as scope:
            await run_handler(handler, request)
        assert not scope.cancelled_caught
    return seen[0], seen[1] if len(seen) > 1 else None


def errors_in(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What was logged at ERROR or above."""
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_connection_is_closed_with_1000_when_the_handler_returns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(request: WebSocketRequest) -> None:
        await request.accept()

    status, close = await outcome_of(handler)
    assert (status, close) == (b"HTTP/1.1 101 Switching Protocols", b"\x03\xe8")
    assert errors_in(caplog) == []


async def test_close_of_the_handler_stands(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: WebSocketRequest) -> None:
        await (await request.accept()).aclose(4000, "mine")

    assert (await outcome_of(handler))[1] == b"\x0f\xa0mine"
    assert errors_in(caplog) == []


async def test_rejection_of_the_handler_stands(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: WebSocketRequest) -> None:
        await request.reject(403)

    assert await outcome_of(handler) == (b"HTTP/1.1 403 Forbidden", None)
    assert errors_in(caplog) == []


async def test_handler_that_returns_without_an_answer_answers_500(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: WebSocketRequest) -> None:
        pass

    assert await outcome_of(handler) == (b"HTTP/1.1 500 Internal Server Error", None)
    [record] = errors_in(caplog)
    assert "returned without an answer" in record.getMessage()
    assert "WebSocketRequest '/'" in record.getMessage()


async def test_handlers_exception_closes_with_1011_and_is_logged_once_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names: list[str] = []

    async def handler(request: WebSocketRequest) -> None:
        names.append(str(await request.accept()))
        raise KeyError("what went wrong")

    close = (await outcome_of(handler))[1]
    assert close is not None
    assert close[:2] == b"\x03\xf3"
    assert b"went wrong" not in close
    [record] = errors_in(caplog)
    assert record.name == "trio-websocket"
    assert record.getMessage() == f"{names[0]}: the handler failed"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)
    assert "what went wrong" in caplog.text
    assert "in handler" in caplog.text


async def test_exception_before_an_answer_answers_500(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: WebSocketRequest) -> None:
        raise KeyError("what went wrong")

    assert await outcome_of(handler) == (b"HTTP/1.1 500 Internal Server Error", None)
    assert len(errors_in(caplog)) == 1


async def test_group_of_exceptions_is_logged_whole(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: WebSocketRequest) -> None:
        await request.accept()
        raise ExceptionGroup("both", [KeyError("one"), ValueError("two")])

    close = (await outcome_of(handler))[1]
    assert close is not None
    assert close[:2] == b"\x03\xf3"
    assert len(errors_in(caplog)) == 1
    assert "one" in caplog.text
    assert "two" in caplog.text


async def run_until_client_leaves(handler: Handler) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        await theirs.send_all(request_head())
        request = await wrap_server_stream(nursery, ours)
        nursery.start_soon(run_handler, handler, request)
        await trio.testing.wait_all_tasks_blocked()
        await theirs.aclose()


async def test_connection_that_ends_under_its_handler_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "trio-websocket")

    async def handler(request: WebSocketRequest) -> None:
        await (await request.accept()).get_message()

    await run_until_client_leaves(handler)
    assert errors_in(caplog) == []
    assert any("the connection ended under its handler" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("is_swallowed", [False, True])
async def test_client_that_leaves_before_the_answer_is_no_error(
    caplog: pytest.LogCaptureFixture, is_swallowed: bool
) -> None:
    async def handler(request: WebSocketRequest) -> None:
        await trio.sleep(0.001)
        try:
            await request.accept()
        except HandshakeError:
            if not is_swallowed:
                raise

    await run_until_client_leaves(handler)
    assert errors_in(caplog) == []


async def test_another_connections_end_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: WebSocketRequest) -> None:
        await request.accept()
        raise ConnectionClosed(None)

    close = (await outcome_of(handler))[1]
    assert close is not None
    assert close[:2] == b"\x03\xf3"
    assert len(errors_in(caplog)) == 1


async def run_and_catch(handler: Handler) -> tuple[BaseException, bytes | None]:
    caught: list[BaseException] = []

    async def catching(request: WebSocketRequest) -> None:
        await handler(request)

    ours, theirs = trio.testing.memory_stream_pair()
    peer = RawPeer(theirs, is_client=True)
    closes: list[bytes] = []

    async def look() -> None:
        if b" 101 " in await peer.read_head():
            closes.append((await peer.read_frame()).payload)
            await peer.send_close(1001)
        await theirs.aclose()

    async with trio.open_nursery() as nursery:
        await theirs.send_all(request_head())
        request = await wrap_server_stream(nursery, ours)
        nursery.start_soon(look)
        try:
            await run_handler(catching, request)
        except BaseException as error:
            caught.append(error)
    return caught[0], closes[0] if closes else None


async def test_what_is_no_exception_comes_out_behind_a_close_with_1001(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(request: WebSocketRequest) -> None:
        await request.accept()
        raise Interrupt

    error, close = await run_and_catch(handler)
    assert type(error) is Interrupt
    assert close is not None
    assert close[:2] == b"\x03\xe9"
    assert errors_in(caplog) == []


async def test_group_is_split_into_what_is_logged_and_what_comes_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(request: WebSocketRequest) -> None:
        raise BaseExceptionGroup("both", [KeyError("logged"), Interrupt()])

    error, _ = await run_and_catch(handler)
    assert isinstance(error, BaseExceptionGroup)
    [inner] = error.exceptions
    assert type(inner) is Interrupt
    assert len(errors_in(caplog)) == 1
    assert "logged" in caplog.text


@pytest.mark.parametrize("is_accepted", [False, True])
async def test_cancelled_handlers_client_hears_of_it(is_accepted: bool) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    peer = RawPeer(theirs, is_client=True)

    async def handler(request: WebSocketRequest) -> None:
        if is_accepted:
            await request.accept()
        await trio.sleep_forever()

    async with trio.open_nursery() as outer, trio.open_nursery() as nursery:
        await theirs.send_all(request_head())
        request = await wrap_server_stream(outer, ours)
        nursery.start_soon(run_handler, handler, request)
        await trio.testing.wait_all_tasks_blocked()

        async def look() -> None:
            with trio.CancelScope(shield=True):
                head = await peer.read_head()
                if is_accepted:
                    assert (await peer.read_frame()).payload.startswith(b"\x03\xe9")
                    await peer.send_close(1001)
                else:
                    assert head.startswith(b"HTTP/1.1 503 ")
                await theirs.aclose()

        nursery.start_soon(look)
        nursery.cancel_scope.cancel()


async def test_cancelling_has_a_bound_whatever_the_client_does(mock_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()

    async def handler(request: WebSocketRequest) -> None:
        await request.accept()
        await trio.sleep_forever()

    async with trio.open_nursery() as outer:
        await theirs.send_all(request_head())
        request = await wrap_server_stream(outer, ours)
        with trio.move_on_after(10):
            await run_handler(handler, request)
        assert trio.current_time() == 12
