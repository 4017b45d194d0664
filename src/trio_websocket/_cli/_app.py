"""The commands together."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import NoReturn

import click

import trio_websocket
from trio_websocket._cli._bench import bench_command
from trio_websocket._cli._connect import connect_command
from trio_websocket._cli._listen import listen_command
from trio_websocket._cli._output import Console
from trio_websocket._cli._ping import ping_command
from trio_websocket._cli._run import show_log
from trio_websocket._cli._send import send_command
from trio_websocket._cli._serve import serve_command

__all__ = ["app", "main"]

_NAME = "trio-websocket"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(trio_websocket.__version__, message="%(prog)s %(version)s")
@click.option(
    "-v", "--verbose", is_flag=True, help="Tell what happens: connections, closes, tries to reconnect."
)
@click.pass_obj
def app(console: Console, verbose: bool) -> None:
    """Talk to WebSocket servers, and be one."""
    show_log(console, logging.INFO if verbose else logging.WARNING)


for _command in (connect_command, listen_command, send_command, ping_command, serve_command, bench_command):
    app.add_command(_command)


@app.result_callback()
@click.pass_context
def _exit(context: click.Context, /, code: int, **_: object) -> NoReturn:
    context.exit(code)


def _fill_gaps() -> None:
    """Let descriptors that are closed lead nowhere: else a socket gets such a number, and what we write."""
    while (fd := os.open(os.devnull, os.O_RDWR)) < 3:
        pass  # it takes the lowest number that is free
    os.close(fd)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line, and exit."""
    _fill_gaps()
    app(arguments, prog_name=_NAME, obj=Console())
    raise AssertionError("click returned")
