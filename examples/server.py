"""A server that sends every message back, as it came or reversed.

    python examples/server.py                                # ws://127.0.0.1:8000
    python examples/server.py --reverse --port 0             # on a free port, which it prints
    python examples/server.py --ssl server.pem server.key    # wss:, see make_certificates.py
    python examples/server.py --subprotocol chat.v2 --subprotocol chat.v1

Ctrl-C ends it; its clients are told with close code 1001.
"""

from __future__ import annotations

import argparse
import functools
import logging
import signal
import ssl
import sys
from dataclasses import dataclass

import trio

from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

log = logging.getLogger("server")


@dataclass(frozen=True)
class EchoServer:
    """What to do with a client.

    Args:
        reverse: Whether to turn messages round before they go back.
        subprotocols: What the server speaks, the best first.
    """

    reverse: bool = False
    subprotocols: tuple[str, ...] = ()

    async def handle(self, request: WebSocketRequest) -> None:
        """Serve one client; Trio runs this once for each, all at the same time."""
        common = [name for name in self.subprotocols if name in request.proposed_subprotocols]
        ws = await request.accept(subprotocol=common[0] if common else None)
        remote = request.remote
        where = remote if isinstance(remote, str) else f"{remote.address} port {remote.port}"
        log.info("%s connected from %s, path %s, subprotocol %s", ws, where, ws.path, ws.subprotocol)
        count = 0
        try:
            async for message in ws:
                await ws.send_message(message[::-1] if self.reverse else message)
                count += 1
        except ConnectionClosed:
            pass  # however it ended, the line below tells
        log.info("%s %s after %d messages", ws, describe_close(ws), count)


def describe_close(ws: WebSocketConnection) -> str:
    """Say how a connection ended."""
    if ws.closed is None:
        return "still open"
    return f"closed with {ws.closed.code} {ws.closed.name}" + (
        f": {ws.closed.reason}" if ws.closed.reason else ""
    )


async def serve(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C; return the exit code."""
    context = None
    if args.ssl:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*args.ssl)
    echo = EchoServer(args.reverse, tuple(args.subprotocol))
    start = functools.partial(serve_websocket, echo.handle, args.host, args.port, context)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            try:
                server = await nursery.start(start)
            except OSError as exc:
                print(f"Cannot listen on {args.host} port {args.port}: {exc}", file=sys.stderr)
                return 1
            for listener in server.listeners:
                print(f"Listening on {getattr(listener, 'url', listener)}", flush=True)
            async for _ in signals:
                print("Stopping.", flush=True)
                nursery.cancel_scope.cancel()
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Serve WebSocket clients: send back every message that comes in."
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="the port, 0 for any free one (%(default)s)")
    parser.add_argument("--reverse", action="store_true", help="send messages back to front")
    parser.add_argument(
        "--subprotocol",
        action="append",
        default=[],
        metavar="NAME",
        help="a subprotocol to accept; may be repeated",
    )
    parser.add_argument(
        "--ssl",
        nargs="+",
        metavar=("CERT", "KEY"),
        help="serve wss: PEM file of the certificate, and of its key",
    )
    args = parser.parse_args()
    if args.ssl and len(args.ssl) > 2:
        parser.error("--ssl takes a certificate and at most one key")
    return args


def main() -> int:
    args = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # The library tells the like under its own name; here one voice is enough.
    logging.getLogger("trio-websocket").setLevel(logging.WARNING)
    return trio.run(serve, args)


if __name__ == "__main__":
    sys.exit(main())
