"""The heartbeats of a Trio run: one task for all connections, and what a connection makes of a beat."""

from __future__ import annotations

import heapq
import itertools
import logging
import math
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
import support
import trio
import trio.testing
from fakes import FakeTransport, from_client, make_link
from support import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    Frame,
    client_of_raw_peer,
    connected_pair,
    frame,
    make_pair,
    server_of_raw_peer,
)

from trio_websocket import CloseReason, ConnectionClosed, Heartbeat, PeerSilent, WebSocketConnection
from trio_websocket._connection import _heartbeats as module
from trio_websocket._connection._heartbeats import Heartbeats, begin_heartbeat, end_heartbeat

settle = trio.testing.wait_all_tasks_blocked
Clock = trio.testing.MockClock

BEAT = Heartbeat(interval=20, timeout=10)
both_transports = pytest.mark.usefixtures("transport")


class Connection:
    """What has a heartbeat, and nothing else."""

    def __init__(self, *, answers: bool = True) -> None:
        self.transport = FakeTransport()
        self.answers = answers
        self.is_open = True
        self.beats: list[tuple[float, str]] = []
        self.cause: Exception | None = None

    def __str__(self) -> str:
        return "fake-1"

    def send_heartbeat(self, *, is_ping: bool) -> None:
        self.beats.append((trio.current_time(), "ping" if is_ping else "pong"))
        self.transport.is_alive = self.answers

    def drop(self, cause: Exception) -> None:
        self.cause = cause
        self.is_open = False

    @property
    def times(self) -> list[float]:
        return [when for when, _ in self.beats]


@pytest.fixture(autouse=True)
def phase(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first connection of a run has its first beat after half an interval."""
    monkeypatch.setattr(module, "random", SimpleNamespace(random=lambda: 0.5))


def count_tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


# ---------------------------------------------------------------------------------------------------- one task for all


async def test_heartbeats_have_one_task_as_long_as_there_are_connections(mock_clock: Clock) -> None:
    before = count_tasks()
    connections = [Connection() for _ in range(3)]
    for connection in connections:
        begin_heartbeat(connection, BEAT)
    assert count_tasks() == before + 1
    await trio.sleep(100)
    for connection in connections:
        end_heartbeat(connection)
        end_heartbeat(connection)
    await settle()
    assert count_tasks() == before
    # Nothing is left that a clock could jump to.
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf
    assert all(len(connection.beats) == 5 for connection in connections)


async def test_heartbeats_begin_anew_after_their_end(mock_clock: Clock) -> None:
    for _ in range(2):
        connection = Connection()
        begin_heartbeat(connection, BEAT)
        await trio.sleep(25)
        assert len(connection.beats) == 1
        end_heartbeat(connection)
        await settle()


async def test_connection_that_comes_as_the_last_one_goes_has_its_beats(mock_clock: Clock) -> None:
    last, new = Connection(), Connection()
    begin_heartbeat(last, BEAT)
    await settle()
    end_heartbeat(last)
    begin_heartbeat(new, BEAT)
    await trio.sleep(20)
    assert (len(last.beats), len(new.beats)) == (0, 1)
    end_heartbeat(new)


async def test_sooner_beat_does_not_wait_for_a_later_one(mock_clock: Clock) -> None:
    slow, fast = Connection(), Connection()
    begin_heartbeat(slow, Heartbeat(1000, 1000))
    await settle()
    begin_heartbeat(fast, Heartbeat(1, 1))
    await trio.sleep(10.5)
    assert len(fast.beats) == 10 + (fast.times[0] < 0.5)
    for each in (slow, fast):
        end_heartbeat(each)


async def test_endless_interval_has_no_beat_and_no_task(mock_clock: Clock) -> None:
    before = count_tasks()
    connection = Connection()
    begin_heartbeat(connection, Heartbeat(interval=math.inf))
    assert count_tasks() == before
    end_heartbeat(connection)


def test_run_may_end_under_connections_with_heartbeats(mock_clock: Clock) -> None:
    connection = Connection()

    async def main() -> None:
        begin_heartbeat(connection, BEAT)
        await trio.sleep(15)

    trio.run(main, clock=mock_clock)
    assert len(connection.beats) == 1


def test_heartbeats_work_in_guest_mode(mock_clock: Clock) -> None:
    connection = Connection()
    to_do: list[Callable[[], object]] = []
    outcomes: list[Any] = []

    async def main() -> None:
        begin_heartbeat(connection, BEAT)
        await trio.sleep(55)
        end_heartbeat(connection)

    trio.lowlevel.start_guest_run(
        main, run_sync_soon_threadsafe=to_do.append, done_callback=outcomes.append, clock=mock_clock
    )
    while not outcomes:
        while to_do:
            to_do.pop(0)()
    outcomes[0].unwrap()
    assert connection.times == [10, 30, 50]


# ----------------------------------------------------------------------------------------------------------- staggering


@pytest.mark.parametrize("phase", [0.0, 0.3])
async def test_connections_that_are_opened_at_once_do_not_beat_at_once(
    mock_clock: Clock, phase: float
) -> None:
    heartbeats = Heartbeats(phase)
    connections = [Connection() for _ in range(200)]
    for connection in connections:
        heartbeats.add(connection, BEAT)
    await trio.sleep(40 - 1e-6)
    for turn in (0, 1):
        # All have beaten within the interval, and about as many in each second.
        seconds = [int(connection.times[turn] % 20) for connection in connections]
        assert {seconds.count(second) for second in range(20)} <= {8, 9, 10, 11, 12}
    for connection in connections:
        heartbeats.remove(connection)


async def test_programs_that_are_started_at_once_do_not_beat_at_once(
    mock_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for phase in (0.1, 0.7):
        monkeypatch.setattr(module, "random", SimpleNamespace(random=lambda phase=phase: phase))
        start = trio.current_time()
        connection = Connection()
        begin_heartbeat(connection, BEAT)
        await trio.sleep(19)
        assert connection.times == [pytest.approx(start + 20 * phase)]
        end_heartbeat(connection)
        await settle()


@pytest.mark.slow
async def test_beat_costs_two_steps_of_a_heap_however_many_connections_there_are(
    mock_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = {"heappush": 0, "heappop": 0, "heapify": 0}

    def count(name: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            steps[name] += 1
            return getattr(heapq, name)(*args)

        return call

    monkeypatch.setattr(module, "heapq", SimpleNamespace(**{name: count(name) for name in steps}))
    before = count_tasks()
    heartbeats = Heartbeats(0.5)
    connections = [Connection() for _ in range(5000)]
    for connection in connections:
        heartbeats.add(connection, Heartbeat(20, 20))
    assert count_tasks() == before + 1
    assert steps == {"heappush": 5000, "heappop": 0, "heapify": 0}
    await trio.sleep(20 - 1e-6)
    assert {len(connection.beats) for connection in connections} == {1}
    assert steps == {"heappush": 10_000, "heappop": 5000, "heapify": 0}
    for connection in connections:
        heartbeats.remove(connection)


async def test_connections_that_went_leave_little_behind(mock_clock: Clock) -> None:
    heartbeats = Heartbeats(0.5)
    stays = Connection()
    heartbeats.add(stays, BEAT)
    for _ in range(1000):
        goes = Connection()
        heartbeats.add(goes, BEAT)
        heartbeats.remove(goes)
    assert len(heartbeats._heap) < 100
    await trio.sleep(100)
    assert len(heartbeats._heap) == 1
    assert len(stays.beats) == 5
    heartbeats.remove(stays)


# --------------------------------------------------------------------------------------------------------------- looks


async def test_silent_connection_is_dropped_once_and_the_log_says_so(
    mock_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="trio-websocket")
    silent, other = Connection(answers=False), Connection()
    for each in (silent, other):
        begin_heartbeat(each, BEAT)
    await trio.sleep(100)
    assert isinstance(silent.cause, PeerSilent)
    assert (silent.cause.silence, silent.cause.interval, silent.cause.timeout) == (10, 20, 10)
    assert silent.times == [10]
    assert caplog.messages == [
        "fake-1: nothing came from the peer in the 10 seconds after a ping (heartbeat: interval=20, timeout=10)"
    ]
    assert other.cause is None
    end_heartbeat(other)
    await settle()


async def test_connection_that_closes_is_looked_at_no_more(mock_clock: Clock) -> None:
    before = count_tasks()
    connection = Connection(answers=False)
    begin_heartbeat(connection, BEAT)
    await trio.sleep(11)
    connection.is_open = False
    await trio.sleep(100)
    assert len(connection.beats) == 1
    assert connection.cause is None
    assert count_tasks() == before


async def test_what_was_on_its_way_when_the_time_was_over_still_counts(mock_clock: Clock) -> None:
    connection = Connection(answers=False)
    begin_heartbeat(connection, BEAT)
    await trio.sleep(20)
    # The heartbeat looks in this very moment; whoever reads gets its turns.
    for _ in range(30):
        await trio.lowlevel.checkpoint()
    connection.transport.is_alive = True
    await trio.sleep(15)
    assert connection.cause is None
    assert connection.times == [10, 30]
    end_heartbeat(connection)


async def test_connection_that_goes_while_it_is_looked_at_again_is_left_alone(mock_clock: Clock) -> None:
    connection = Connection(answers=False)
    begin_heartbeat(connection, BEAT)
    await trio.sleep(20)
    await trio.lowlevel.checkpoint()
    end_heartbeat(connection)
    await settle()
    assert connection.cause is None


async def test_bug_in_one_look_ends_that_connection_alone(
    mock_clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, other = Connection(), Connection()
    bug = ZeroDivisionError("a bug")

    def fail(*, is_ping: bool) -> None:
        raise bug

    monkeypatch.setattr(broken, "send_heartbeat", fail)
    for each in (broken, other):
        begin_heartbeat(each, BEAT)
    await trio.sleep(60)
    assert broken.cause is bug
    assert len(other.beats) == 3
    assert [record.message for record in caplog.records if record.exc_info] == ["fake-1: failed"]
    end_heartbeat(other)


async def test_looks_take_turns_with_other_tasks(mock_clock: Clock) -> None:
    connections = [Connection() for _ in range(1000)]
    for connection in connections:
        begin_heartbeat(connection, BEAT)
    seen: list[int] = []
    await settle()
    # All at once, as after a standstill.
    mock_clock.jump(100)
    while len(seen) < 40:
        await trio.lowlevel.checkpoint()
        seen.append(sum(len(connection.beats) for connection in connections))
    steps = [after - before for before, after in itertools.pairwise(seen)]
    assert seen[-1] == 1000
    # Twice, if that task had its turn first, and then last.
    assert max(steps) <= 128
    for connection in connections:
        end_heartbeat(connection)


# ------------------------------------------------------------------------------------------- what a connection does then


def test_ping_that_is_sent_for_nobody_gives_the_latency_and_no_room(mock_clock: Clock) -> None:
    async def main() -> None:
        link, transport = make_link(message_queue_size=0)
        link.send_heartbeat(is_ping=True)
        mock_clock.jump(2)
        payload = transport.take_written()[2:]
        assert len(payload) == 4
        link.data_received(from_client(TEXT, b"1"))
        link.data_received(from_client(TEXT, b"2") + from_client(PONG, payload))
        # A ping that somebody waits for would let the second in.
        assert len(link.inbox.messages) == 1
        assert transport.is_paused
        link.take()
        link.take()
        assert link.latency == 2

    trio.run(main, clock=mock_clock)


async def test_only_the_latest_ping_of_a_heartbeat_is_remembered() -> None:
    link, transport = make_link()
    user = link.pings.add(b"user")
    for _ in range(3):
        transport.take_written()
        link.send_heartbeat(is_ping=True)
    assert len(link.pings) == 2
    assert link.pings.are_awaited
    # It also answers the user's, which was sent before.
    link.data_received(from_client(PONG, transport.take_written()[2:]))
    assert user.latency is not None
    assert not link.pings.are_awaited


async def test_dropped_link_lets_everyone_know_before_its_transport_is_gone() -> None:
    link, transport = make_link()
    cause = PeerSilent(1, 2, 3)
    link.data_received(from_client(TEXT, b"last words"))
    link.drop(cause)
    assert transport.is_aborted
    assert not link.is_open
    assert link.make_closed().__cause__ is cause
    assert link.take() == "last words"
    await link.lost.wait()
    link.drop(ValueError("another"))
    assert link.make_closed().reason == CloseReason(1006, None)
    assert link.make_closed().__cause__ is cause


# ------------------------------------------------------------------------------------------------------ silent peers

MAKE_ENDS = [client_of_raw_peer, server_of_raw_peer]


async def fails_silent(call: Callable[[], Awaitable[object]], ended: list[float]) -> None:
    with pytest.raises(ConnectionClosed) as caught:
        await call()
    assert caught.value.reason == CloseReason(1006, None)
    assert isinstance(caught.value.__cause__, PeerSilent)
    assert (caught.value.sent, caught.value.received, caught.value.initiator) == (None, None, None)
    ended.append(trio.current_time())


@both_transports
@pytest.mark.parametrize("make_end", MAKE_ENDS)
async def test_silent_peer_ends_the_connection_and_wakes_everyone(
    mock_clock: Clock, make_end: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="trio-websocket")
    before = count_tasks()
    start = trio.current_time()
    async with make_end(heartbeat=BEAT, write_backlog=1000) as (ws, _):
        ended: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails_silent, ws.get_message, ended)
            nursery.start_soon(fails_silent, ws.get_message, ended)
            nursery.start_soon(fails_silent, ws.ping, ended)
            reason = await ws.wait_closed()
        assert reason == ws.closed == CloseReason(1006, None)
        # The first beat is after half an interval.
        assert ended == [pytest.approx(start + 10 + 10)] * 3
        await fails_silent(lambda: ws.send_message("x"), ended)
        await ws.aclose()
        assert f"{ws}: nothing came from the peer in the 10 seconds" in caplog.text
    await settle()
    assert count_tasks() == before


@both_transports
async def test_silent_peer_ends_the_sends_that_wait_for_it(
    mock_clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support, "make_pair", lambda: make_pair(is_tight=True))
    async with client_of_raw_peer(heartbeat=BEAT, write_backlog=1000) as (ws, peer):
        await ws.send_message(bytes(1_000_000))
        ended: list[float] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails_silent, lambda: ws.send_message("x"), ended)
            nursery.start_soon(fails_silent, ws.ping, ended)
            nursery.start_soon(fails_silent, ws.pong, ended)
        assert ended == [20, 20, 20]
        # Nothing lingers, and nothing is sent any more: the peer sees the end.
        assert len(await peer.read_to_end()) < 500_000


@both_transports
async def test_iteration_ends_with_an_error_when_the_peer_is_silent(mock_clock: Clock) -> None:
    async def iterate(ws: WebSocketConnection) -> None:
        async for _ in ws:
            raise AssertionError("there is no message")

    async with client_of_raw_peer(heartbeat=BEAT) as (ws, _):
        await fails_silent(lambda: iterate(ws), [])


@both_transports
async def test_messages_that_came_before_the_silence_are_received(mock_clock: Clock) -> None:
    async with client_of_raw_peer(heartbeat=BEAT) as (ws, peer):
        await peer.send_frame(TEXT, b"last words")
        await ws.wait_closed()
        assert await ws.get_message() == "last words"
        await fails_silent(ws.get_message, [])


@both_transports
async def test_closing_while_the_heartbeat_ends_the_connection_raises_nothing(mock_clock: Clock) -> None:
    async with client_of_raw_peer(heartbeat=BEAT) as (ws, _):
        await trio.sleep(20)
        await ws.aclose()
        assert ws.closed is not None


@both_transports
async def test_heartbeat_stops_once_closing_began(mock_clock: Clock) -> None:
    start = trio.current_time()
    async with client_of_raw_peer(heartbeat=Heartbeat(1, 1)) as (ws, peer):
        await ws.aclose(1000)
        assert trio.current_time() == pytest.approx(start + 60)
        assert ws.closed == CloseReason(1000, None)
        assert await peer.read_frame() == Frame(True, CLOSE, b"\x03\xe8")
        assert not isinstance(ws._link.make_closed().__cause__, PeerSilent)
        assert await peer.read_to_end() == b""


# ------------------------------------------------------------------------------------------------------ living peers


@both_transports
async def test_two_idle_ends_keep_each_other(mock_clock: Clock) -> None:
    async with connected_pair(heartbeat=BEAT) as (client, server):
        await trio.sleep(2000)
        await client.send_message("still there?")
        assert await server.get_message() == "still there?"
        assert client.latency == server.latency == 0


@both_transports
async def test_latency_follows_the_heartbeat(mock_clock: Clock) -> None:
    async with server_of_raw_peer(heartbeat=BEAT) as (ws, peer):
        for latency in (3, 1):
            ping = await peer.read_frame()
            assert (ping.opcode, len(ping.payload)) == (PING, 4)
            await trio.sleep(latency)
            await peer.send_frame(PONG, ping.payload)
            await settle()
            assert ws.latency == latency


@both_transports
@pytest.mark.parametrize("sizes", [[1] * 25, [70_000] * 25], ids=["byte by byte", "a large one"])
async def test_any_byte_is_a_sign_of_life(mock_clock: Clock, sizes: list[int]) -> None:
    # No pong, no whole frame: one message that takes its time.
    message = bytes(sum(sizes))
    data = frame(BINARY, message)
    async with client_of_raw_peer(heartbeat=BEAT, max_message_size=math.inf) as (ws, peer):
        while data:
            part, data = data[: sizes[0] + 1], data[sizes[0] + 1 :]
            await peer.stream.send_all(part)
            await trio.sleep(9)
        assert await ws.get_message() == message


@both_transports
async def test_peer_that_talks_is_pinged_as_well(mock_clock: Clock) -> None:
    # What lies between may cut a connection off on which nothing goes in our direction.
    async with client_of_raw_peer(heartbeat=BEAT) as (ws, peer), trio.open_nursery() as nursery:

        async def talk() -> None:
            while True:
                await peer.send_frame(TEXT, b"news")
                await ws.get_message()
                await trio.sleep(1)

        nursery.start_soon(talk)
        pings = [(await peer.read_frame()).payload for _ in range(5)]
        assert len(set(pings)) == 5
        assert len(ws._link.pings) == 1
        nursery.cancel_scope.cancel()


@both_transports
async def test_pings_of_yours_and_of_the_heartbeat_do_not_disturb_each_other(mock_clock: Clock) -> None:
    async with client_of_raw_peer(heartbeat=BEAT) as (ws, peer), trio.open_nursery() as nursery:
        latencies = []

        async def ping() -> None:
            latencies.append(await ws.ping(b"mine"))

        nursery.start_soon(ping)
        assert (await peer.read_frame()).payload == b"mine"
        beat = await peer.read_frame()
        await trio.sleep(2)
        await peer.send_frame(PONG, beat.payload)
        await settle()
        # A pong answers all earlier pings (RFC 6455 §5.5.3).
        assert latencies == [12]
        assert ws.latency == 2
        await peer.send_frame(PONG, b"mine")
        await settle()
        assert ws.latency == 2


@both_transports
async def test_fragments_and_control_frames_are_signs_of_life(mock_clock: Clock) -> None:
    async with client_of_raw_peer(heartbeat=BEAT) as (ws, peer):
        await peer.send_frame(TEXT, b"a", fin=False)
        for _ in range(6):
            await trio.sleep(9)
            await peer.send_frame(CONT, b"b", fin=False)
            await trio.sleep(9)
            await peer.send_frame(PING, b"")
        assert ws.closed is None
