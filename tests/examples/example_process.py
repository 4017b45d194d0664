"""Runs an example as a user does: a program of its own, with a real stdin, stdout and stderr."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

EXAMPLES = Path(__file__).parents[2] / "examples"
# Far above what any step takes: reached only when something hangs.
STEP_TIMEOUT = 15.0


class ExampleProcess:
    """A running example; everything that is awaited here is bounded by `STEP_TIMEOUT`."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._unread = ""
        self.output = ""
        self.errors = ""

    async def type(self, line: str) -> None:
        """Type a line into its stdin."""
        assert self._process.stdin is not None
        with trio.fail_after(STEP_TIMEOUT):
            await self._process.stdin.send_all(line.encode() + b"\n")

    async def end_input(self) -> None:
        """Do what Ctrl-D does."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()

    def signal(self, number: int) -> None:
        """Do what a key like Ctrl-C does, or another program."""
        self._process.send_signal(number)

    async def expect(self, pattern: str) -> re.Match[str]:
        """Wait until it has printed what the regular expression finds; the next call looks behind that."""
        with trio.move_on_after(STEP_TIMEOUT):
            while (match := re.search(pattern, self._unread)) is None and await self._read():
                pass
            if match is not None:
                self._unread = self._unread[match.end() :]
                return match
        raise AssertionError(
            f"no {pattern!r} in {self._unread!r}; all of stdout: {self.output!r}; {self.errors!r}"
        )

    async def _read(self) -> bool:
        assert self._process.stdout is not None
        data = await self._process.stdout.receive_some()
        text = data.decode()
        self._unread += text
        self.output += text
        return bool(data)

    async def exit_code(self) -> int:
        """Wait until it has ended."""
        with trio.fail_after(STEP_TIMEOUT):
            while await self._read():
                pass
            return await self._process.wait()

    async def collect_errors(self) -> None:
        """Read its stderr, until it ends."""
        assert self._process.stderr is not None
        async for data in self._process.stderr:
            self.errors += data.decode()


@asynccontextmanager
async def running(
    example: str, *arguments: str, flags: tuple[str, ...] = ("-W", "error")
) -> AsyncIterator[ExampleProcess]:
    """Start an example; what is left of it when the block ends is killed."""
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            [sys.executable, *flags, str(EXAMPLES / example), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running_example = ExampleProcess(process)
        nursery.start_soon(running_example.collect_errors)
        try:
            yield running_example
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                await pipe.aclose()


@asynccontextmanager
async def running_server(*arguments: str) -> AsyncIterator[tuple[ExampleProcess, str]]:
    """Start the server example on a free port; yields it and its URL."""
    async with running("server.py", "--port", "0", *arguments) as server:
        match = await server.expect(r"Listening on (\S+)\n")
        yield server, match[1]
