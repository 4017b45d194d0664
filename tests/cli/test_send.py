"""`trio-websocket send`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cli_support import Ended, run_cli, run_here, terminal
from support import serving, url_of

from trio_websocket import WebSocketRequest


async def send(*arguments: str, given: bytes = b"") -> tuple[Ended, list[str | bytes]]:
    """How it ended, and what the server got."""
    messages: list[str | bytes] = []

    async def note(request: WebSocketRequest) -> None:
        messages.extend([message async for message in await request.accept()])

    async with serving(note, max_message_size=2**24) as server:
        ended = await run_cli("send", url_of(server), *arguments, given=given)
    return ended, messages


async def test_each_argument_is_a_message() -> None:
    assert await send("one", "zwei ☃", "") == (Ended(0, b"", ""), ["one", "zwei ☃", ""])


async def test_binary_sends_bytes() -> None:
    assert (await send("--binary", "one", os.fsdecode(b"\xff")))[1] == [b"one", b"\xff"]


async def test_argument_that_is_no_text_is_refused() -> None:
    ended, messages = await send(os.fsdecode(b"a\xff"))
    assert (ended.code, messages) == (1, [])
    assert ended.errors == "trio-websocket: MESSAGE is no UTF-8, from byte 1 on; text has to be\n"


@pytest.mark.parametrize("arguments", [[], ["-"]])
async def test_stdin_is_one_message_without_its_last_newline(arguments: list[str]) -> None:
    assert await send(*arguments, given=b"one\ntwo\r\n") == (Ended(0, b"", ""), ["one\ntwo"])


async def test_stdin_is_sent_as_it_is_if_binary() -> None:
    assert (await send("-b", given=b"\x00\xff\n"))[1] == [b"\x00\xff\n"]


async def test_stdin_that_is_no_text_is_refused() -> None:
    ended, messages = await send(given=b"\xff")
    assert (ended.code, messages) == (1, [])


@pytest.mark.parametrize("size", [0, 5, 2**16, 2**18 + 1])
async def test_file_is_one_message(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(size))
    assert (await send("-b", "-f", str(path), "first"))[1] == [b"first", path.read_bytes()]


async def test_file_of_text_may_be_cut_anywhere(tmp_path: Path) -> None:
    path = tmp_path / "file"
    text = "x" + "☃" * 50_000
    path.write_text(text, "utf-8")
    assert (await send("--file", str(path)))[1] == [text]


async def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 2**17 + b"\xff")
    ended, messages = await send("--file", str(path))
    assert (ended.code, messages) == (1, [])
    assert ended.errors.endswith("file is no UTF-8; text has to be, --binary sends what it is\n")


async def test_replies_are_waited_for_and_written() -> None:
    async with serving() as server:
        ended = await run_cli("send", url_of(server), "-w", "2", "one", "two", "three")
    assert (ended.code, ended.lines) == (0, ["one", "two"])


@pytest.mark.slow
async def test_replies_that_do_not_come_in_time_are_missed() -> None:
    async def be_silent(request: WebSocketRequest) -> None:
        await (await request.accept()).wait_closed()

    async with serving(be_silent) as server:
        ended = await run_cli("send", url_of(server), "-w", "1", "--timeout", "1", "one")
    assert (ended.code, ended.errors) == (1, "trio-websocket: 0 of 1 replies had come within 1 s\n")


async def test_replies_that_do_not_come_before_the_close_are_missed() -> None:
    async def reply_once(request: WebSocketRequest) -> None:
        ws = await request.accept()
        await ws.send_message(await ws.get_message())

    async with serving(reply_once) as server:
        ended = await run_cli("send", url_of(server), "-w", "2", "one")
    assert (ended.code, ended.output) == (1, b"one\n")
    assert ended.errors == "trio-websocket: 1 of 2 replies had come when the server closed\n"


async def test_server_that_sends_more_than_it_is_asked_for_holds_nothing_up() -> None:
    """Many messages each way, and nobody waits for the other."""
    messages = ["x" * 100_000] * 100
    async with serving() as server:
        ended = await run_cli("send", url_of(server), *messages)
    assert ended == Ended(0, b"", "")


def test_nothing_to_send_is_a_mistake_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    ended = run_here("send", "ws://127.0.0.1:9/")
    assert (ended.code, ended.errors) == (2, "there is nothing to send: give a MESSAGE, '-' or --file")


@pytest.mark.slow
async def test_terminal_shows_how_far_a_file_is(tmp_path: Path) -> None:
    path = tmp_path / "big\x1b[31m"
    path.write_bytes(bytes(2**20))
    async with serving() as server, terminal("send", url_of(server), "-b", "-f", str(path)) as user:
        await user.expect("big\\x1b[31m  [")
        await user.expect("100%")
        assert await user.exit_code() == 0
