"""`trio-websocket listen`."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Awaitable, Callable

import pytest
import trio
from cli_support import Ended, program, read_all, read_until, run_cli
from support import raw_server, serving, url_of

from trio_websocket import WebSocketRequest

Handler = Callable[[WebSocketRequest], Awaitable[None]]


def sending(
    *messages: str | bytes, code: int = 1000, reason: str | None = None, stays: bool = False
) -> Handler:
    """A handler that sends these, and closes, or stays."""

    async def send(request: WebSocketRequest) -> None:
        ws = await request.accept()
        for message in messages:
            await ws.send_message(message)
        if stays:
            await ws.wait_closed()
        await ws.aclose(code, reason)

    return send


async def listen(handler: Handler, *options: str, stdout: int | None = None) -> Ended:
    async with serving(handler) as server:
        return await run_cli("listen", url_of(server), *options, stdout=stdout)


async def on_terminal(handler: Handler, *options: str) -> str:
    """What a terminal gets to see."""
    ours, theirs = os.openpty()
    try:
        ended = await listen(handler, *options, stdout=theirs)
        assert ended.code == 0, ended
        return os.read(ours, 65536).decode().replace("\r\n", "\n")
    finally:
        os.close(ours)
        os.close(theirs)


async def test_messages_are_written_as_they_are() -> None:
    assert await listen(sending("one", "\x1b[31mtwo\n☃", b"\x00\xff")) == Ended(
        0, "one\n\x1b[31mtwo\n☃\n".encode() + b"\x00\xff", ""
    )


async def test_terminal_gets_no_escape_sequences() -> None:
    seen = await on_terminal(sending("\x1b]0;owned\x07\r☃\x9b", b"\x1b[2J"))
    assert seen == (
        "\\x1b]0;owned\\x07\\r☃\\x9b\n00000000  1b 5b 32 4a                                       |.[2J|\n"
    )


async def test_terminal_gets_no_escape_sequences_in_json() -> None:
    seen = await on_terminal(sending("\x1b\x7f\x9b"), "--json")
    assert seen.count("\n") == 1
    assert seen[:-1].isprintable()
    assert json.loads(seen)["data"] == "\x1b\x7f\x9b"


async def test_json_lines_can_be_told_apart() -> None:
    ended = await listen(sending("a\nb", b"\x00"), "--json")
    events = [json.loads(line) for line in ended.lines]
    assert [(event["type"], event["data"]) for event in events] == [("text", "a\nb"), ("binary", "AA==")]


async def test_pretty_indents_json() -> None:
    ended = await listen(sending('{"a":1}', "text"), "--pretty")
    assert ended.lines == ["{", '  "a": 1', "}", "text"]


async def test_count_ends_after_so_many() -> None:
    ended = await listen(sending("1", "2", "3", "4", stays=True), "-n", "3")
    assert (ended.code, ended.lines) == (0, ["1", "2", "3"])


async def test_time_ends_after_so_long() -> None:
    assert (await listen(sending(stays=True), "-t", "0.05")).code == 0


async def test_close_with_an_error_is_told_in_one_safe_line() -> None:
    ended = await listen(sending("news", code=4001, reason="go\x1b[2J\naway"))
    assert ended == Ended(
        1,
        b"news\n",
        "trio-websocket: the connection was closed with 4001 PRIVATE_RESERVED: go\\x1b[2J\\naway\n",
    )


async def test_lost_connection_is_told() -> None:
    async def hang_up(peer: object) -> None:
        pass

    async with raw_server(hang_up) as port:
        ended = await run_cli("listen", f"ws://127.0.0.1:{port}")
    assert ended.code == 1
    assert ended.errors.startswith("trio-websocket: the connection was lost: it ended without a close frame")
    assert ended.errors.count("\n") == 1


async def test_no_server_is_told() -> None:
    async with serving() as server:
        url = url_of(server)
    ended = await run_cli("listen", url)
    assert ended.code == 1
    assert ended.errors.startswith("trio-websocket: cannot connect to 127.0.0.1 port ")
    assert ended.errors.count("\n") == 1


async def test_reader_that_has_gone_ends_it_without_a_word() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    ended = await listen(sending("one", stays=True), stdout=theirs)
    os.close(theirs)
    assert (ended.code, ended.errors) == (141, "")


@pytest.mark.slow
async def test_reconnect_goes_on_with_the_next_connection() -> None:
    replies = [("one", 1001), ("two", 1000)]

    async def send(request: WebSocketRequest) -> None:
        ws = await request.accept()
        message, code = replies.pop(0)
        await ws.send_message(message)
        await ws.aclose(code)

    ended = await listen(send, "--reconnect")
    assert (ended.code, ended.lines) == (0, ["one", "two"])
    assert "trying again in" in ended.errors


async def test_verbose_tells_what_happens() -> None:
    async with serving(sending("x")) as server:
        ended = await run_cli("-v", "listen", url_of(server))
    assert ": open, '/', " in ended.errors


# ---------------------------------------------------------------------------------------------------- as a program


@pytest.mark.slow
async def test_ctrl_c_closes_the_connection_and_ends_it_without_a_word() -> None:
    closes = []

    async def note(request: WebSocketRequest) -> None:
        ws = await request.accept()
        await ws.send_message("there")
        closes.append((await ws.wait_closed()).code)

    async with serving(note) as server, program("listen", url_of(server)) as process:
        # Written and flushed while the connection is open.
        assert await read_until(process.stdout, "\n") == "there\n"
        process.send_signal(signal.SIGINT)
        assert await read_all(process.stderr) == ""
        assert await process.wait() == 130
    assert closes == [1000]


@pytest.mark.slow
async def test_head_ends_it_without_a_word() -> None:
    async def talk(request: WebSocketRequest) -> None:
        ws = await request.accept()
        while True:
            await ws.send_message("x" * 1000)

    ours, theirs = os.pipe()
    async with serving(talk) as server, program("listen", url_of(server), stdout=theirs) as process:
        os.close(theirs)
        head = await trio.run_process(["head", "-n", "2"], stdin=ours, capture_stdout=True)
        os.close(ours)
        assert head.stdout == (b"x" * 1000 + b"\n") * 2
        assert await read_all(process.stderr) == ""
        assert await process.wait() == 141
