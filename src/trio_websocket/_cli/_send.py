"""`trio-websocket send`: send messages, wait for replies if asked to."""

from __future__ import annotations

import codecs
import functools
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click
import trio

from trio_websocket import WebSocketConnection
from trio_websocket._cli._format import Message, make_formatter
from trio_websocket._cli._options import Target, takes_target
from trio_websocket._cli._output import Console, escape_line
from trio_websocket._cli._receive import receive
from trio_websocket._cli._run import OK, Failure, run
from trio_websocket._cli._stdin import decode_input, read_input

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

__all__ = ["send_command"]

# Bytes of a file to send at once.
_PART = 2**16


@click.command("send")
@takes_target
@click.argument("messages", metavar="[MESSAGE]...", nargs=-1)
@click.option(
    "-f",
    "--file",
    "files",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Send this file as one message, behind the arguments; repeatable.",
)
@click.option("-b", "--binary", is_flag=True, help="Send binary messages instead of text.")
@click.option(
    "-w",
    "--wait",
    metavar="N",
    type=click.IntRange(min=0),
    default=0,
    help="Wait for N replies, and write them.",
)
@click.pass_obj
def send_command(
    console: Console,
    target: Target,
    messages: tuple[str, ...],
    files: tuple[Path, ...],
    binary: bool,
    wait: int,
) -> int:
    """Send each MESSAGE to the server at URL, and close.

    A MESSAGE that is '-' stands for all of stdin, without its last newline if it is text. Without MESSAGE and FILE, it is
    stdin as well, if that is no terminal.
    """
    if not messages and not files:
        if not console.has_piped_input:
            raise click.UsageError("there is nothing to send: give a MESSAGE, '-' or --file")
        messages = ("-",)
    sender = _Sender(console, is_binary=binary, wanted=wait)
    return run(console, functools.partial(sender.run, target, messages, files))


class _Sender:
    def __init__(self, console: Console, *, is_binary: bool, wanted: int) -> None:
        self._console = console
        self._is_binary = is_binary
        self._wanted = wanted
        self._replies = 0
        self._is_answered = trio.Event()
        if not wanted:
            self._is_answered.set()

    async def run(self, target: Target, messages: tuple[str, ...], files: tuple[Path, ...]) -> int:
        async with target.open() as ws, trio.open_nursery() as nursery:
            nursery.start_soon(self._receive, ws)
            for message in messages:
                await ws.send_message(await self._message(message))
            for path in files:
                await self._send_file(ws, path)
            with trio.move_on_after(target.timeout) as scope:
                await self._is_answered.wait()
            nursery.cancel_scope.cancel()
        if self._replies < self._wanted:
            end = f"within {target.timeout:g} s" if scope.cancelled_caught else "when the server closed"
            raise Failure(f"{self._replies} of {self._wanted} replies had come {end}")
        return OK

    async def _receive(self, ws: WebSocketConnection) -> None:
        """Write the replies that are wanted, and take in all others: a server that can't send may not read either."""
        form = make_formatter(is_terminal=self._console.stdout.is_terminal)
        while (message := await receive(ws)) is not None:
            if self._replies < self._wanted:
                await self._console.stdout.send(form(message))
                self._replies += 1
                if self._replies == self._wanted:
                    self._is_answered.set()
        self._is_answered.set()

    async def _message(self, argument: str) -> Message:
        if argument != "-":
            # What is no UTF-8 on the command line stands in Python's text as surrogates.
            data = os.fsencode(argument)
        else:
            data = await read_input(self._console.stdin)
            if not self._is_binary:
                data = data.removesuffix(b"\n").removesuffix(b"\r")
        what = "stdin" if argument == "-" else "MESSAGE"
        return data if self._is_binary else decode_input(data, what)

    async def _send_file(self, ws: WebSocketConnection, path: Path) -> None:
        """Send a file as one message, in parts, so that neither its size nor a slow line is a problem."""
        with (
            open(path, "rb") as file,  # noqa: ASYNC230 - files that are slow to open are not what this is for
            click.progressbar(
                length=os.fstat(file.fileno()).st_size,
                label=escape_line(path.name),
                file=sys.stderr,
                hidden=not self._console.stderr.is_terminal,
            ) as bar,
        ):
            await ws.send_fragments(self._parts(file, bar))

    async def _parts(self, file: BinaryIO, bar: ProgressBar[int]) -> AsyncIterator[Message]:
        decode = codecs.getincrementaldecoder("utf-8")().decode
        is_last = False
        while not is_last:
            data = await trio.to_thread.run_sync(file.read, _PART)
            is_last = len(data) < _PART
            try:
                yield data if self._is_binary else decode(data, is_last)
            except UnicodeDecodeError as error:
                raise Failure(
                    f"{file.name} is no UTF-8; text has to be, --binary sends what it is"
                ) from error
            bar.update(len(data))
