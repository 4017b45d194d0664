"""A line editor: history, pasting several lines, and messages that appear above what is being typed.

It is prompt_toolkit's, which runs on asyncio. So it gets a thread with an event loop of its own, in which nothing happens but
editing; the connection stays with Trio. What was typed comes over by `run_sync_soon`, what is to be shown goes over by
`call_soon_threadsafe`, so neither side ever waits in the other's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.renderer import CPR_Support

from trio_websocket._cli._output import Stream

__all__ = ["Prompt", "open_history"]

_KEYS = KeyBindings()


@_KEYS.add("escape", "enter")
@_KEYS.add("escape", "c-j")  # what a terminal makes of Enter that comes between two prompts
def _insert_newline(event: KeyPressEvent) -> None:
    event.current_buffer.newline()


def open_history() -> History:
    """The history in the XDG state directory, or one in memory where no file can be written."""
    try:
        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        path = Path(state, "trio-websocket", "history")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Messages may be secret: nobody else is to read them.
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    except (OSError, RuntimeError):  # or there is no home directory
        return InMemoryHistory()
    return FileHistory(path)


class Prompt:
    """A prompt in the terminal of stdin and stdout.

    Args:
        stdout: Where to show texts.
        take: Called in Trio's thread with each text that was entered, and with None at Ctrl-D.
        interrupt: Called in Trio's thread at Ctrl-C; a terminal that is being edited in sends no signal.
    """

    def __init__(
        self, stdout: Stream, take: Callable[[str | None], object], interrupt: Callable[[], object]
    ) -> None:
        self._stdout = stdout
        self._take = take
        self._interrupt = interrupt
        self._token = trio.lowlevel.current_trio_token()
        self._is_stopped = False
        # The thread's.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._editing: asyncio.Task[None] | None = None
        self._session: PromptSession[str] | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Prompt until cancelled; the terminal is then as it was before."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stop_at_cancel)
                await trio.to_thread.run_sync(self._run_loop, task_status.started)
        finally:
            self._loop = None

    async def show(self, text: str) -> None:
        """Write text above the prompt, and wait until it stands there. Trio's thread may call it."""
        is_shown = trio.Event()
        self.show_soon(text, is_shown.set)
        await is_shown.wait()

    def show_soon(self, text: str, done: Callable[[], object] = lambda: None) -> None:
        """Write text above the prompt, later; then `done` is called in Trio's thread."""
        if self._loop is None:
            self._stdout.write(text)
            done()
        else:
            self._loop.call_soon_threadsafe(self._show, text, done)

    async def _stop_at_cancel(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            # The thread sets what we look at before it looks at what we set.
            self._is_stopped = True
            if self._loop is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(self._stop)

    # ----------------------------------------------------------------------------------------- in the other thread

    def _run_loop(self, started: Callable[[], object]) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._edit(started))

    async def _edit(self, started: Callable[[], object]) -> None:
        session = self._session = PromptSession("> ", history=open_history(), key_bindings=_KEYS)
        # What it would ask the terminal for, where its cursor is, changes whenever a message is shown.
        session.app.renderer.cpr_support = CPR_Support.NOT_SUPPORTED
        self._editing = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._token.run_sync_soon(started)
        if self._is_stopped:
            return
        # Between two prompts as well: a Ctrl-D that comes then would be lost.
        with session.input.raw_mode():
            await self._take_texts(session)
        # There may be more to show.
        await asyncio.Event().wait()

    async def _take_texts(self, session: PromptSession[str]) -> None:
        while True:
            try:
                text = await session.prompt_async(handle_sigint=False)
            except EOFError:
                self._token.run_sync_soon(self._take, None)
                return
            except KeyboardInterrupt:
                self._token.run_sync_soon(self._interrupt)
                return
            if text:
                self._token.run_sync_soon(self._take, text)

    def _stop(self) -> None:
        assert self._session is not None
        assert self._editing is not None
        # An empty prompt is of no use to anybody.
        self._session.app.erase_when_done = not self._session.default_buffer.text
        self._editing.cancel()

    def _show(self, text: str, done: Callable[[], object]) -> None:
        assert self._session is not None
        app = self._session.app
        if app.is_running:
            app.renderer.erase()
        try:
            self._stdout.write(text)
        finally:
            self._token.run_sync_soon(done)
        if app.is_running:
            app.invalidate()
