"""How a target reads its input: first a plan, then bytes.

The first byte has two bits for the target, and in the other six the length of the plan. Each byte of the plan is a step:
what to do, in the low three bits, and a size, in the others. What remains is the wire, over and over, so that a short input
holds long messages, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

__all__ = ["Outcome", "Step", "Wire", "outcome", "split"]

_SIZES: Final = [
    *(0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 16, 20, 30, 64),
    *(95, 96, 97, 125, 126, 127, 200, 300, 1000, 4096, 16384, 65535, 65536, 70_000, 200_000, 2**20),
]
_MAX_WIRE: Final = 400_000

Outcome = tuple[type, Any]


class Step(NamedTuple):
    """What to do, 0 to 7, and a number from 0 to 31, which stands for a size as well."""

    action: int
    number: int

    @property
    def size(self) -> int:
        """Sizes about which something changes, and some between them."""
        return _SIZES[self.number]


class Wire:
    """The same bytes over and over, until there were too many for an input to be quick."""

    def __init__(self, data: bytes) -> None:
        self._data = data or b"\0"
        self.position = 0

    def take(self, size: int) -> bytes:
        """The next ones."""
        start = self.position % len(self._data)
        size = min(size, _MAX_WIRE - self.position)
        self.position += size
        return (self._data * ((start + size) // len(self._data) + 1))[start : start + size]


def split(data: bytes) -> tuple[int, list[Step], bytes]:
    """The target's own bits, the plan, and the bytes of the wire."""
    first = data[0] if data else 0
    plan = data[1 : 1 + (first & 63)]
    return first >> 6, [Step(step & 7, step >> 3) for step in plan], data[1 + len(plan) :]


def outcome(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Outcome:
    """What a call gives, or what it raises."""
    try:
        result = function(*arguments, **keywords)
    except Exception as error:
        return type(error), getattr(error, "code", None)
    return type(result), result
