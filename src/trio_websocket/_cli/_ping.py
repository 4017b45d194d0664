"""`trio-websocket ping`: measure the way to a server and back."""

from __future__ import annotations

import functools
import math

import click
import trio

from trio_websocket import WebSocketConnection
from trio_websocket._cli._histogram import Histogram
from trio_websocket._cli._options import POSITIVE, Target, takes_target
from trio_websocket._cli._output import Console, escape_line
from trio_websocket._cli._run import FAILURE, INTERRUPTED, OK, run

__all__ = ["ping_command"]

_PERCENTILES = (50.0, 90.0, 99.0)


@click.command("ping")
@takes_target
@click.option("-c", "--count", metavar="N", type=click.IntRange(min=1), help="End after so many pings.")
@click.option(
    "-i",
    "--interval",
    metavar="SECONDS",
    type=POSITIVE,
    default=1.0,
    show_default=True,
    help="Between two pings.",
)
@click.pass_obj
def ping_command(console: Console, target: Target, count: int | None, interval: float) -> int:
    """Ping the server at URL, until Ctrl-C, and sum up.

    The exit code is 1 if no ping was answered.
    """
    pinger = _Pinger(console, target)
    code = run(console, functools.partial(pinger.run, count or math.inf, interval))
    if code in {OK, INTERRUPTED} and pinger.sent:
        return OK if pinger.times.count else FAILURE
    return code


class _Pinger:
    def __init__(self, console: Console, target: Target) -> None:
        self._console = console
        self._target = target
        self.times = Histogram()
        self.sent = 0

    async def run(self, count: float, interval: float) -> int:
        start = trio.current_time()
        async with self._target.open() as ws:
            opened = trio.current_time() - start
            await self._say(f"PING {self._target.url} ({ws.remote}): open after {opened * 1e3:.3f} ms")
            try:
                await self._ping_on(ws, count, interval)
            finally:
                self._sum_up()
        return OK

    async def _ping_on(self, ws: WebSocketConnection, count: float, interval: float) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._drain, ws)
            async with trio.open_nursery() as pings:
                begin = trio.current_time()
                while self.sent < count:
                    await trio.sleep_until(begin + self.sent * interval)
                    self.sent += 1
                    pings.start_soon(self._ping, ws, self.sent)
            nursery.cancel_scope.cancel()

    async def _ping(self, ws: WebSocketConnection, number: int) -> None:
        with trio.move_on_after(self._target.timeout) as scope:
            seconds = await ws.ping()
            self.times.record(seconds)
            await self._say(f"pong from {ws.remote}: seq={number} time={seconds * 1e3:.3f} ms")
        if scope.cancelled_caught:
            await self._say(f"no pong: seq={number} after {self._target.timeout:g} s")

    async def _drain(self, ws: WebSocketConnection) -> None:
        """Take in the server's messages: pongs wait behind them."""
        while True:
            await ws.get_message()

    async def _say(self, line: str) -> None:
        await self._console.stdout.send(escape_line(line) + "\n")

    def _sum_up(self) -> None:
        times, sent = self.times, self.sent
        lost = 100 * (sent - times.count) / max(sent, 1)
        lines = [f"--- {self._target.url} ---", f"{sent} sent, {times.count} answered, {lost:.4g} % lost"]
        if times.count:
            figures = (times.minimum, times.mean, times.maximum, times.deviation)
            lines.append("min/avg/max/mdev = " + "/".join(f"{each * 1e3:.3f}" for each in figures) + " ms")
            lines.append(", ".join(f"p{at:g} = {times.percentile(at) * 1e3:.3f} ms" for at in _PERCENTILES))
        self._console.stdout.write("".join(f"{escape_line(line)}\n" for line in lines))
