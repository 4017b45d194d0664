"""A connection on a terminal: what is typed is sent, or obeyed if it begins with a slash."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio

from trio_websocket import ConnectionClosed
from trio_websocket._cli._format import Message, hex_dump
from trio_websocket._cli._options import Target
from trio_websocket._cli._output import Console, escape, escape_line
from trio_websocket._cli._prompt import Prompt
from trio_websocket._cli._receive import Socket, receive_all_there
from trio_websocket._cli._run import INTERRUPTED, OK

__all__ = ["talk"]

_SHOWN_AT_ONCE = 100

_HELP = """\
  TEXT                    send TEXT; Alt-Enter begins a new line, pasted lines are one message
  /ping [TEXT]            ping the server, and show how long the pong took
  /binary HEX             send a binary message, such as /binary 00 ff
  /close [CODE [REASON]]  close the connection; so does Ctrl-D
  /help                   show this
  //TEXT                  send /TEXT
"""


async def talk(console: Console, ws: Socket, target: Target) -> int:
    """Go on until the user or the server has enough; return the exit code."""
    return await _Talk(console, ws, target).run()


class _Talk:
    def __init__(self, console: Console, ws: Socket, target: Target) -> None:
        self._console = console
        self._ws = ws
        self._target = target
        self._code = OK
        self._is_closing = False
        self._scope = trio.CancelScope()
        self._entered, self._lines = trio.open_memory_channel[str | None](math.inf)
        self._prompt = Prompt(console.stdout, self._entered.send_nowait, self._interrupt)
        self._commands: dict[str, Callable[[str], Awaitable[None]]] = {
            "/ping": self._ping,
            "/binary": self._send_binary,
            "/close": self._close,
            "/help": self._help,
        }

    async def run(self) -> int:
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(self._prompt.run)
                    self._console.notice_written = self._note_soon
                    await self._note(f"connected to {self._target.url}; /help tells what there is")
                    nursery.start_soon(self._show_messages)
                    nursery.start_soon(self._obey, nursery)
        finally:
            # What is left to say is said when the prompt has gone.
            self._console.notice_written = self._console.write_notice
        return self._code

    # ----------------------------------------------------------------------------------------------- the server's

    async def _show_messages(self) -> None:
        try:
            while messages := await receive_all_there(self._ws, _SHOWN_AT_ONCE):
                await self._prompt.show("".join(map(self._shown, messages)))
        except ConnectionClosed:
            if not self._is_closing:
                raise
        if not self._is_closing:
            await self._note("closed by the server")
            self._scope.cancel()

    def _shown(self, message: Message) -> str:
        if isinstance(message, str):
            lines = escape(message).split("\n")
        else:
            lines = [f"{len(message):,} bytes", *hex_dump(message)]
        # In front of each line, so that no message can pass for anything else.
        mark = self._console.stdout.paint("<", "cyan")
        return "".join(f"{mark} {line}\n" for line in lines)

    async def _note(self, text: str) -> None:
        await self._prompt.show(self._noted(text))

    def _note_soon(self, text: str) -> None:
        self._prompt.show_soon(self._noted(text))

    def _noted(self, text: str) -> str:
        return self._console.stdout.paint("*", "yellow") + f" {escape_line(text)}\n"

    # ------------------------------------------------------------------------------------------------- the user's

    def _interrupt(self) -> None:
        self._code = INTERRUPTED
        self._scope.cancel()

    async def _obey(self, nursery: trio.Nursery) -> None:
        async for text in self._lines:
            if text is None:
                await self._close("")
            elif text.startswith("/ping"):
                # It is no reason to keep the user waiting.
                nursery.start_soon(self._obey_one, text)
            else:
                await self._obey_one(text)

    async def _obey_one(self, text: str) -> None:
        name, _, rest = text.partition(" ")
        try:
            if not text.startswith("/"):
                await self._ws.send_message(text)
            elif text.startswith("//"):
                await self._ws.send_message(text[1:])
            elif name in self._commands:
                await self._commands[name](rest.strip())
            else:
                raise ValueError(f"there is no {name}; /help tells what there is, //... sends a slash")
        except ValueError as error:
            await self._note(str(error))
        except ConnectionClosed:
            pass  # whoever receives tells

    async def _ping(self, payload: str) -> None:
        with trio.move_on_after(self._target.timeout) as scope:
            seconds = await self._ws.ping(payload.encode() or None)
            await self._note(f"pong after {seconds * 1e3:.3f} ms")
        if scope.cancelled_caught:
            await self._note(f"no pong within {self._target.timeout:g} s")

    async def _send_binary(self, digits: str) -> None:
        await self._ws.send_message(bytes.fromhex(digits))

    async def _close(self, arguments: str) -> None:
        word, _, reason = arguments.partition(" ")
        code = int(word) if word.isdecimal() else 0 if word else 1000
        # RFC 6455 §7.4: these are for programs to send.
        if code not in {1000, 1001} and not 3000 <= code <= 4999:
            raise ValueError("a close code is 1000, 1001, or from 3000 to 4999")
        self._is_closing = True
        await self._ws.aclose(code, reason or None)
        await self._note("closed")
        self._scope.cancel()

    async def _help(self, _: str) -> None:
        await self._prompt.show(_HELP)
