"""A heartbeat: keeps an idle connection open, and notices a peer that has gone silent.

Take the function `heartbeat` into your program, or watch it at work:

    python examples/server.py --port 8000
    python examples/heartbeat.py ws://127.0.0.1:8000
"""

from __future__ import annotations

import argparse
import sys

import trio

from trio_websocket import (
    ConnectionClosed,
    DisconnectionTimeout,
    HandshakeError,
    WebSocketConnection,
    open_websocket_url,
)


async def heartbeat(ws: WebSocketConnection, timeout: float, interval: float) -> None:
    """Ping the peer again and again; run it in a nursery beside the rest of your program.

    `ws.ping()` waits for the pong, so a ping that returns proves that the other side is there and answers.

    Args:
        ws: The connection to watch.
        timeout: How many seconds the peer has to answer a ping.
        interval: How many seconds to rest between an answer and the next ping.

    Raises:
        trio.TooSlowError: The peer did not answer in time.
        ConnectionClosed: The connection was closed.
    """
    while True:
        with trio.fail_after(timeout):
            await ws.ping()
        await trio.sleep(interval)


async def main() -> int:
    parser = argparse.ArgumentParser(
        description="Hold a connection open and tell how long the peer's answers take."
    )
    parser.add_argument("url", help="where to connect to, as ws://HOST:PORT/PATH")
    parser.add_argument(
        "--timeout", type=float, default=5, help="seconds that an answer may take (%(default)s)"
    )
    parser.add_argument("--interval", type=float, default=1, help="seconds between two pings (%(default)s)")
    args = parser.parse_args()
    try:
        async with open_websocket_url(args.url, disconnect_timeout=args.timeout) as ws:
            await watch(ws, args.timeout, args.interval)
    except DisconnectionTimeout:
        print("It did not answer our close either.")
    except HandshakeError as exc:
        print(f"No connection: {exc}")
    return 1


async def watch(ws: WebSocketConnection, timeout: float, interval: float) -> None:
    """Tell of a heartbeat, until it stops."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(report, ws, interval)
        # Start `heartbeat` in the nursery instead if its error shall end all that runs there.
        try:
            await heartbeat(ws, timeout, interval)
        except trio.TooSlowError:
            print(f"No answer within {timeout:g} s: the peer is gone.", flush=True)
        except ConnectionClosed as exc:
            print(f"The connection was closed: {exc.reason}.", flush=True)
        nursery.cancel_scope.cancel()


async def report(ws: WebSocketConnection, interval: float) -> None:
    while True:
        await trio.sleep(interval)
        if ws.latency is not None:
            print(f"alive, round trip {ws.latency * 1000:.1f} ms", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(trio.run(main))
    except KeyboardInterrupt:
        sys.exit(130)
