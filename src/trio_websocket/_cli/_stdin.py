"""Reading stdin without ever blocking Trio.

A thread waits in `os.read`: it can be left behind when the command ends. One that waits in `sys.stdin` could not, as it holds
a lock that Python needs on its way out.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

import trio

from trio_websocket._cli._run import Failure

__all__ = ["decode_input", "read_input", "read_lines"]

_AT_ONCE = 2**16


async def _read(fd: int) -> bytes:
    return await trio.to_thread.run_sync(os.read, fd, _AT_ONCE, abandon_on_cancel=True)


async def read_input(fd: int) -> bytes:
    """All there is."""
    parts = []
    while data := await _read(fd):
        parts.append(data)
    return b"".join(parts)


async def read_lines(fd: int, take: Callable[[str], Awaitable[None]]) -> None:
    """Call `take` with each line, without its end."""
    number = 1
    parts: list[bytes] = []
    while data := await _read(fd):
        *ends, rest = data.split(b"\n")
        for end in ends:
            line = b"".join((*parts, end)).removesuffix(b"\r")
            parts.clear()
            await take(decode_input(line, f"line {number} of stdin"))
            number += 1
        parts.append(rest)
    if line := b"".join(parts):
        await take(decode_input(line, f"line {number} of stdin"))


def decode_input(data: bytes, what: str) -> str:
    """The text of `data`.

    Raises:
        Failure: It is no UTF-8.
    """
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Failure(f"{what} is no UTF-8, from byte {error.start} on; text has to be") from error
