"""`trio-websocket serve`: a server to try clients with."""

from __future__ import annotations

import functools
import ssl
from pathlib import Path
from typing import Any, NoReturn

import click
import trio

from trio_websocket import (
    ConnectionClosed,
    Heartbeat,
    WebSocketConnection,
    WebSocketRequest,
    WebSocketServer,
)
from trio_websocket._cli._format import Message
from trio_websocket._cli._options import POSITIVE
from trio_websocket._cli._output import Console
from trio_websocket._cli._run import Failure, run
from trio_websocket._cli._static import PageListener, Pages

__all__ = ["serve_command"]

_FILE = click.Path(exists=True, dir_okay=False)


@click.command("serve")
@click.option(
    "--host", metavar="HOST", default="127.0.0.1", show_default=True, help="The interface to listen on."
)
@click.option(
    "-p",
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The TCP port; 0 for a free one.",
)
@click.option("--broadcast", is_flag=True, help="Send each message to all other clients, instead of back.")
@click.option(
    "--static",
    metavar="PATH",
    type=click.Path(exists=True, path_type=Path),
    help="Serve this page, or the files of this directory, to plain HTTP requests on the same port.",
)
@click.option(
    "--certificate", metavar="FILE", type=_FILE, help="Speak TLS, with this certificate chain in PEM form."
)
@click.option(
    "--key", metavar="FILE", type=_FILE, help="The certificate's private key, if it is in a file of its own."
)
@click.option("--compression", is_flag=True, help="Agree to compression (RFC 7692).")
@click.option(
    "--heartbeat",
    metavar="SECONDS",
    type=POSITIVE,
    help="Ping clients after so many seconds of silence, and drop them after as many more.",
)
@click.option(
    "--max-size",
    metavar="BYTES",
    type=click.IntRange(min=1),
    default=2**24,
    show_default=True,
    help="The largest message to receive.",
)
@click.pass_obj
def serve_command(
    console: Console,
    /,
    host: str,
    port: int,
    broadcast: bool,
    static: Path | None,
    certificate: str | None,
    key: str | None,
    **options: Any,
) -> int:
    """Send back what clients send, until Ctrl-C."""
    if key is not None and certificate is None:
        raise click.UsageError("--key needs --certificate")
    context = _tls(certificate, key) if certificate is not None else None
    pages = Pages(static.resolve()) if static is not None else None
    main = functools.partial(_serve, console, host, port, context, pages, is_broadcast=broadcast, **options)
    return run(console, main)


def _tls(certificate: str, key: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        reason = error.reason or "no certificate and key in PEM form"
        raise click.UsageError(f"{certificate} can't be used: {reason}") from error
    return context


async def _serve(
    console: Console,
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    pages: Pages | None,
    *,
    is_broadcast: bool,
    compression: bool,
    heartbeat: float | None,
    max_size: int,
) -> NoReturn:
    sockets = await _listen(host, port)
    listeners: list[trio.abc.Listener[trio.abc.Stream]] = []
    async with trio.open_nursery() as nursery:
        for each in sockets:
            if pages is not None:
                listener = PageListener(each, context, pages)
                nursery.start_soon(listener.run)
                listeners.append(listener)
            else:
                listeners.append(trio.SSLListener(each, context) if context is not None else each)
        server = WebSocketServer(
            _Broadcast(nursery).serve if is_broadcast else _echo,
            listeners,
            compression=compression,
            heartbeat=Heartbeat(heartbeat, heartbeat) if heartbeat is not None else None,
            max_message_size=max_size,
        )
        await nursery.start(server.run)
        for each in sockets:
            address = _address(each)
            secure = "s" if context is not None else ""
            lines = [f"listening on ws{secure}://{address}"]
            if pages is not None:
                lines.append(f"pages on http{secure}://{address}/")
            await console.stdout.send("".join(f"{line}\n" for line in lines))
    raise AssertionError("the server ended without an error")


async def _listen(host: str, port: int) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise Failure(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    except UnicodeError as error:
        raise Failure(f"cannot listen on {host} port {port}: it is no host name") from error


def _address(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    async for message in ws:
        await ws.send_message(message)


class _Broadcast:
    """A handler that sends each message to all other clients.

    Args:
        nursery: Where those are closed who do not read.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._clients: set[WebSocketConnection] = set()

    async def serve(self, request: WebSocketRequest) -> None:
        """Serve one client."""
        ws = await request.accept()
        self._clients.add(ws)
        try:
            async for message in ws:
                for client in self._clients - {ws}:
                    self._send(client, message)
        finally:
            self._clients.remove(ws)

    def _send(self, client: WebSocketConnection, message: Message) -> None:
        try:
            client.send_message_nowait(message)
        except trio.WouldBlock:
            # Nobody waits for one who does not read (RFC 6455 §7.4.1: 1008).
            self._nursery.start_soon(client.aclose, 1008, "too slow")
        except ConnectionClosed:
            pass  # its own handler is about to see that
