"""Which twin everything above the kernel gets."""

from __future__ import annotations

from trio_websocket import _kernel
from trio_websocket._kernel import _py


def test_the_kernel_gives_the_names_of_its_specification() -> None:
    assert _kernel.__all__ == _py.__all__
    for name in _py.__all__:
        assert getattr(_kernel, name) is getattr(_py, name)
