"""What a command reads from and writes to, and what may be written there.

What a peer sends may be hostile. Written raw to a terminal, an escape sequence could change what stands on the screen, set the
clipboard, or type into the shell. So no control character but newline and tab is ever written raw to a terminal.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import click
import trio

__all__ = ["Console", "Stream", "escape", "escape_line"]

# Control characters (C0, DEL, C1), and what has no shape but changes how its neighbours look: the directions of writing,
# separators, invisible characters. Surrogates have no UTF-8 form.
_HARMFUL = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff"
)
_IN_TEXT = re.compile(f"[{_HARMFUL}]")
_IN_LINE = re.compile(f"[{_HARMFUL}\t\n]")


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def escape(text: str) -> str:
    r"""Text as a terminal may have it: control characters as `\x1b`, but for newline and tab."""
    return _IN_TEXT.sub(_escaped, text)


def escape_line(text: str) -> str:
    r"""Text as a terminal may have it in one line: newlines and tabs as `\n` and `\t`, too."""
    return _IN_LINE.sub(_escaped, text)


class Stream:
    """A file descriptor to write to.

    Attributes:
        is_terminal: Whether someone looks at it.
        has_colour: Whether it is a terminal that may have colours (https://no-color.org).
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.is_terminal = os.isatty(fd)
        self.has_colour = (
            self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )

    def write(self, data: bytes | str) -> None:
        """Write all; may block."""
        # By the descriptor: a thread that is left behind in `sys.stdout` holds a lock that Python needs on its way out.
        rest = memoryview(data.encode() if isinstance(data, str) else data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]

    async def send(self, data: bytes | str) -> None:
        """Write all without blocking Trio. If cancelled, some of it may be written."""
        await trio.to_thread.run_sync(self.write, data, abandon_on_cancel=True)

    def paint(self, text: str, colour: str) -> str:
        """Give text a colour, where there are colours."""
        return click.style(text, fg=colour) if self.has_colour else text


class Console:
    """The three standard streams of a command.

    Args:
        stdin: A file descriptor.
        stdout: Another.
        stderr: Another.

    Attributes:
        notice_written: What writes a notice, given its line; someone who owns the terminal replaces it meanwhile.
    """

    def __init__(self, stdin: int = 0, stdout: int = 1, stderr: int = 2) -> None:
        self.stdin = stdin
        self.stdout = Stream(stdout)
        self.stderr = Stream(stderr)
        self.notice_written: Callable[[str], None] = self.write_notice

    @property
    def has_piped_input(self) -> bool:
        """Whether stdin is anything but a terminal."""
        return not os.isatty(self.stdin)

    @property
    def is_interactive(self) -> bool:
        """Whether someone types and looks."""
        return os.isatty(self.stdin) and self.stdout.is_terminal

    def notify(self, text: str) -> None:
        """Tell the user something, in one line on stderr, or wherever `notice_written` writes it."""
        self.notice_written(escape_line(text))

    def write_notice(self, line: str) -> None:
        """Write one line to stderr."""
        self.stderr.write(f"trio-websocket: {line}\n")
