"""Runs a command under Trio, and makes an exit code of how it ends.

The codes are documented in docs/cli.rst.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Awaitable, Callable

import trio

from trio_websocket import CloseReason, ConnectionClosed, HandshakeError
from trio_websocket._cli._output import Console

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = [
    "BROKEN_PIPE",
    "FAILURE",
    "INTERRUPTED",
    "OK",
    "Failure",
    "describe_close",
    "is_normal",
    "run",
    "show_log",
]

OK = 0
FAILURE = 1
# As a shell has it: 128 and the number of the signal.
INTERRUPTED = 128 + signal.SIGINT
BROKEN_PIPE = 128 + 13  # SIGPIPE, which Windows has not got

# RFC 6455 §7.4.1; 1005 is a close frame without a code.
_NORMAL = frozenset({1000, 1001, 1005})

Main = Callable[[], Awaitable[int]]


class Failure(Exception):
    """What ends a command with exit code 1; its text is for the user."""


def is_normal(reason: CloseReason | None) -> bool:
    """Whether a connection was closed because all was said."""
    return reason is not None and reason.code in _NORMAL


def describe_close(reason: CloseReason | None) -> str:
    """A close in words."""
    if reason is None:
        return "closed"
    if reason.code == 1006:
        return "lost: it ended without a close frame"
    text = f"closed with {reason.code} {reason.name}"
    return f"{text}: {reason.reason}" if reason.reason else text


def run(console: Console, main: Main) -> int:
    """Run `main` until it returns its exit code, fails, or a signal comes; tell of a failure in one line."""
    try:
        return trio.run(_run_until_signal, main)
    except BaseException as error:
        cause = _first(error)
        code = _exit_code(cause)
        if code is None:
            raise
        if code == FAILURE:
            console.notify(_describe(cause))
        return code


def _exit_code(error: BaseException) -> int | None:
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    # Of the network's, none comes out of the library; this is stdout's.
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    if isinstance(error, Failure | HandshakeError | ConnectionClosed | OSError):
        return FAILURE
    return None


def _describe(error: BaseException) -> str:
    if isinstance(error, ConnectionClosed):
        text = f"the connection was {describe_close(error.reason)}"
        return f"{text}: {error.__cause__}" if error.__cause__ is not None else text
    return str(error)


def _first(error: BaseException) -> BaseException:
    """The error that a group is about: what went wrong first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _run_until_signal(main: Main) -> int:
    if threading.current_thread() is not threading.main_thread():
        return await main()  # signals are the main thread's
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            code = OK

            async def watch() -> None:
                nonlocal code
                async for number in signals:
                    code = 128 + number
                    nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            code = await main()
            nursery.cancel_scope.cancel()
    return code


class _LogHandler(logging.Handler):
    """Tells of the library's log, a line each."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        error = record.exc_info[1] if record.exc_info else None
        self._console.notify(record.getMessage() + (f": {error!r}" if error is not None else ""))


def show_log(console: Console, level: int) -> None:
    """Show what the library logs from `level` on."""
    logger = logging.getLogger("trio-websocket")
    logger.handlers = [_LogHandler(console)]
    logger.propagate = False
    logger.setLevel(level)
