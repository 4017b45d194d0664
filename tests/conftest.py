"""Runs async tests under Trio, each in a run of its own, and holds what several tests share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest
import support
import trio
import trio.testing

from trio_websocket._kernel import KERNEL
from trio_websocket._transports import _poller

# The same examples in each run: what fails once can be looked at again.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("repeatable")

pytest_plugins = ["_external", "certificates"]


def pytest_report_header() -> str:
    """Say what the tests run over: a run with the other kernel is another run."""
    return f"kernel: {KERNEL}"


@pytest.fixture
def mock_clock() -> trio.testing.MockClock:
    """A clock that jumps ahead as soon as every task waits: no test waits for real time."""
    return trio.testing.MockClock(autojump_threshold=0)


@pytest.fixture(params=["socket", "stream"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a test over each transport: pairs of ours are sockets for the one, and no socket is plain for the other."""
    if request.param == "socket":
        monkeypatch.setattr(support, "over_sockets", True)
    else:
        monkeypatch.setattr(_poller, "select", SimpleNamespace())
    return str(request.param)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine function in `trio.run`, under `mock_clock` if the test takes it."""
    function: Callable[..., Any] = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    names = inspect.signature(function).parameters
    arguments: dict[str, Any] = {
        name: pyfuncitem.funcargs[name] for name in names if name in pyfuncitem.funcargs
    }
    trio.run(functools.partial(function, **arguments), clock=arguments.get("mock_clock"))
    return True
