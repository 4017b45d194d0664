"""`trio-websocket connect`, by pipes and in a terminal; test_talk.py has what is said there, in this process."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio
from cli_support import Ended, program, read_all, read_until, run_cli, terminal
from prompt_toolkit.history import FileHistory
from support import serving, url_of

from trio_websocket import WebSocketRequest

# ---------------------------------------------------------------------------------------------------------- pipes


async def test_lines_are_sent_and_replies_are_written() -> None:
    async with serving() as server:
        ended = await run_cli("connect", url_of(server), "-w", "0.3", given="one\nzwei ☃\n/ping".encode())
    assert ended == Ended(0, "one\nzwei ☃\n/ping\n".encode(), "")


async def test_end_of_input_closes_the_connection_properly() -> None:
    closes = []

    async def note(request: WebSocketRequest) -> None:
        closes.append((await (await request.accept()).wait_closed()).code)

    async with serving(note) as server:
        ended = await run_cli("connect", url_of(server), "--wait", "0")
    assert (ended.code, closes) == (0, [1000])


async def test_close_of_the_server_ends_it_before_the_input_does() -> None:
    async def greet(request: WebSocketRequest) -> None:
        await (await request.accept()).send_message("bye")

    async with serving(greet) as server:
        ended = await run_cli("connect", url_of(server), "--wait", "1000")
    assert ended == Ended(0, b"bye\n", "")


async def test_input_that_is_no_text_is_told() -> None:
    async with serving() as server:
        ended = await run_cli("connect", url_of(server), given=b"fine\n\xff\n")
    assert ended.code == 1
    assert ended.errors == "trio-websocket: line 2 of stdin is no UTF-8, from byte 0 on; text has to be\n"


@pytest.mark.slow
async def test_reconnect_goes_on_with_the_next_connection() -> None:
    codes = [1001, 1000]

    async def greet(request: WebSocketRequest) -> None:
        ws = await request.accept()
        await ws.send_message(f"bye {codes[0]}")
        await ws.aclose(codes.pop(0))

    async with serving(greet) as server:
        ended = await run_cli("connect", url_of(server), "--reconnect", "--wait", "1000")
    assert (ended.code, ended.lines) == (0, ["bye 1001", "bye 1000"])
    assert "trying again in" in ended.errors


@pytest.mark.slow
async def test_ctrl_c_ends_a_pipe_without_a_word() -> None:
    async with serving() as server, program("connect", url_of(server)) as process:
        assert process.stdin is not None
        await process.stdin.send_all(b"one\n")
        assert await read_until(process.stdout, "\n") == "one\n"
        process.send_signal(signal.SIGINT)
        assert await read_all(process.stderr) == ""
        assert await process.wait() == 130


# ------------------------------------------------------------------------------------------------------- terminal

pasted = "\x1b[200~{}\x1b[201~".format


@pytest.fixture
def state(tmp_path: Path) -> dict[str, str]:
    """An environment whose history is empty."""
    return {"XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.mark.slow
async def test_conversation_in_a_terminal(state: dict[str, str]) -> None:
    history = Path(state["XDG_STATE_HOME"], "trio-websocket", "history")
    history.parent.mkdir(parents=True)
    FileHistory(history).append_string("said before")

    async def answer_in_a_while(request: WebSocketRequest) -> None:
        ws = await request.accept()
        async for message in ws:
            await ws.send_message(message)
            await release.wait()
            await ws.send_message("news")

    release = trio.Event()
    async with serving(answer_in_a_while) as server, terminal("connect", url_of(server), **state) as user:
        await user.expect("/help tells what there is")
        await user.expect(">")
        # Arrow up brings back what an earlier session said.
        await user.type("\x1b[A\r")
        await user.expect("< said before\r\n")
        # A message is shown above what is being typed.
        await user.type("half")
        await user.expect("half")
        release.set()
        await user.expect("< news\r\n")
        await user.expect("> half")
        await user.type(" a line\r")
        await user.expect("< half a line\r\n")
        await user.expect("< news\r\n")
        # Pasted lines are one message, and so are those that are typed with Alt-Enter.
        await user.type(pasted("one\ntwo\nthree") + "\r")
        await user.expect("< one\r\n< two\r\n< three\r\n")
        await user.expect("< news\r\n")
        await user.type("four\x1b\rfive\r")
        await user.expect("< four\r\n< five\r\n")
        await user.expect("< news\r\n")
        await user.type("\x04")
        await user.expect("* closed\r\n")
        assert await user.exit_code() == 0
    # Nothing is asked of the terminal: the answer would come among the keys.
    assert "\x1b[6n" not in user.seen
    # Bracketed paste is off again, as at first.
    assert user.seen.rindex("\x1b[?2004l") > user.seen.rfind("\x1b[?2004h")
    assert "+half a line" in history.read_text("utf-8")


@pytest.mark.slow
async def test_what_a_hostile_server_sends_can_not_touch_the_terminal(state: dict[str, str]) -> None:
    async def attack(request: WebSocketRequest) -> None:
        ws = await request.accept()
        await ws.send_message("\x1b[2J\x1b]0;owned\x07\n* closed\r\u202e")
        await ws.send_message(b"\x1b[2J")
        await ws.aclose(4000, "\x1b[2J\n")

    async with serving(attack) as server, terminal("connect", url_of(server), **state) as user:
        await user.expect("< \\x1b[2J\\x1b]0;owned\\x07\r\n")
        await user.expect("< * closed\\r\\u202e\r\n")
        await user.expect("< 4 bytes\r\n")
        await user.expect("|.[2J|\r\n")
        await user.expect("closed with 4000 PRIVATE_RESERVED: \\x1b[2J\\n\r\n")
        assert await user.exit_code() == 1
    assert "\x1b[2J" not in user.seen
    # It has the terminal back, as at first.
    assert user.seen.rindex("\x1b[?2004l") > user.seen.rfind("\x1b[?2004h")


@pytest.mark.slow
async def test_ctrl_c_in_a_terminal_closes_the_connection(state: dict[str, str]) -> None:
    closes = []

    async def note(request: WebSocketRequest) -> None:
        closes.append((await (await request.accept()).wait_closed()).code)

    async with serving(note) as server, terminal("connect", url_of(server), **state) as user:
        await user.expect("/help tells what there is")
        await user.expect(">")
        await user.type("half a line\x03")
        assert await user.exit_code() == 130
        assert "Traceback" not in user.seen
    assert closes == [1000]


@pytest.mark.slow
async def test_ctrl_c_while_there_is_no_connection_yet_ends_it() -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    async with (
        listener,
        terminal("connect", f"ws://127.0.0.1:{port}") as user,
        await listener.accept(),
    ):
        await user.type("\x03")
        assert await user.exit_code() == 130
    assert "Traceback" not in user.seen
