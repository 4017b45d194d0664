"""What `make demo` runs: a server, a client with a heartbeat, and a network that fails.

    python examples/demo.py

All sockets are real, on this machine's loopback. The server is a process of its own (server.py); between it and the
client stands a small relay, which plays the network. In the end the relay stops forwarding, but leaves both of its
connections open, as a pulled cable does: nobody is told, and only a heartbeat can notice.
"""

from __future__ import annotations

import math
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from heartbeat import heartbeat

from trio_websocket import DisconnectionTimeout, WebSocketConnection, open_websocket_url

TIMEOUT = 1.0  # seconds that the server has to answer a ping
INTERVAL = 0.3  # seconds from one answer to the next ping
SLACK = 1.0  # what a busy machine may take on top
DEADLINE = 30.0


class DemoError(Exception):
    """Something did not go as it should."""


def say(text: str) -> None:
    print(text, flush=True)


def check(is_right: bool, complaint: str) -> None:
    if not is_right:
        raise DemoError(complaint)


class Network:
    """A relay between a client and a server, both on the loopback.

    Args:
        server_port: Where to forward to.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._is_down = False

    def fail(self) -> None:
        """Lose all that is sent from now on, without telling anybody."""
        self._is_down = True

    async def carry(self, client: trio.SocketStream) -> None:
        """Carry one client's connection to the server; runs until cancelled or both sides are done."""
        server = await trio.open_tcp_stream("127.0.0.1", self._server_port)
        async with client, server, trio.open_nursery() as nursery:
            nursery.start_soon(self._forward, client, server)
            nursery.start_soon(self._forward, server, client)

    async def _forward(self, source: trio.SocketStream, target: trio.SocketStream) -> None:
        try:
            async for data in source:
                if not self._is_down:
                    await target.send_all(data)
        except trio.BrokenResourceError:
            pass
        if not self._is_down:
            await target.aclose()


@asynccontextmanager
async def running_server() -> AsyncIterator[int]:
    """Start server.py in a process of its own; yields its port."""
    command = [sys.executable, str(Path(__file__).with_name("server.py")), "--port", "0"]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            data = await process.stdout.receive_some()
            check(bool(data), "The server ended before it began.")
            line += data
        yield int(line.rpartition(b":")[2])
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def exchange(ws: WebSocketConnection) -> None:
    """Send a text and some bytes; both must come back."""
    text = "Hello, Γειά, 你好"
    await ws.send_message(text)
    check(await ws.get_message() == text, "The text came back changed.")
    say("   A text in Latin, Greek and Chinese letters went to the server and came back.")
    data = secrets.token_bytes(100_000)
    await ws.send_message(data)
    check(await ws.get_message() == data, "The bytes came back changed.")
    say(f"   {len(data):,} random bytes went to the server and came back, none of them changed.")
    say(f"   A ping was answered after {await ws.ping() * 1000:.2f} ms.")


async def lose_network(ws: WebSocketConnection, network: Network) -> None:
    """Break the network under a beating heart, and wait until that is noticed."""
    failed_at, noticed_at = math.inf, 0.0

    async def fail_soon() -> None:
        nonlocal failed_at
        await trio.sleep(2.5 * INTERVAL)
        check(ws.closed is None and ws.latency is not None, "The heartbeat does not beat.")
        say(f"   It beats: the last answer took {(ws.latency or 0) * 1000:.2f} ms.")
        failed_at = trio.current_time()
        network.fail()
        say("\n4. The network is down now. Nothing arrives any more, and nobody has been told.")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail_soon)
        try:
            await heartbeat(ws, TIMEOUT, INTERVAL)
        except trio.TooSlowError:
            noticed_at = trio.current_time()
    elapsed = noticed_at - failed_at
    check(elapsed > 0, "The heartbeat gave up before the network failed.")
    say(f"   The heartbeat noticed {elapsed:.2f} s later: a ping had no answer within {TIMEOUT:g} s.")
    limit = INTERVAL + TIMEOUT
    check(elapsed <= limit + SLACK, f"That is too late: {limit:g} s should have been enough.")
    say(f"   It never takes more than {limit:g} s: the pause between two pings, and the time to answer one.")


async def use_connection(port: int, network: Network) -> None:
    """Be the client from beginning to end."""
    try:
        # Who is gone cannot say goodbye either: do not wait long for it.
        async with open_websocket_url(f"ws://127.0.0.1:{port}/", disconnect_timeout=1) as ws:
            say(
                f"\n2. A client is connected to it, over a small relay on port {port} that plays the network."
            )
            await exchange(ws)
            say(
                f"\n3. A heartbeat watches: a ping, at most {TIMEOUT:g} s for its answer, {INTERVAL:g} s of rest."
            )
            await lose_network(ws, network)
            say("\n5. So the client closes its end.")
    except DisconnectionTimeout:
        say(
            "   The server, cut off, cannot answer that either; after 1 s the client has dropped the connection."
        )
    say("   In a program of yours, now is the time to connect anew.")


async def demo() -> None:
    with trio.move_on_after(DEADLINE) as scope:
        async with running_server() as server_port, trio.open_nursery() as nursery:
            say(f"1. A server runs in a process of its own, on port {server_port} of this machine.")
            network = Network(server_port)
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, network.carry, listeners)
            await use_connection(listeners[0].socket.getsockname()[1], network)
            nursery.cancel_scope.cancel()
    check(not scope.cancelled_caught, f"It hangs: not done after {DEADLINE:g} s.")


def main() -> int:
    try:
        trio.run(demo)
    except Exception as error:  # whatever went wrong, say it clearly
        # Trio's nurseries hand on groups of errors; here the first one tells enough.
        while grouped := getattr(error, "exceptions", None):
            error = grouped[0]
        print(f"\nThe demo FAILED: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    say("\nAll went as it should.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
