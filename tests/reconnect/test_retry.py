"""What is worth another try, and the wait before it."""

from __future__ import annotations

import logging
import math
import sys
import traceback
import types
from collections.abc import Callable
from typing import Literal

import pytest
import trio
from reconnect_support import PLAIN
from support import connected_pair

from trio_websocket import (
    Backoff,
    CloseReason,
    ConnectionClosed,
    ConnectionFailed,
    ConnectionRejected,
    ConnectionTimeout,
    DisconnectionTimeout,
    HandshakeError,
    ProxyFailed,
    TLSFailed,
    is_worth_retrying,
)
from trio_websocket._reconnect._retry import MAX_EARLIER_ERRORS, Retries, failure_of, make_dial
from trio_websocket.protocol import RemoteProtocolError

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


def closed(code: int, initiator: Literal["local", "remote"] | None = "remote") -> ConnectionClosed:
    return ConnectionClosed(CloseReason(code, None), initiator=initiator)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def rejected(status: int, *headers: tuple[bytes, bytes]) -> ConnectionRejected:
    return ConnectionRejected(status, headers, b"")


# ----------------------------------------------------------------------------------------------- what is worth it


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 1013, 1014])
def test_close_that_may_pass_is_worth_another_try(code: int) -> None:
    assert is_worth_retrying(closed(code))


@pytest.mark.parametrize(
    "code", [1000, 1002, 1003, 1005, 1007, 1008, 1009, 1010, 1015, 3000, 3999, 4000, 4999]
)
def test_any_other_close_is_not(code: int) -> None:
    assert not is_worth_retrying(closed(code))


def test_connection_that_we_closed_is_not_opened_again() -> None:
    assert not is_worth_retrying(closed(1001, "local"))
    assert not is_worth_retrying(ConnectionClosed(None))


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 599])
def test_status_that_may_pass_is_worth_another_try(status: int) -> None:
    assert is_worth_retrying(rejected(status))
    assert is_worth_retrying(ProxyFailed("x", status_code=status))


@pytest.mark.parametrize("status", [200, 301, 400, 401, 403, 404, 407, 410, 426, 499, 600])
def test_any_other_status_is_not(status: int) -> None:
    assert not is_worth_retrying(rejected(status))
    assert not is_worth_retrying(ProxyFailed("x", status_code=status))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionFailed("refused"), True),
        (caused(ConnectionFailed("refused"), OSError()), True),
        (caused(ConnectionFailed("no name"), UnicodeError()), False),
        (ConnectionTimeout(), True),
        (ProxyFailed("gone"), True),
        (caused(HandshakeError(), trio.BrokenResourceError()), True),
        (caused(HandshakeError(), caused(trio.BrokenResourceError(), OSError())), True),
        (caused(HandshakeError(), RemoteProtocolError("ended", code=1006)), True),
        (caused(HandshakeError(), RemoteProtocolError("no WebSocket")), False),
        (caused(HandshakeError(), rejected(302)), False),
        (TLSFailed(), False),
        (DisconnectionTimeout(), False),
        (KeyError(), False),
        (OSError(), False),
        (trio.TooSlowError(), False),
    ],
    ids=repr,
)
def test_other_errors_are_judged_by_what_is_behind_them(error: Exception, expected: bool) -> None:
    assert is_worth_retrying(error) is expected


# ------------------------------------------------------------------------------------------- what an error is about


async def test_error_before_there_is_a_connection_is_a_failure_if_it_is_about_opening() -> None:
    error = HandshakeError()
    assert failure_of(None, error) is error
    assert failure_of(None, KeyError()) is None
    assert failure_of(None, closed(1006)) is None


async def test_error_of_the_lost_connection_is_told_from_that_of_another() -> None:
    async with connected_pair() as pair:
        ws = pair.client
        others = closed(4000)
        assert failure_of(ws, others) is None
        await pair.server.aclose(4000, "enough")
        with pytest.raises(ConnectionClosed) as caught:
            await ws.get_message()
        ours = caught.value
        assert failure_of(ws, ours) is ours
        assert failure_of(ws, others) is None
        assert failure_of(ws, HandshakeError()) is None
        group = ExceptionGroup("nursery", [ours, ExceptionGroup("inner", [ours])])
        assert failure_of(ws, group) is ours
        assert failure_of(ws, ExceptionGroup("nursery", [ours, others])) is None


async def test_error_that_came_before_the_peer_answered_our_close_is_of_that_connection() -> None:
    async with connected_pair() as pair:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.client.aclose, 4000, "enough")
            with pytest.raises(ConnectionClosed) as caught:
                await pair.client.get_message()
        ours = caught.value
        assert ours.received is None
        assert failure_of(pair.client, ours) is ours
        assert failure_of(pair.client, closed(4000)) is None


async def test_subclass_that_says_nothing_of_its_connection_is_not_ours() -> None:
    class Mine(ConnectionClosed):
        def __init__(self) -> None:
            pass

    async with connected_pair() as pair:
        await pair.server.aclose()
        await pair.client.wait_closed()
        assert failure_of(pair.client, Mine()) is None


# ------------------------------------------------------------------------------------------------------- dialling


@pytest.mark.parametrize(
    ("url", "options", "error", "message"),
    [
        ("http://x/", {}, ValueError, "http"),
        ("ws://x/", {"max_message_size": -1}, ValueError, "max_message_size=-1"),
        ("ws://x/", {"extra_headers": [(b"Host", b"x")]}, ValueError, "Host|host"),
        ("ws://x/", {"colour": "red"}, TypeError, "colour"),
    ],
)
def test_argument_that_can_t_be_right_is_refused_at_once(
    url: str, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_dial(url, None, options)  # type: ignore[arg-type]


def test_what_can_be_iterated_once_only_is_kept_for_all_connections() -> None:
    headers = [(b"X-A", b"1")]
    dial = make_dial("ws://x/", None, {"subprotocols": iter(["a"]), "extra_headers": iter(headers)})
    kept = dial.keywords  # type: ignore[attr-defined]
    assert kept["subprotocols"] == ("a",)
    assert kept["extra_headers"] == tuple(headers)


# --------------------------------------------------------------------------------------------------- the waits


def make_retries(
    backoff: Backoff = PLAIN, should_retry: Callable[[Exception], bool] | None = None, url: str = "ws://h/"
) -> Retries:
    return Retries(url, backoff, should_retry)


def traceback_of_a_frame() -> types.TracebackType | None:
    try:
        raise ValueError
    except ValueError as error:
        return error.__traceback__


async def waited(
    retries: Retries, error: HandshakeError | ConnectionClosed, lasted: float | None = None
) -> float:
    start = trio.current_time()
    await retries.wait_after(error, lasted)
    return trio.current_time() - start


async def test_waits_are_those_of_the_backoff(mock_clock: trio.testing.MockClock) -> None:
    retries = make_retries()
    tries: list[tuple[HandshakeError | ConnectionClosed, float | None]] = [
        (ConnectionFailed(), None),
        (closed(1006), 3.0),
        (closed(1006), 30.0),
        (rejected(503), None),
    ]
    assert [await waited(retries, *each) for each in tries] == [1, 2, 1, 2]


async def test_waits_have_some_chance_in_them(mock_clock: trio.testing.MockClock) -> None:
    waits = {await waited(make_retries(Backoff(jitter=0.5)), ConnectionFailed()) for _ in range(10)}
    assert len(waits) > 1
    assert all(0.5 <= wait <= 1 for wait in waits)


@pytest.mark.parametrize("status", [429, 503])
async def test_server_is_left_alone_for_as_long_as_it_asks(
    mock_clock: trio.testing.MockClock, status: int
) -> None:
    assert await waited(make_retries(), rejected(status, (b"retry-after", b"30"))) == 30
    assert await waited(make_retries(), rejected(status, (b"retry-after", b"999999"))) == 3600
    assert await waited(make_retries(), ConnectionRejected(status, None, None)) == 1


async def test_what_is_not_worth_it_is_raised_at_once(mock_clock: trio.testing.MockClock) -> None:
    for error in (rejected(401), closed(1000), TLSFailed("no")):
        with pytest.raises(type(error)) as caught:
            await make_retries().wait_after(error, None)
        assert caught.value is error
        assert error.earlier_errors == ()
    assert trio.current_time() == 0


async def test_error_that_ends_it_has_the_earlier_ones_with_it(mock_clock: trio.testing.MockClock) -> None:
    retries = make_retries(Backoff(initial=0, attempts=3))
    first, second, last = ConnectionFailed("one"), closed(1006), ConnectionTimeout("three")
    await retries.wait_after(first, None)
    await retries.wait_after(second, 0.5)
    with pytest.raises(ConnectionTimeout) as caught:
        await retries.wait_after(last, None)
    assert caught.value is last
    assert last.earlier_errors == (first, second)
    text = "".join(traceback.format_exception(last))
    if sys.version_info >= (3, 11):
        assert "ConnectionFailed: one\n  ConnectionClosed: CloseReason<code=1006" in text


async def test_errors_from_before_a_connection_that_lasted_are_forgotten(
    mock_clock: trio.testing.MockClock,
) -> None:
    retries = make_retries()
    lost = closed(1006)
    await retries.wait_after(ConnectionFailed("old"), None)
    await retries.wait_after(lost, 100)
    last = rejected(401)
    with pytest.raises(ConnectionRejected):
        await retries.wait_after(last, None)
    assert last.earlier_errors == (lost,)
    farewell = closed(1000)
    with pytest.raises(ConnectionClosed):
        await retries.wait_after(farewell, 100)
    assert farewell.earlier_errors == ()


async def test_errors_that_are_kept_hold_no_frames(mock_clock: trio.testing.MockClock) -> None:
    retries = make_retries()
    lost = closed(1006).with_traceback(traceback_of_a_frame())
    await retries.wait_after(lost, None)
    assert lost.__traceback__ is None
    last = rejected(401).with_traceback(traceback_of_a_frame())
    with pytest.raises(ConnectionRejected) as caught:
        await retries.wait_after(last, None)
    assert "traceback_of_a_frame" in [entry.name for entry in caught.traceback]


async def test_only_the_latest_errors_are_kept(mock_clock: trio.testing.MockClock) -> None:
    retries = make_retries()
    for number in range(100):
        await retries.wait_after(ConnectionFailed(number), None)
    last = rejected(401)
    with pytest.raises(ConnectionRejected):
        await retries.wait_after(last, None)
    assert [error.args for error in last.earlier_errors] == [
        (n,) for n in range(100 - MAX_EARLIER_ERRORS, 100)
    ]


async def test_caller_may_decide_otherwise(mock_clock: trio.testing.MockClock) -> None:
    seen: list[Exception] = []

    def should_retry(error: Exception) -> bool:
        seen.append(error)
        return isinstance(error, ConnectionRejected)

    retries = make_retries(should_retry=should_retry)
    error = rejected(401)
    assert await waited(retries, error) == 1
    with pytest.raises(ConnectionFailed) as caught:
        await retries.wait_after(ConnectionFailed(), None)
    assert seen == [error, caught.value]


async def test_each_wait_is_logged_with_its_cause_and_without_secrets(
    mock_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trio-websocket")
    retries = make_retries(url="wss://user:secret@host:1/pa\nth?token=secret")
    await retries.wait_after(ConnectionFailed("refused"), None)
    with pytest.raises(ConnectionRejected):
        await retries.wait_after(rejected(401), None)
    assert caplog.messages == [
        "wss://host:1/pa\\nth: refused; trying again in 1.0 seconds",
        "wss://host:1/pa\\nth: the server rejected the connection with HTTP status 401 Unauthorized; giving up",
    ]


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("ws://host", "ws://host"),
        ("ws://u:p@host?x@y", "ws://host"),
        ("ws://host/a@b", "ws://host/a@b"),
        ("wss://u:p@[::1]:8/", "wss://[::1]:8/"),
    ],
)
def test_name_is_the_url_without_its_secrets(url: str, name: str) -> None:
    assert make_retries(url=url).name == name


async def test_no_number_of_attempts_is_too_many(mock_clock: trio.testing.MockClock) -> None:
    retries = make_retries(Backoff(initial=1, maximum=math.inf, factor=1, jitter=0))
    assert sum([await waited(retries, ConnectionFailed()) for _ in range(200)]) == 200
