"""`trio-websocket connect`: talk to a server, by hand or from a pipe."""

from __future__ import annotations

import functools
import logging
import math

import click
import trio

from trio_websocket._cli._format import make_formatter
from trio_websocket._cli._options import NOT_NEGATIVE, Target, takes_target
from trio_websocket._cli._output import Console
from trio_websocket._cli._receive import Socket, receive_all_there
from trio_websocket._cli._run import OK, run, show_log
from trio_websocket._cli._stdin import read_lines
from trio_websocket._cli._talk import talk

__all__ = ["connect_command"]


@click.command("connect")
@takes_target
@click.option(
    "-w",
    "--wait",
    metavar="SECONDS",
    type=NOT_NEGATIVE,
    default=1.0,
    show_default=True,
    help="Piped: how long to go on receiving after the end of stdin.",
)
@click.option("--reconnect", is_flag=True, help="Connect again whenever the connection is lost.")
@click.pass_obj
def connect_command(console: Console, target: Target, wait: float, reconnect: bool) -> int:
    """Send what is typed to the server at URL, and show what comes.

    On a terminal, /help tells what else can be done. Piped, each line of stdin is sent as a text message, each message that
    comes is written, and the connection is closed after the end of stdin.
    """
    return run(console, functools.partial(_connect, console, target, wait, reconnect))


async def _connect(console: Console, target: Target, wait: float, reconnect: bool) -> int:
    if reconnect:
        # A program that waits for its server should say so.
        show_log(console, logging.INFO)
    async with target.open_socket(reconnect=reconnect) as ws:
        if console.is_interactive:
            return await talk(console, ws, target)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write_messages, console, ws, nursery.cancel_scope)
            await read_lines(console.stdin, ws.send_message)
            await trio.sleep(wait)
            nursery.cancel_scope.cancel()
    return OK


async def _write_messages(console: Console, ws: Socket, scope: trio.CancelScope) -> None:
    form = make_formatter(is_terminal=console.stdout.is_terminal)
    while messages := await receive_all_there(ws, math.inf):
        await console.stdout.send(b"".join(map(form, messages)))
    # The server has closed.
    scope.cancel()
