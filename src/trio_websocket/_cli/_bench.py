"""`trio-websocket bench`: measure an echo server.

Without a rate, each connection sends its next message when the last one has come back. With a rate, messages have times at
which they are due, whatever the server does, and a latency counts from when its message was due. So a server that stalls is
charged for all that had to wait meanwhile, and not only for the one message that it stalled on ("coordinated omission").
"""

from __future__ import annotations

import functools
import math
import os
import shutil
from collections.abc import Iterator

import click
import trio

from trio_websocket import WebSocketConnection
from trio_websocket._cli._histogram import Histogram, format_seconds
from trio_websocket._cli._options import POSITIVE, Target, takes_target
from trio_websocket._cli._output import Console, escape_line
from trio_websocket._cli._run import FAILURE, OK, Failure, run

__all__ = ["bench_command"]

_PERCENTILES = (50.0, 90.0, 99.0, 99.9, 99.99)
_OPENING_AT_ONCE = 64
# Columns that a row of the histogram takes but for its bar.
_BESIDE_BARS = 25


@click.command("bench")
@takes_target
@click.option(
    "--connections",
    metavar="N",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="At the same time.",
)
@click.option(
    "--rate",
    metavar="N",
    type=POSITIVE,
    help="Messages a second over all connections; without: as fast as they come back.",
)
@click.option(
    "--size",
    metavar="BYTES",
    type=click.IntRange(min=0),
    default=128,
    show_default=True,
    help="Of each message.",
)
@click.option(
    "-t",
    "--time",
    "seconds",
    metavar="SECONDS",
    type=POSITIVE,
    default=10.0,
    show_default=True,
    help="For how long.",
)
@click.pass_obj
def bench_command(
    console: Console, target: Target, connections: int, rate: float | None, size: int, seconds: float
) -> int:
    """Send binary messages to the echo server at URL, and tell how fast they come back.

    The exit code is 1 if messages did not come back.
    """
    bench = _Bench(console, target, connections, rate, os.urandom(size))
    return run(console, functools.partial(bench.run, seconds))


class _Bench:
    def __init__(
        self, console: Console, target: Target, connections: int, rate: float | None, message: bytes
    ) -> None:
        self._console = console
        self._target = target
        self._connections = connections
        self._rate = rate
        self._message = message
        self._times = Histogram()
        self._sent = 0
        # The run's, in Trio's time.
        self._start = 0.0
        self._end = 0.0
        self._last = 0.0

    async def run(self, seconds: float) -> int:
        begin = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                await self._open_all(nursery, begin)
                self._start = self._last = trio.current_time()
                self._end = self._start + seconds
                nursery.cancel_scope.deadline = self._end + self._target.timeout
                begin.set()
        finally:
            self._report()
        return OK if self._times.count == self._sent else FAILURE

    async def _open_all(self, nursery: trio.Nursery, begin: trio.Event) -> None:
        limiter = trio.CapacityLimiter(_OPENING_AT_ONCE)

        async def open_one(number: int) -> None:
            async with limiter:
                await nursery.start(self._connect, number, begin)

        async with trio.open_nursery() as opening:
            for number in range(self._connections):
                opening.start_soon(open_one, number)

    async def _connect(
        self, number: int, begin: trio.Event, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        async with self._target.open() as ws:
            task_status.started()
            await begin.wait()
            if self._rate is None:
                await self._send_when_answered(ws)
            else:
                await self._send_when_due(ws, self._rate, number)

    async def _send_when_answered(self, ws: WebSocketConnection) -> None:
        while (now := trio.current_time()) < self._end:
            await self._send(ws)
            await self._receive(ws, now)

    async def _send_when_due(self, ws: WebSocketConnection, rate: float, number: int) -> None:
        """Send this connection's part of all messages; the connections take turns."""
        total = math.ceil(round((self._end - self._start) * rate, 6))
        turns = range(number, total, self._connections)

        async def receive() -> None:
            for turn in turns:
                await self._receive(ws, self._start + turn / rate)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            for turn in turns:
                await trio.sleep_until(self._start + turn / rate)
                await self._send(ws)

    async def _send(self, ws: WebSocketConnection) -> None:
        self._sent += 1
        await ws.send_message(self._message)

    async def _receive(self, ws: WebSocketConnection, since: float) -> None:
        reply = await ws.get_message()
        if reply != self._message:
            raise Failure(f"no echo server: {len(self._message)} bytes came back as {len(reply)} others")
        self._last = trio.current_time()
        self._times.record(self._last - since)

    def _report(self) -> None:
        times = self._times
        if not self._sent:
            return
        pace = "as fast as they come back" if self._rate is None else f"{self._rate:g} messages/s asked for"
        size = len(self._message)
        lines = [f"{self._target.url}: {self._connections} connections, {size:,} bytes a message, {pace}"]
        if self._sent > times.count:
            lines.append(f"{self._sent - times.count:,} of {self._sent:,} messages did not come back")
        if times.count:
            lines += self._results(self._last - self._start)
        self._console.stdout.write("".join(f"{escape_line(line)}\n" for line in lines))

    def _results(self, seconds: float) -> Iterator[str]:
        times, size = self._times, len(self._message)
        rate = times.count / seconds
        yield (
            f"{times.count:,} messages in {seconds:.3g} s: {rate:,.0f} messages/s,"
            f" {rate * size / 1e6:,.3g} MB/s each way"
        )
        figures = (times.minimum, times.mean, times.maximum)
        yield "latency min/avg/max = " + " / ".join(map(format_seconds, figures))
        for at in _PERCENTILES:
            yield f"{f'p{at:g}':>10} {format_seconds(times.percentile(at))}"
        yield ""
        yield from times.draw(max(shutil.get_terminal_size().columns - _BESIDE_BARS, 10))
