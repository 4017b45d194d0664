"""`trio-websocket listen`: write what a server sends."""

from __future__ import annotations

import functools
import logging
import math

import click
import trio

from trio_websocket._cli._format import Formatter, make_formatter
from trio_websocket._cli._options import POSITIVE, Target, takes_target
from trio_websocket._cli._output import Console
from trio_websocket._cli._receive import receive_all_there
from trio_websocket._cli._run import OK, run, show_log

__all__ = ["listen_command"]


@click.command("listen")
@takes_target
@click.option(
    "--json", "is_json", is_flag=True, help="One JSON object a line: time, type, data (binary in base64)."
)
@click.option("--pretty", is_flag=True, help="Indent JSON.")
@click.option("-n", "--count", metavar="N", type=click.IntRange(min=1), help="End after so many messages.")
@click.option("-t", "--time", "seconds", metavar="SECONDS", type=POSITIVE, help="End after so many seconds.")
@click.option("--reconnect", is_flag=True, help="Connect again whenever the connection is lost.")
@click.pass_obj
def listen_command(
    console: Console,
    target: Target,
    is_json: bool,
    pretty: bool,
    count: int | None,
    seconds: float | None,
    reconnect: bool,
) -> int:
    """Write the messages that the server at URL sends, each as it comes.

    Piped, text is followed by a newline, and binary is written as it is. On a terminal, control characters are escaped, and
    binary is shown as a hex dump.
    """
    form = make_formatter(is_terminal=console.stdout.is_terminal, is_json=is_json, is_pretty=pretty)
    return run(
        console,
        functools.partial(_listen, console, target, form, count or math.inf, seconds or math.inf, reconnect),
    )


async def _listen(
    console: Console, target: Target, form: Formatter, count: float, seconds: float, reconnect: bool
) -> int:
    if reconnect:
        # A program that waits for its server should say so.
        show_log(console, logging.INFO)
    with trio.move_on_after(seconds):
        async with target.open_socket(reconnect=reconnect) as ws:
            while count and (messages := await receive_all_there(ws, count)):
                await console.stdout.send(b"".join(map(form, messages)))
                count -= len(messages)
    return OK
