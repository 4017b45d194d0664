"""`_cli._stdin`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from trio_websocket._cli._run import Failure
from trio_websocket._cli._stdin import read_input, read_lines


@contextmanager
def pipe() -> Iterator[tuple[int, trio.lowlevel.FdStream]]:
    """A descriptor to read, and what to write it by."""
    ours, theirs = os.pipe()
    try:
        yield ours, trio.lowlevel.FdStream(theirs)
    finally:
        os.close(ours)


async def lines_of(*parts: bytes) -> list[str]:
    """What `read_lines` makes of these parts, written one after another."""
    lines: list[str] = []

    async def take(line: str) -> None:
        lines.append(line)

    with pipe() as (fd, stream):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_lines, fd, take)
            async with stream:
                for part in parts:
                    await stream.send_all(part)
    return lines


async def test_lines_come_without_their_ends() -> None:
    assert await lines_of(b"one\ntwo\r\n\nthree\n") == ["one", "two", "", "three"]


async def test_last_line_needs_no_end() -> None:
    assert await lines_of(b"one\ntwo") == ["one", "two"]


async def test_line_may_be_larger_than_what_is_read_at_once() -> None:
    assert await lines_of(b"x" * 200_000, b"y\nz") == ["x" * 200_000 + "y", "z"]


async def test_line_that_is_no_text_is_named() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(Failure, match="line 2 of stdin is no UTF-8, from byte 1 on")):
        await lines_of(b"fine\na\xff\n")


async def test_last_line_that_is_no_text_is_named() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(Failure, match="line 2 of stdin is no UTF-8")):
        await lines_of(b"fine\n\xff")


async def test_input_is_all_there_is() -> None:
    with pipe() as (fd, stream):
        await stream.send_all(b"a\nb")
        await stream.aclose()
        assert await read_input(fd) == b"a\nb"


async def test_reading_can_be_left_at_any_time() -> None:
    with pipe() as (fd, stream):
        with trio.CancelScope() as scope:
            scope.cancel()
            await read_input(fd)
        await stream.aclose()
    assert scope.cancelled_caught
