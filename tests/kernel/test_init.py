"""Which twin everything above the kernel gets."""

from __future__ import annotations

import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

import pytest

from trio_websocket import _kernel
from trio_websocket._kernel import _py

COMPILED = "trio_websocket._kernel._cy"


def import_again() -> Any:
    """The kernel as a new process would import it, beside the one that is in use."""
    spec = importlib.util.find_spec("trio_websocket._kernel")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_serves(kernel: ModuleType, twin: ModuleType) -> None:
    for name in _py.__all__:
        assert getattr(kernel, name) is getattr(twin, name)


def test_the_kernel_gives_the_names_of_its_specification() -> None:
    assert sorted(_kernel.__all__) == sorted(["KERNEL", *_py.__all__])
    twin = _py if _kernel.KERNEL == "plain" else sys.modules[COMPILED]
    check_serves(_kernel, twin)


def test_the_tests_run_over_the_twin_that_they_should() -> None:
    wanted = os.environ.get("TRIO_WEBSOCKET_KERNEL") or (
        "compiled" if os.environ.get("CI") else _kernel.KERNEL
    )
    assert wanted == _kernel.KERNEL


@pytest.mark.parametrize("wanted", ["", None, "compiled"])
def test_the_compiled_twin_serves_where_it_is_there(
    compiled: ModuleType, monkeypatch: pytest.MonkeyPatch, wanted: str | None
) -> None:
    monkeypatch.delenv("TRIO_WEBSOCKET_KERNEL", raising=False)
    if wanted is not None:
        monkeypatch.setenv("TRIO_WEBSOCKET_KERNEL", wanted)
    kernel = import_again()
    assert kernel.KERNEL == "compiled"
    check_serves(kernel, compiled)


def test_the_plain_twin_serves_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIO_WEBSOCKET_KERNEL", raising=False)
    monkeypatch.setitem(sys.modules, COMPILED, None)  # its import fails
    kernel = import_again()
    assert kernel.KERNEL == "plain"
    check_serves(kernel, _py)


def test_the_plain_twin_serves_when_it_is_asked_for_and_the_other_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRIO_WEBSOCKET_KERNEL", "plain")
    monkeypatch.delitem(sys.modules, COMPILED, raising=False)
    kernel = import_again()
    assert kernel.KERNEL == "plain"
    check_serves(kernel, _py)
    assert COMPILED not in sys.modules


def test_a_compiled_twin_that_is_asked_for_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_WEBSOCKET_KERNEL", "compiled")
    monkeypatch.setitem(sys.modules, COMPILED, None)
    with pytest.raises(ImportError, match=r"TRIO_WEBSOCKET_KERNEL is .compiled., but .* not there"):
        import_again()


def test_a_twin_that_nobody_knows_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIO_WEBSOCKET_KERNEL", "fast")
    with pytest.raises(ValueError, match="TRIO_WEBSOCKET_KERNEL is 'fast', not 'compiled' or 'plain'"):
        import_again()
