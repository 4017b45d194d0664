"""An interactive client: what you type is sent, what comes in is shown.

    python examples/client.py ws://127.0.0.1:8000
    python examples/client.py --heartbeat --timeout 5 --interval 1 ws://127.0.0.1:8000
    python examples/client.py --cacert ca.pem wss://localhost:8000

Type a line to send it, or one of these; Ctrl-D closes the connection and ends.

    send TEXT              send TEXT, even if it looks like a command
    ping [PAYLOAD]         ping the server and show how long the answer took
    close [CODE [REASON]]  close the connection

Exit code: 0 after a normal close, 1 if there was no connection or it was lost, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import trio
from heartbeat import heartbeat

from trio_websocket import (
    ConnectionClosed,
    DisconnectionTimeout,
    HandshakeError,
    WebSocketConnection,
    open_websocket_url,
)

NORMAL_CODES = (1000, 1001)
say = functools.partial(print, flush=True)


async def read_lines() -> AsyncIterator[str]:
    """The lines of stdin, without ever blocking Trio.

    A thread waits in `os.read`: it can be left behind when the program ends. One that waits in `sys.stdin.readline`
    could not, as it holds a lock that Python needs on its way out.
    """
    rest = b""
    while data := await trio.to_thread.run_sync(os.read, 0, 65536, abandon_on_cancel=True):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace").rstrip("\r")
    if rest:
        yield rest.decode(errors="replace")


class Client:
    """One connection, and what the user may do with it.

    Args:
        ws: The connection.
        timeout: How many seconds the server has to answer a ping.
    """

    def __init__(self, ws: WebSocketConnection, timeout: float) -> None:
        self.ws = ws
        self.timeout = timeout
        # Closing.
        self.code = 1000
        self.reason = ""
        self.is_peer_lost = False

    async def talk(self, heartbeat_interval: float | None) -> int:
        """Go on until the user or the server has enough; return the exit code."""
        tasks = [self.obey_user, self.show_messages]
        if heartbeat_interval is not None:
            tasks.append(functools.partial(self.watch, heartbeat_interval))
        async with trio.open_nursery() as nursery:
            for task in tasks:
                nursery.start_soon(self.end_all_after, task, nursery.cancel_scope)
        if self.ws.closed is None:
            await self.ws.aclose(self.code, self.reason)
            say("* closed")
            return 1 if self.is_peer_lost else 0
        end = self.ws.closed
        say(f"* closed by the other side: {end.code} {end.name} {end.reason or ''}".rstrip())
        return 0 if end.code in NORMAL_CODES else 1

    async def end_all_after(self, task: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
        with contextlib.suppress(ConnectionClosed):
            await task()
        scope.cancel()

    async def obey_user(self) -> None:
        """Carry out the lines of stdin, until they end or one says `close`."""
        async for line in read_lines():
            command, _, rest = line.partition(" ")
            if command == "ping":
                await self.ping(rest.encode())
            elif command == "close":
                if self.accept_close(rest):
                    return
            else:
                await self.ws.send_message(rest if command == "send" else line)

    async def ping(self, payload: bytes) -> None:
        if len(payload) > 125:
            say("! a ping carries at most 125 bytes")
            return
        with trio.move_on_after(self.timeout) as scope:
            seconds = await self.ws.ping(payload or None)
            say(f"* pong after {seconds * 1000:.1f} ms")
        if scope.cancelled_caught:
            say(f"! no pong within {self.timeout:g} s")

    def accept_close(self, arguments: str) -> bool:
        """Note with which code and reason to close; say so if they will not do."""
        word, _, reason = arguments.partition(" ")
        code = int(word) if word.isdecimal() else 1000 if not word else 0
        # These are for programs to send, says RFC 6455 in section 7.4; others are the library's own affair.
        if code not in NORMAL_CODES and not 3000 <= code <= 4999:
            say("! a close code is 1000, 1001, or from 3000 to 4999")
            return False
        if len(reason.encode()) > 123:
            say("! a close reason has at most 123 bytes")
            return False
        self.code, self.reason = code, reason
        return True

    async def show_messages(self) -> None:
        """Print what comes in, until the connection ends."""
        while True:
            message = await self.ws.get_message()
            say(
                f"< {message}"
                if isinstance(message, str)
                else f"< {len(message)} bytes: {message[:32].hex(' ')}"
            )

    async def watch(self, interval: float) -> None:
        """Beat until the server does not answer any more."""
        try:
            await heartbeat(self.ws, self.timeout, interval)
        except trio.TooSlowError:
            say(f"! the server did not answer a ping within {self.timeout:g} s")
            self.is_peer_lost = True


async def connect_and_talk(args: argparse.Namespace) -> int:
    try:
        context = ssl.create_default_context(cafile=args.cacert) if args.url.startswith("wss:") else None
        if context is not None and args.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        async with open_websocket_url(args.url, context, disconnect_timeout=args.timeout) as ws:
            say(f"* connected to {args.url}")
            return await Client(ws, args.timeout).talk(args.interval if args.heartbeat else None)
    except DisconnectionTimeout:
        say("! the server did not answer our close")
    except (HandshakeError, ValueError, OSError) as exc:
        say(f"! no connection: {exc}")
    return 1


async def main() -> int:
    """Parse the command line, and run until the end or Ctrl-C."""
    parser = argparse.ArgumentParser(description="Talk to a WebSocket server.")
    parser.add_argument("url", help="where to connect to, as ws://HOST:PORT/PATH or wss://...")
    parser.add_argument(
        "--heartbeat", action="store_true", help="ping the server, and end when it does not answer"
    )
    parser.add_argument(
        "--timeout", type=float, default=5, help="seconds that an answer may take (%(default)s)"
    )
    parser.add_argument(
        "--interval", type=float, default=1, help="seconds between two heartbeats (%(default)s)"
    )
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("--cacert", metavar="FILE", help="wss: trust the authorities in this PEM file")
    trust.add_argument(
        "--insecure", action="store_true", help="wss: take any certificate; for trying out only"
    )
    args = parser.parse_args()

    exit_code = 130  # what a shell expects after Ctrl-C
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel_at_signal, signals, nursery.cancel_scope)
            exit_code = await connect_and_talk(args)
            nursery.cancel_scope.cancel()
    return exit_code


async def cancel_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


if __name__ == "__main__":
    sys.exit(trio.run(main))
