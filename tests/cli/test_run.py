"""`_cli._run`: how a command ends."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator

import pytest
import trio
from cli_support import console, untouched_log

from trio_websocket import CloseReason, ConnectionClosed, HandshakeError
from trio_websocket._cli._output import Console
from trio_websocket._cli._run import (
    Failure,
    _run_until_signal,
    describe_close,
    is_normal,
    run,
    show_log,
)


@pytest.fixture
def quiet() -> Iterator[tuple[Console, int]]:
    """A console, and where its stderr goes."""
    with console() as (its_console, _, err):
        yield its_console, err


def written(fd: int) -> str:
    return os.pread(fd, 10_000, 0).decode()


def closed(code: int, reason: str | None = None, cause: Exception | None = None) -> ConnectionClosed:
    error = ConnectionClosed(CloseReason(code, reason))
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (HandshakeError("no way"), 1, "no way"),
        (Failure("not\nso"), 1, "not\\nso"),
        (OSError(98, "Address in use"), 1, "[Errno 98] Address in use"),
        (closed(1011, "oops"), 1, "the connection was closed with 1011 INTERNAL_ERROR: oops"),
        (closed(4000), 1, "the connection was closed with 4000 PRIVATE_RESERVED"),
        (
            closed(1006, cause=OSError("reset")),
            1,
            "the connection was lost: it ended without a close frame: reset",
        ),
        (KeyboardInterrupt(), 130, None),
        (BrokenPipeError(), 141, None),
    ],
    ids=repr,
)
@pytest.mark.parametrize("is_in_nursery", [False, True])
def test_error_gives_exit_code_and_one_line(
    quiet: tuple[Console, int], error: BaseException, code: int, line: str | None, is_in_nursery: bool
) -> None:
    async def fail() -> int:
        if is_in_nursery:
            async with trio.open_nursery():
                raise error
        raise error

    assert run(quiet[0], fail) == code
    assert written(quiet[1]) == ("" if line is None else f"trio-websocket: {line}\n")


def test_bug_is_not_hidden(quiet: tuple[Console, int]) -> None:
    async def fail() -> int:
        raise RuntimeError("a bug")

    with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="a bug")):
        run(quiet[0], fail)


def test_result_is_the_exit_code(quiet: tuple[Console, int]) -> None:
    async def main() -> int:
        return 7

    assert run(quiet[0], main) == 7


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_signal_cancels_the_command(number: signal.Signals, code: int) -> None:
    is_cleaned_up = False

    async def main() -> int:
        nonlocal is_cleaned_up
        try:
            signal.raise_signal(number)
            await trio.sleep_forever()
        finally:
            is_cleaned_up = True

    assert await _run_until_signal(main) == code
    assert is_cleaned_up


async def test_command_in_another_thread_leaves_signals_alone() -> None:
    async def main() -> int:
        return 3

    assert await trio.to_thread.run_sync(trio.run, _run_until_signal, main) == 3


@pytest.mark.parametrize(
    ("code", "normal"), [(1000, True), (1001, True), (1005, True), (1006, False), (4000, False)]
)
def test_normal_closes_are_those_without_a_complaint(code: int, normal: bool) -> None:
    assert is_normal(CloseReason(code, None)) is normal


def test_no_reason_is_described_as_well() -> None:
    assert not is_normal(None)
    assert describe_close(None) == "closed"


def test_log_is_shown_a_line_for_each_record(quiet: tuple[Console, int]) -> None:
    logger = logging.getLogger("trio-websocket")
    with untouched_log():
        show_log(quiet[0], logging.WARNING)
        logger.info("not that")
        logger.warning("a\n%s", "b")
        try:
            raise ValueError("why")
        except ValueError:
            logger.exception("failed")
    assert written(quiet[1]) == "trio-websocket: a\\nb\ntrio-websocket: failed: ValueError('why')\n"
