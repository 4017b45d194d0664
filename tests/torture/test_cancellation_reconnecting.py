"""Cancelling what reconnects at each checkpoint: nothing is left, lost or sent twice, and no error is masked.

`checkpoints` tells how. The network is in memory: `reconnect_support`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from checkpoints import MAX_STEPS, Attack, contained, seed_scheduler, torture
from reconnect_support import PLAIN, URL, Net, Script, closing, hanging_up, network, rejecting, say_nothing
from support import make_pair

from trio_websocket import (
    Backoff,
    ConnectionClosed,
    ReconnectingWebSocket,
    WebSocketConnection,
    open_reconnecting_websocket_url,
    run_websocket_url,
)

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

pytestmark = pytest.mark.slow


async def greet(plain: WebSocketConnection) -> None:
    """Log in."""
    await plain.send_message("it is me")
    await plain.ping()


@asynccontextmanager
async def reconnecting(
    monkeypatch: pytest.MonkeyPatch, *scripts: Script | Exception
) -> AsyncIterator[tuple[ReconnectingWebSocket, Net]]:
    """A client in a network of scripts, the last of which serves."""
    async with network(monkeypatch, *scripts) as net:
        net.make_pair = make_pair
        net.scripts.append(net.serve)
        async with open_reconnecting_websocket_url(URL, backoff=PLAIN, message_queue_size=9) as ws:
            yield ws, net


def test_cancelled_run_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def session(ws: WebSocketConnection) -> str | bytes:
        await ws.send_message("hello")
        return await ws.get_message()

    async def scenario(attack: Attack) -> None:
        scripts = [hanging_up(), rejecting(503), say_nothing, closing(1012), closing(1000, "news")]
        async with network(monkeypatch, *scripts):
            ending = await attack.run(
                lambda: run_websocket_url(session, URL, backoff=PLAIN, connect_timeout=5)
            )
            assert ending.delay <= 2
            assert ending.value == "news" or type(ending.error) is trio.Cancelled

    torture(scenario)


def test_block_cancelled_on_entering_within_or_on_leaving_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def use(net: Net) -> None:
        async with open_reconnecting_websocket_url(
            URL, backoff=PLAIN, connect_timeout=5, on_connect=greet
        ) as ws:
            await ws.send_message("one")
            await ws.ping()
            lost.set()
            while ws.state == "connected":
                await trio.lowlevel.checkpoint()
            await ws.send_message("two")
            await ws.ping()

    lost = trio.Event()

    async def scenario(attack: Attack) -> None:
        nonlocal lost
        lost = trio.Event()
        async with network(monkeypatch, OSError(), say_nothing) as net:
            net.scripts += [net.serving_until(lost), rejecting(503), net.serve]
            ending = await attack.run(lambda: use(net))
            assert ending.delay <= 2
            assert ending.returned or type(ending.error) is trio.Cancelled
            assert [text for texts in net.received for text in texts if text != "it is me"] in (
                [],
                ["one"],
                ["one", "two"],
            )

    torture(scenario)


class _Boom(Exception):
    pass


@pytest.mark.parametrize(
    "boom", [_Boom(), ExceptionGroup("the body's own", [_Boom()]), StopAsyncIteration()], ids=repr
)
@pytest.mark.parametrize("in_an_outage", [False, True])
def test_body_s_own_exception_comes_out_itself_whenever_the_block_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, boom: Exception, in_an_outage: bool
) -> None:
    async def scenario(attack: Attack) -> None:
        async with network(monkeypatch) as net:
            net.scripts = [hanging_up() if in_an_outage else net.serve, say_nothing]
            has_raised = False

            async def use() -> None:
                nonlocal has_raised
                async with open_reconnecting_websocket_url(URL, backoff=PLAIN):
                    await trio.sleep(2)
                    has_raised = True
                    raise boom

            ending = await attack.run(use)
            if has_raised:
                assert ending.error is boom
                assert boom.__cause__ is None
            else:
                assert type(ending.error) is trio.Cancelled

    torture(scenario)


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("others", [0, 2])
def test_cancelled_send_has_sent_nothing_and_a_returned_one_is_sent_once(
    monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    async def scenario(attack: Attack) -> None:
        async with reconnecting(monkeypatch, hanging_up(), OSError(), rejecting(503)) as (ws, net):
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                for number in range(others):
                    nursery.start_soon(ws.send_message, f"other {number}")
                    await trio.testing.wait_all_tasks_blocked()
                ending = await attack.run(lambda: ws.send_message("the message"))
            await ws.ping()
            assert ending.delay == 0
            expected = [f"other {number}" for number in range(others)]
            assert net.received == [[*expected, *(["the message"] if ending.returned else [])]]

    torture(scenario)


@pytest.mark.usefixtures("transport")
def test_cancelled_receive_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def receive_all(ws: ReconnectingWebSocket, received: list[str | bytes]) -> None:
        while True:
            received.append(await ws.get_message())

    async def scenario(attack: Attack) -> None:
        received: list[str | bytes] = []
        scripts = [hanging_up("a", "b"), closing(1012, "c", after=1), closing(1000, "d", "e")]
        async with reconnecting(monkeypatch, *scripts) as (ws, _):
            ending = await attack.run(lambda: receive_all(ws, received))
            assert ending.delay == 0
            if ending.was_cancelled:
                with pytest.raises(ConnectionClosed):
                    await receive_all(ws, received)
            assert received == ["a", "b", "c", "d", "e"]

    torture(scenario)


def test_cancelled_ping_and_wait_leave_it_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait_and_ping(ws: ReconnectingWebSocket) -> None:
        await ws.ping()
        await ws.wait_connected()

    async def scenario(attack: Attack) -> None:
        async with reconnecting(monkeypatch, hanging_up(after=2), OSError()) as (ws, net):
            ending = await attack.run(lambda: wait_and_ping(ws))
            assert ending.delay == 0
            await ws.wait_connected()
            await ws.send_message("proof")
            while not net.received:
                await ws.ping()

    torture(scenario)


@pytest.mark.parametrize("in_an_outage", [False, True])
def test_cancelled_close_is_a_close(monkeypatch: pytest.MonkeyPatch, in_an_outage: bool) -> None:
    async def scenario(attack: Attack) -> None:
        scripts = [hanging_up(), say_nothing] if in_an_outage else []
        async with reconnecting(monkeypatch, *scripts) as (ws, _):
            await trio.sleep(2)
            ending = await attack.run(ws.aclose)
            assert ending.delay == 0
            # Cancelled before it began, it may not have.
            if attack.at > 0 or ending.returned:
                assert ws.state == "closed"
                with pytest.raises(ConnectionClosed):
                    await ws.send_message("x")

    torture(scenario)


def test_giving_up_on_entering_is_never_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use() -> None:
        async with open_reconnecting_websocket_url(URL, backoff=Backoff(attempts=3)):
            raise AssertionError("it opened")

    async def scenario(attack: Attack) -> None:
        async with network(monkeypatch, OSError(), hanging_up()):
            ending = await attack.run(use)
            assert type(ending.error) is trio.Cancelled or not isinstance(ending.error, ExceptionGroup)
            assert not ending.returned or ending.was_cancelled

    torture(scenario)


# --------------------------------------------------------------------------------------------------------- Ctrl-C


class _Keyboard(trio.abc.Instrument):
    """Presses Ctrl-C before one of the steps that are taken while it is armed."""

    def __init__(self, at: int) -> None:
        self._at = at
        self._steps = 0
        self.is_armed = False
        self.has_struck = False

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.is_armed:
            self._steps += 1
            if self._steps == self._at:
                self.has_struck = True
                signal.raise_signal(signal.SIGINT)


def test_ctrl_c_at_any_point_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(keyboard: _Keyboard) -> None:
        with trio.fail_after(100):
            async with contained(), network(monkeypatch, OSError(), hanging_up("a"), closing(1000, "b")):
                keyboard.is_armed = True
                try:
                    async with open_reconnecting_websocket_url(URL, backoff=PLAIN) as ws:
                        assert [message async for message in ws] == ["a", "b"]
                except KeyboardInterrupt:
                    pass
                keyboard.is_armed = False

    for at in range(1, MAX_STEPS):
        keyboard = _Keyboard(at)
        seed_scheduler(at)
        clock = trio.testing.MockClock(autojump_threshold=0)
        try:
            trio.run(main, keyboard, clock=clock, instruments=[keyboard])
        except KeyboardInterrupt:
            # It came when the block had just been left.
            pass
        if not keyboard.has_struck:
            return
    raise AssertionError(f"the block took more than {MAX_STEPS} steps")
