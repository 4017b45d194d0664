"""Leaves out, and names, the tests whose programs are not on this machine; where CI is set, they fail instead.

A test says what it needs: `@pytest.mark.external("node")`. The names are the keys of `PROGRAMS`.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

_NODE_MODULES = Path(__file__).parents[1] / "interop" / "node_modules"


def _on_path(*names: str) -> Callable[[], bool]:
    return lambda: any(shutil.which(name) for name in names)


# What tests may ask for, and how to see whether it is there.
PROGRAMS: Final[dict[str, Callable[[], bool]]] = {
    "node": _on_path("node"),
    "ws": (_NODE_MODULES / "ws").is_dir,
    "cc": _on_path("cc", "gcc", "clang"),
    "openssl": _on_path("openssl"),
    "tinyproxy": _on_path("tinyproxy"),
    "microsocks": _on_path("microsocks"),
    "danted": _on_path("danted", "/usr/sbin/danted"),
    "chromium": _on_path("chromium", "chromium-browser", "google-chrome"),
    "chromedriver": _on_path("chromedriver"),
}
_LEFT_OUT: Final = pytest.StashKey[Counter[str]]()


@functools.cache
def _is_there(program: str) -> bool:
    return PROGRAMS[program]()


def _missing(item: pytest.Item) -> list[str]:
    needed = [program for marker in item.iter_markers("external") for program in marker.args]
    return [program for program in needed if not _is_there(program)]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out the tests that cannot run here, unless this is CI."""
    left_out: Counter[str] = Counter()
    config.stash[_LEFT_OUT] = left_out
    if os.environ.get("CI"):
        return
    deselected = []
    for item in items:
        if missing := _missing(item):
            left_out[" and ".join(missing)] += 1
            deselected.append(item)
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """In CI nothing may be missing."""
    if missing := _missing(item):
        pytest.fail(f"CI is set, and this test needs what is not here: {', '.join(missing)}", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say plainly what was left out and why."""
    for programs, count in sorted(config.stash.get(_LEFT_OUT, Counter()).items()):
        tests = "1 test" if count == 1 else f"{count} tests"
        terminalreporter.write_line(f"LEFT OUT: {tests}, for want of {programs} on this machine", yellow=True)
