"""`_cli._output`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from trio_websocket._cli._output import Console, Stream, escape, escape_line


@pytest.fixture
def terminal_fd() -> Iterator[int]:
    """A terminal to write to."""
    ours, theirs = os.openpty()
    yield theirs
    os.close(ours)
    os.close(theirs)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ☃ text", "plain ☃ text"),
        ("a\nb\tc", "a\nb\tc"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("\x1b]52;c;cm0gLXJm\x07", r"\x1b]52;c;cm0gLXJm\x07"),
        ("\x9b31m\x7f\x00\r\x0b", r"\x9b31m\x7f\x00\r\x0b"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        ("\u2028\ufeff\U000e0041", r"\u2028\ufeff\U000e0041"),
        ("👩\u200d🚀", "👩\u200d🚀"),
    ],
)
def test_escape_leaves_nothing_that_acts_on_a_terminal(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_escape_leaves_no_control_character_but_newline_and_tab() -> None:
    assert [c for c in map(chr, range(0xA0)) if escape(c) == c and not c.isprintable()] == ["\t", "\n"]


def test_escape_line_leaves_one_line() -> None:
    assert escape_line("a\nb\tc\r\x1b") == r"a\nb\tc\r\x1b"


def test_terminal_has_colours(terminal_fd: int) -> None:
    stream = Stream(terminal_fd)
    assert stream.is_terminal
    assert stream.paint("x", "red") == "\x1b[31mx\x1b[0m"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_terminal_has_no_colours_if_the_environment_says_so(
    terminal_fd: int, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert Stream(terminal_fd).paint("x", "red") == "x"


def test_file_has_no_colours_and_is_no_terminal() -> None:
    with open(os.devnull, "w") as file:
        stream = Stream(file.fileno())
    assert not stream.is_terminal
    assert stream.paint("x", "red") == "x"


def test_stream_writes_all_even_if_the_system_takes_little_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def write(fd: int, data: memoryview) -> int:
        written.append(bytes(data[:2]))
        return len(written[-1])

    monkeypatch.setattr(os, "write", write)
    Stream(99).write("a☃c")
    assert b"".join(written).decode() == "a☃c"


def test_console_is_interactive_only_if_both_ends_are_a_terminal(terminal_fd: int) -> None:
    with open(os.devnull, "w+b") as file:
        assert Console(terminal_fd, terminal_fd).is_interactive
        assert not Console(file.fileno(), terminal_fd).is_interactive
        assert not Console(terminal_fd, file.fileno()).is_interactive


def test_console_notifies_in_one_line_on_stderr() -> None:
    ours, theirs = os.pipe()
    Console(stderr=theirs).notify("first\nsecond\x1b")
    os.close(theirs)
    with open(ours) as file:
        assert file.read() == "trio-websocket: first\\nsecond\\x1b\n"
