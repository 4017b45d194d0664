"""The client of each kind: `python clients.py KIND TASK PORT CONNECTIONS SIZE IN_FLIGHT SECONDS`.

TASK is "echo": each connection has so many messages in flight, and sends the next for each that comes back; or "handshakes":
each connects and closes, again and again. Prints "COUNT SECONDS CPU", as load.c does, of this process.
"""

# ruff: noqa: PLC0415  No environment has all the libraries: each is imported where it is used.
from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import trio
from servers import HOST, RECEIVE_SIZE, run_asyncio

# How to send a message and how to receive one.
Ends = tuple[Callable[[bytes], Awaitable[object]], Callable[[], Awaitable[object]]]
Connect = Callable[[], contextlib.AbstractAsyncContextManager[Ends]]
WARM_UP = 0.2  # of the time that is measured


@dataclass
class Run:
    """What to do, and how much is done."""

    task: str
    port: int
    connections: int
    size: int
    in_flight: int
    seconds: float
    opened: int = 0
    count: int = 0

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self.port}/"

    @property
    def message(self) -> bytes:
        return b"a" * self.size

    async def work(self, connect: Connect) -> None:
        """One connection's work; does not end."""
        while self.task == "handshakes":
            async with connect():
                self.opened += 1
            self.count += 1
        async with connect() as (send, receive):
            self.opened += 1
            message = self.message
            for _ in range(self.in_flight):
                await send(message)
            while True:
                await receive()
                self.count += 1
                await send(message)

    async def measure(self, sleep: Callable[[float], Awaitable[object]]) -> None:
        """Wait until all is warm, measure, print, and end the process."""
        while self.opened < self.connections:
            await sleep(0.005)
        await sleep(self.seconds * WARM_UP)
        count, start, cpu = self.count, time.perf_counter(), time.process_time()
        await sleep(self.seconds)
        cpu, elapsed = time.process_time() - cpu, time.perf_counter() - start
        if self.count == count:
            raise RuntimeError("nothing came back")
        print(self.count - count, elapsed, cpu, flush=True)
        # Closing is no part of it.
        os._exit(0)


async def run_trio(run: Run, connect: Connect) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(run.connections):
            nursery.start_soon(run.work, connect)
        await run.measure(trio.sleep)


def trio_websocket(run: Run, kind: str) -> Connect:
    from trio_websocket import open_websocket_url, wrap_client_stream

    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Ends]:
        options: dict[str, Any] = {"receive_buffer_size": RECEIVE_SIZE} if kind == "trio-websocket" else {}
        async with open_websocket_url(run.url, **options) as ws:
            yield ws.send_message, ws.get_message

    @contextlib.asynccontextmanager
    async def connect_over_streams() -> AsyncIterator[Ends]:
        stream = await trio.open_tcp_stream(HOST, run.port)
        async with trio.open_nursery() as nursery:
            # More than a plain socket, as far as our library can see: it has to use its stream transport.
            stapled = trio.StapledStream(stream, stream)
            async with await wrap_client_stream(nursery, stapled, HOST, "/") as ws:
                yield ws.send_message, ws.get_message

    return connect_over_streams if kind == "ours-streams" else connect


def trio_streams(run: Run, _kind: str) -> Connect:
    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[Ends]:
        stream = await trio.open_tcp_stream(HOST, run.port)
        extra = 0  # bytes of the next message

        async def receive() -> None:
            nonlocal extra
            while extra < run.size:
                data = await stream.receive_some(RECEIVE_SIZE)
                if not data:
                    raise EOFError
                extra += len(data)
            extra -= run.size

        async with stream:
            yield stream.send_all, receive

    return connect


def websockets_trio(run: Run, _kind: str) -> Connect:
    from websockets.trio.client import connect

    @contextlib.asynccontextmanager
    async def connect_once() -> AsyncIterator[Ends]:
        async with connect(run.url, compression=None, proxy=None) as ws:
            yield ws.send, ws.recv

    return connect_once


async def run_websockets(run: Run) -> None:
    from websockets.asyncio.client import connect

    @contextlib.asynccontextmanager
    async def connect_once() -> AsyncIterator[Ends]:
        async with connect(run.url, compression=None, proxy=None) as ws:
            yield ws.send, ws.recv

    await run_asyncio_work(run, connect_once)


async def run_aiohttp(run: Run) -> None:
    from aiohttp import ClientSession, TCPConnector

    async with ClientSession(connector=TCPConnector(limit=0)) as session:

        @contextlib.asynccontextmanager
        async def connect() -> AsyncIterator[Ends]:
            async with session.ws_connect(run.url) as ws:
                yield ws.send_bytes, ws.receive_bytes

        await run_asyncio_work(run, connect)


async def run_asyncio_work(run: Run, connect: Connect) -> None:
    work = [run.work(connect) for _ in range(run.connections)]
    await asyncio.gather(run.measure(asyncio.sleep), *work)


async def run_picows(run: Run) -> None:
    from picows import WSListener, WSMsgType, ws_connect  # type: ignore[import-not-found]

    message = run.message

    class Listener(WSListener):  # type: ignore[misc]
        def on_ws_connected(self, transport: Any) -> None:
            run.opened += 1
            if run.task == "echo":
                for _ in range(run.in_flight):
                    transport.send(WSMsgType.BINARY, message)

        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == WSMsgType.BINARY:
                run.count += 1
                transport.send(WSMsgType.BINARY, message)
            else:
                transport.disconnect()

    async def work() -> None:
        transport, _ = await ws_connect(Listener, run.url)
        while run.task == "handshakes":
            transport.send_close(1000)
            await transport.wait_disconnected()
            run.count += 1
            transport, _ = await ws_connect(Listener, run.url)
        await transport.wait_disconnected()

    await asyncio.gather(run.measure(asyncio.sleep), *(work() for _ in range(run.connections)))


ON_TRIO: dict[str, Callable[[Run, str], Connect]] = {
    "ours": trio_websocket,
    "ours-plain": trio_websocket,
    "ours-streams": trio_websocket,
    "trio-websocket": trio_websocket,
    "trio": trio_streams,
    "websockets.trio": websockets_trio,
}
ON_ASYNCIO = {"picows": run_picows, "aiohttp": run_aiohttp, "websockets": run_websockets}


def main() -> None:
    kind, task, port, connections, size, in_flight, seconds = sys.argv[1:]
    run = Run(task, int(port), int(connections), int(size), int(in_flight), float(seconds))
    if kind in ON_TRIO:
        trio.run(run_trio, run, ON_TRIO[kind](run, kind))
    name, _, loop = kind.partition("+")
    run_asyncio(lambda: ON_ASYNCIO[name](run), with_uvloop=loop == "uvloop")


if __name__ == "__main__":
    main()
