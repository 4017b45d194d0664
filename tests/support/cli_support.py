"""Runs the command line: in this process, as a program with pipes, and in a terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

import click
import pexpect
import trio

from trio_websocket._cli import app
from trio_websocket._cli._output import Console

# Far above what any step takes: reached only when something hangs.
STEP_TIMEOUT = 30.0

PROGRAM = [sys.executable, "-W", "error", "-m", "trio_websocket"]


class Ended(NamedTuple):
    """A command that has ended: its exit code, and what it wrote."""

    code: int
    output: bytes
    errors: str

    @property
    def lines(self) -> list[str]:
        """The lines of its output."""
        return self.output.decode().splitlines()


@contextmanager
def console(given: bytes = b"", stdout: int | None = None) -> Iterator[tuple[Console, int, int]]:
    """A console over files, with `given` as its stdin; gives the descriptors of its outputs as well."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        stdin.write(given)
        stdin.seek(0)
        fd = out.fileno() if stdout is None else stdout
        yield Console(stdin.fileno(), fd, err.fileno()), fd, err.fileno()


@contextmanager
def untouched_log() -> Iterator[None]:
    """Leave the library's log as it is: a command has it write to its own stderr."""
    logger = logging.getLogger("trio-websocket")
    handlers, propagate, level = logger.handlers, logger.propagate, logger.level
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def run_here(*arguments: str, given: bytes = b"", stdout: int | None = None) -> Ended:
    """Run a command in this thread, until it ends.

    Args:
        arguments: The command line.
        given: Its stdin.
        stdout: A descriptor in place of a file.
    """
    with untouched_log(), console(given, stdout) as (its_console, out, err):
        try:
            code = app.main(
                list(arguments), prog_name="trio-websocket", obj=its_console, standalone_mode=False
            )
        except click.UsageError as error:
            return Ended(error.exit_code, b"", error.format_message())
        output = os.pread(out, 2**24, 0) if stdout is None else b""
        return Ended(code, output, os.pread(err, 2**20, 0).decode())


async def run_cli(*arguments: str, given: bytes = b"", stdout: int | None = None) -> Ended:
    """Run a command in another thread, with a Trio of its own, until it ends."""
    return await trio.to_thread.run_sync(lambda: run_here(*arguments, given=given, stdout=stdout))


@asynccontextmanager
async def program(*arguments: str, stdout: int = subprocess.PIPE) -> AsyncIterator[trio.Process]:
    """A command as a program with pipes; what is left of it when the block ends is killed."""
    process = await trio.lowlevel.open_process(
        [*PROGRAM, *arguments], stdin=subprocess.PIPE, stdout=stdout, stderr=subprocess.PIPE
    )
    try:
        with trio.fail_after(STEP_TIMEOUT):
            yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    await pipe.aclose()


async def read_all(stream: trio.abc.ReceiveStream | None) -> str:
    """What a program writes until it ends."""
    assert stream is not None
    return b"".join([bytes(data) async for data in stream]).decode()


async def read_until(stream: trio.abc.ReceiveStream | None, text: str) -> str:
    """What a program writes, until `text` has come."""
    assert stream is not None
    seen = ""
    while text not in seen:
        data = await stream.receive_some()
        assert data, f"no {text!r} in {seen!r}"
        seen += data.decode()
    return seen


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, child: pexpect.spawn[str]) -> None:
        self._child = child
        self._seen = child.logfile_read = io.StringIO()

    async def expect(self, text: str) -> str:
        """Wait until `text` stands there, and give what came before it."""
        try:
            await trio.to_thread.run_sync(self._child.expect_exact, text)
        except (pexpect.TIMEOUT, pexpect.EOF):
            raise AssertionError(f"no {text!r} in {self._child.before!r}") from None
        return str(self._child.before)

    async def type(self, text: str) -> None:
        """Press keys; Enter is a carriage return."""
        await trio.to_thread.run_sync(self._child.send, text)

    async def exit_code(self) -> int:
        """Wait until the command has ended."""
        await trio.to_thread.run_sync(self._child.expect, pexpect.EOF)
        await trio.to_thread.run_sync(self._child.close)
        code = self._child.exitstatus
        assert code is not None, f"it died of signal {self._child.signalstatus}"
        return code

    @property
    def seen(self) -> str:
        """All that was written, with the sequences that steer the terminal."""
        return self._seen.getvalue()


@asynccontextmanager
async def terminal(*arguments: str, **environment: str) -> AsyncIterator[Terminal]:
    """A command in a terminal; what is left of it when the block ends is killed."""
    settings = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", **environment}
    with warnings.catch_warnings():
        # It forks, and Python would rather not do that beside Trio's threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = pexpect.spawn(
            PROGRAM[0], [*PROGRAM[1:], *arguments], env=settings, encoding="utf-8", timeout=STEP_TIMEOUT
        )
    child.delaybeforesend = None
    try:
        yield Terminal(child)
    finally:
        with contextlib.suppress(pexpect.ExceptionPexpect):
            child.close(force=True)
