"""Gives the kernel's tests both twins, and lets the compiled one not go missing unnoticed.

Where it was not built, its tests are left out, and a line says so. They fail instead where it has to be there: where
TRIO_WEBSOCKET_KERNEL asks for it, and where CI is set, unless TRIO_WEBSOCKET_KERNEL asks for the plain one.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import socket
from collections.abc import Iterator
from types import ModuleType
from typing import Final

import pytest

TWINS: Final = {
    "plain": "trio_websocket._kernel._py",
    "compiled": "trio_websocket._kernel._cy",
}
_LEFT_OUT: Final = pytest.StashKey[int]()


def _is_left_out() -> bool:
    wanted = os.environ.get("TRIO_WEBSOCKET_KERNEL")
    is_needed = wanted == "compiled" or (bool(os.environ.get("CI")) and wanted != "plain")
    return not is_needed and importlib.util.find_spec(TWINS["compiled"]) is None


def _is_of_compiled(item: pytest.Item) -> bool:
    parameters = (
        item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    )
    return parameters.get("kernel") == "compiled" or "compiled" in getattr(item, "fixturenames", ())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out the tests of a twin that was not built."""
    if _is_left_out() and (deselected := [item for item in items if _is_of_compiled(item)]):
        config.stash[_LEFT_OUT] = len(deselected)
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say plainly what was left out."""
    if count := config.stash.get(_LEFT_OUT, 0):
        text = f"LEFT OUT: {count} tests of the compiled kernel, which was not built"
        terminalreporter.write_line(text, yellow=True)


@pytest.fixture(scope="module", params=list(TWINS))
def kernel(request: pytest.FixtureRequest) -> ModuleType:
    """Each twin in turn."""
    return importlib.import_module(TWINS[request.param])


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    """The plain twin."""
    return importlib.import_module(TWINS["plain"])


@pytest.fixture(scope="module")
def compiled() -> ModuleType:
    """The compiled twin."""
    return importlib.import_module(TWINS["compiled"])


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends; neither blocks."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs
