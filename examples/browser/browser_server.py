"""A web page that talks to a WebSocket server: start this, and open the address that it prints in a browser.

    python examples/browser/browser_server.py

Two servers in one: Python's own http.server hands out the page (index.html, in a thread), and ours sends back every
message. Ctrl-C ends both; the page then shows close code 1001.
"""

from __future__ import annotations

import argparse
import functools
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trio

from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

HOST = "127.0.0.1"
PAGE = Path(__file__).with_name("index.html")


class PageHandler(BaseHTTPRequestHandler):
    """Answers every GET with the page."""

    def do_GET(self) -> None:
        is_page = self.path.partition("?")[0] == "/"
        body = PAGE.read_bytes() if is_page else b"Not found"
        self.send_response(200 if is_page else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8" if is_page else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


async def echo(origin: str, request: WebSocketRequest) -> None:
    """Serve one client, if its page is ours.

    Any page on the web may try to connect to any server, also to one on your own machine: browsers only tell where
    the page came from. So look at `Origin`, and turn away whom you do not know.
    """
    if dict(request.headers).get(b"origin", b"").decode("ascii", "replace") != origin:
        await request.reject(403, body=b"This server is for its own page only.\n")
        return
    ws = await request.accept()
    try:
        async for message in ws:
            await ws.send_message(message)
    except ConnectionClosed:
        pass  # however it ended, the line below tells
    if ws.closed is not None:
        print(f"{ws} closed: {ws.closed.code} {ws.closed.reason or ''}".rstrip(), flush=True)


async def serve_page(page_server: ThreadingHTTPServer) -> None:
    await trio.to_thread.run_sync(page_server.serve_forever)


async def serve(page_port: int) -> None:
    """Run both servers until Ctrl-C."""
    with (
        trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals,
        ThreadingHTTPServer((HOST, page_port), PageHandler) as page_server,
    ):
        origin = f"http://{HOST}:{page_server.server_port}"
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve_websocket, functools.partial(echo, origin), HOST, 0, None)
            nursery.start_soon(serve_page, page_server)
            print(f"Open {origin}/?server=ws://{HOST}:{server.port} in a browser.", flush=True)
            async for _ in signals:
                print("Stopping.", flush=True)
                await trio.to_thread.run_sync(page_server.shutdown)
                nursery.cancel_scope.cancel()


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Serve a web page, and the WebSocket server that it talks to."
    )
    parser.add_argument(
        "--port", type=int, default=8080, help="the page's port, 0 for any free one (%(default)s)"
    )
    args = parser.parse_args()
    try:
        trio.run(serve, args.port)
    except OSError as exc:
        print(f"Cannot listen on {HOST} port {args.port}: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
