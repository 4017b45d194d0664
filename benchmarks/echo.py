"""What `make bench` runs: how fast an echo server of ours is on this machine, and what a message costs it.

    python benchmarks/echo.py [--seconds 1.0]

The server is a process of its own, the clients share another; both use the library as it comes, over TCP on the loopback.
Each client sends a message, waits for its echo, and sends the next. So one client measures round trips, and many show how
much a server gets done. The clients compute about as much as the server: if both have to share a core, there are fewer
messages a second. The CPU time of a message is the server's alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import time
from multiprocessing.connection import Connection

import trio

import trio_websocket
from trio_websocket import WebSocketRequest, open_websocket_url, serve_websocket

# Bytes of a message, and clients that send such.
CASES = [(32, 1), (32, 64), (4096, 1), (2**20, 1)]
WARM_UP = 0.1  # of the time that is measured


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    async for message in ws:
        await ws.send_message(message)


async def serve(pipe: Connection) -> None:
    """Serve on a free port, and tell the CPU time so far whenever asked; ends when the pipe does."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, echo, "127.0.0.1", 0, None)
        pipe.send(server.port)
        try:
            while True:
                await trio.to_thread.run_sync(pipe.recv)
                pipe.send(time.process_time())
        except EOFError:
            nursery.cancel_scope.cancel()


def run_server(pipe: Connection) -> None:
    trio.run(serve, pipe)


def ask_cpu_time(pipe: Connection) -> float:
    pipe.send(None)
    answer: float = pipe.recv()
    return answer


class Client:
    """Sends a message and waits for its echo, over and over.

    Args:
        message: What to send.
    """

    def __init__(self, message: bytes) -> None:
        self._message = message
        self.echoed = 0

    async def run(self, url: str, *, task_status: trio.TaskStatus[None]) -> None:
        async with open_websocket_url(url) as ws:
            task_status.started()
            while True:
                await ws.send_message(self._message)
                if await ws.get_message() != self._message:
                    raise AssertionError("the echo is not what was sent")
                self.echoed += 1


async def measure(url: str, pipe: Connection, seconds: float, size: int, count: int) -> tuple[float, float]:
    """Messages a second, and the server's microseconds of CPU for each; 0 if there was no message."""
    clients = [Client((b"0123456789abcdef" * size)[:size]) for _ in range(count)]
    async with trio.open_nursery() as nursery:
        for client in clients:
            await nursery.start(client.run, url)
        await trio.sleep(seconds * WARM_UP)
        before = sum(client.echoed for client in clients)
        cpu, start = ask_cpu_time(pipe), time.perf_counter()
        await trio.sleep(seconds)
        echoed = sum(client.echoed for client in clients) - before
        elapsed, cpu = time.perf_counter() - start, ask_cpu_time(pipe) - cpu
        nursery.cancel_scope.cancel()
    return echoed / elapsed, 1e6 * cpu / max(1, echoed)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure an echo server of trio-websocket.")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each line (default: %(default)s)")
    seconds = parser.parse_args().seconds
    context = multiprocessing.get_context("spawn")
    pipe, servers_pipe = context.Pipe()
    server = context.Process(target=run_server, args=(servers_pipe,), daemon=True)
    server.start()
    servers_pipe.close()
    url = f"ws://127.0.0.1:{pipe.recv()}/"
    versions = f"trio-websocket {trio_websocket.__version__}, trio {trio.__version__}"
    print(f"{versions}, {platform.python_implementation()} {platform.python_version()}")
    print(f"{'bytes':>9}{'clients':>9}{'messages/s':>12}{'µs of CPU':>12}", flush=True)
    for size, count in CASES:
        rate, cpu = trio.run(measure, url, pipe, seconds, size, count)
        print(f"{size:>9,}{count:>9}{rate:>12,.0f}{cpu:>12,.1f}", flush=True)
    pipe.close()
    server.join(10)
    print("A message is one that came back; µs of CPU are the server's, for each message.")
    print("A comparison with other libraries is not in this benchmark yet.")


if __name__ == "__main__":
    main()
