"""`_cli._talk` and `_cli._prompt`, with keys and a screen that are in this process."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from cli_support import STEP_TIMEOUT, untouched_log
from prompt_toolkit.application import create_app_session
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput
from support import CLOSE, PING, RawPeer, connected_pair, echo, raw_server, serving, url_of

from trio_websocket import ConnectionClosed, WebSocketRequest
from trio_websocket._cli._connect import _connect
from trio_websocket._cli._options import Target
from trio_websocket._cli._output import Console
from trio_websocket._cli._prompt import Prompt, open_history
from trio_websocket._cli._talk import _Talk

# Keys come through a thread, and Escape waits for what may follow it.
pytestmark = pytest.mark.slow


class Screen:
    """A terminal's other side: what a command shows, and keys to press.

    Attributes:
        codes: The exit code of the command, once it has ended.
    """

    def __init__(self, fd: int, keys: PipeInput) -> None:
        self._fd = fd
        self._keys = keys
        self._unread = ""
        self.codes: list[int] = []
        self.has_ended = trio.Event()

    def type(self, text: str) -> None:
        """Press keys."""
        self._keys.send_text(text)

    async def expect(self, text: str) -> str:
        """Wait until `text` is shown, and give what came before."""
        with trio.fail_after(STEP_TIMEOUT):
            while text not in self._unread:
                data = await trio.to_thread.run_sync(os.read, self._fd, 65536, abandon_on_cancel=True)
                self._unread += data.decode().replace("\r\n", "\n")
        before, _, self._unread = self._unread.partition(text)
        return before

    async def code(self) -> int:
        """Wait for the exit code."""
        with trio.fail_after(STEP_TIMEOUT):
            await self.has_ended.wait()
        return self.codes[0]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")


@asynccontextmanager
async def talking(url: str, *, timeout: float = 10, reconnect: bool = False) -> AsyncIterator[Screen]:
    """`connect` in this Trio."""
    ours, theirs = os.openpty()
    target = Target(url, timeout=timeout)
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()), untouched_log():
        screen = Screen(ours, keys)

        async def connect() -> None:
            screen.codes.append(await _connect(Console(theirs, theirs, theirs), target, 0, reconnect))
            screen.has_ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            await screen.expect("/help tells what there is\n")
            yield screen
            nursery.cancel_scope.cancel()
    os.close(ours)
    os.close(theirs)


async def test_text_is_sent_and_what_comes_is_shown() -> None:
    async with serving() as server, talking(url_of(server)) as user:
        user.type("hello\r")
        assert await user.expect("< hello\n") == ""
        user.type("//slash\r")
        await user.expect("< /slash\n")
        # An empty line is nothing.
        user.type("\r\x04")
        assert await user.expect("* closed\n") == ""
        assert await user.code() == 0


async def test_binary_is_sent_and_shown_in_hexadecimal() -> None:
    async with serving() as server, talking(url_of(server)) as user:
        user.type("/binary 00 ff41\r")
        await user.expect("< 3 bytes\n< 00000000  00 ff 41 ")
        user.type("/binary 0g\r")
        await user.expect("* non-hexadecimal number")


async def test_each_line_of_a_message_is_marked() -> None:
    async with serving() as server, talking(url_of(server)) as user:
        user.type("\x1b[200~one\n* closed\x1b[201~\r")
        await user.expect("< one\n< * closed\n")


@pytest.mark.parametrize("enter", ["\r", "\n"])
async def test_alt_enter_begins_a_new_line(enter: str) -> None:
    async with serving() as server, talking(url_of(server)) as user:
        user.type(f"one\x1b{enter}two\r")
        await user.expect("< one\n< two\n")


async def test_ping_tells_how_long_the_pong_took() -> None:
    async with serving() as server, talking(url_of(server)) as user:
        user.type("/ping\r")
        await user.expect("* pong after ")
        user.type("/ping hello\r")
        await user.expect("* pong after ")
        user.type(f"/ping {'x' * 126}\r")
        await user.expect("126")


@pytest.mark.slow
async def test_ping_without_a_pong_is_told() -> None:
    async def be_silent(peer: RawPeer) -> None:
        while (frame := await peer.read_frame()).opcode != CLOSE:
            assert frame.opcode == PING
        await peer.send_frame(CLOSE, frame.payload)

    async with raw_server(be_silent) as port, talking(f"ws://127.0.0.1:{port}", timeout=1) as user:
        user.type("/ping\r")
        await user.expect("* no pong within 1 s\n")


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [("/close", 1000, None), ("/close 1001", 1001, None), ("/close 4000 so long", 4000, "so long")],
)
async def test_close_says_what_it_is_told(command: str, code: int, reason: str | None) -> None:
    closes = []

    async def note(request: WebSocketRequest) -> None:
        closes.append(await (await request.accept()).wait_closed())

    async with serving(note) as server, talking(url_of(server)) as user:
        user.type(f"{command}\r")
        await user.expect("* closed\n")
        assert await user.code() == 0
    assert [(each.code, each.reason) for each in closes] == [(code, reason)]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("/close 999", "a close code is 1000, 1001, or from 3000 to 4999"),
        ("/close x", "a close code is 1000, 1001, or from 3000 to 4999"),
        ("/nonsense \x0b", "there is no /nonsense; /help tells what there is, //... sends a slash"),
        ("/pingpong", "there is no /pingpong; /help tells what there is, //... sends a slash"),
    ],
)
async def test_command_that_can_not_be_right_is_told(command: str, answer: str) -> None:
    async with serving() as server, talking(url_of(server)) as user:
        user.type(f"{command}\r")
        await user.expect(f"* {answer}\n")
        user.type("still there\r")
        await user.expect("< still there\n")


async def test_help_names_the_commands() -> None:
    async with serving() as server, talking(url_of(server)) as user:
        user.type("/help\r")
        shown = await user.expect("//TEXT")
    assert all(f"  {name} " in shown for name in ("/ping", "/binary", "/close", "/help"))


async def test_ctrl_c_is_exit_code_130() -> None:
    async with serving() as server, talking(url_of(server)) as user:
        user.type("\x03")
        assert await user.code() == 130


async def test_close_of_the_server_ends_it() -> None:
    async def greet(request: WebSocketRequest) -> None:
        ws = await request.accept()
        await ws.send_message(await ws.get_message())

    async with serving(greet) as server, talking(url_of(server)) as user:
        user.type("bye\r")
        await user.expect("< bye\n* closed by the server\n")
        assert await user.code() == 0


async def test_close_with_an_error_comes_out() -> None:
    async def fail(request: WebSocketRequest) -> None:
        ws = await request.accept()
        await ws.get_message()
        await ws.aclose(4000)

    with pytest.RaisesGroup(ConnectionClosed, flatten_subgroups=True):
        async with serving(fail) as server, talking(url_of(server)) as user:
            user.type("x\r")
            await user.code()


async def test_message_for_a_connection_that_is_closed_is_lost_without_a_word() -> None:
    """It is for whoever receives to tell."""
    async with connected_pair() as pair:
        await pair.client.aclose()
        await _Talk(Console(), pair.client, Target("ws://x"))._obey_one("too late")


async def test_outages_are_told_above_the_prompt() -> None:
    handlers: list[Callable[[WebSocketRequest], Awaitable[None]]] = []

    async def go_away(request: WebSocketRequest) -> None:
        ws = await request.accept()
        await ws.get_message()
        await ws.aclose(1001)

    handlers += [go_away, echo]

    async def serve(request: WebSocketRequest) -> None:
        await handlers.pop(0)(request)

    async with serving(serve) as server, talking(url_of(server), reconnect=True) as user:
        user.type("one\r")
        await user.expect("trying again in")
        user.type("two\r")
        await user.expect("< two\n")
        user.type("/ping\r")
        await user.expect("* pong after")
        user.type("\x04")
        await user.expect("* closed\n")
        assert await user.code() == 0


# --------------------------------------------------------------------------------------------------------- _prompt


def test_history_is_a_private_file_in_the_state_directory(tmp_path: Path) -> None:
    assert isinstance(open_history(), FileHistory)
    folder = tmp_path / "trio-websocket"
    assert (folder.stat().st_mode & 0o777, (folder / "history").stat().st_mode & 0o777) == (0o700, 0o600)


def test_history_is_by_default_in_the_home_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    open_history()
    assert (tmp_path / ".local" / "state" / "trio-websocket" / "history").exists()


def test_history_is_in_memory_where_no_file_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", os.devnull)
    assert isinstance(open_history(), InMemoryHistory)


def test_history_is_in_memory_for_who_has_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Path:
        raise RuntimeError("could not determine home directory")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(Path, "home", fail)
    assert isinstance(open_history(), InMemoryHistory)


async def test_text_is_written_at_once_while_there_is_no_prompt(capfd: pytest.CaptureFixture[str]) -> None:
    prompt = Prompt(Console().stdout, print, print)
    await prompt.show("one\n")
    prompt.show_soon("two\n")
    assert capfd.readouterr().out == "one\ntwo\n"


async def test_prompt_that_is_cancelled_before_it_begins_ends() -> None:
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        prompt = Prompt(Console().stdout, print, print)
        with trio.CancelScope() as scope:
            scope.cancel()
            await prompt.run()
        # The same a moment later: the thread is about to begin.
        with trio.fail_after(STEP_TIMEOUT):
            await trio.to_thread.run_sync(prompt._run_loop, lambda: None)
    assert scope.cancelled_caught
