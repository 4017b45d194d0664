"""How long to wait before another try."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Backoff", "BackoffSchedule"]


@dataclass(frozen=True)
class Backoff:
    """How long a client waits before it connects again, and when it gives up.

    Args:
        initial: Seconds before the first new try.
        factor: By how much each wait is longer than the one before.
        maximum: Seconds that a wait has at most.
        jitter: The part of each wait that is left to chance, 0 to 1: it keeps a thousand clients of a server that
            restarted from coming back in the same second.
        reset_after: Seconds that a connection has to last for the waits to begin with `initial` again.
        attempts: Tries in a row that may come to nothing; a connection that was lost before `reset_after` is one of them.
            `math.inf`: go on for ever.

    Raises:
        ValueError: A number is out of its range.
    """

    initial: float = 1.0
    factor: float = 2.0
    maximum: float = 60.0
    jitter: float = 0.5
    reset_after: float = 10.0
    attempts: float = math.inf

    def __post_init__(self) -> None:
        self._check("initial", self.initial, 0, math.inf)
        if self.initial == math.inf:
            raise ValueError("initial=inf is no wait that ends")
        self._check("factor", self.factor, 1, math.inf)
        self._check("maximum", self.maximum, self.initial, math.inf)
        self._check("jitter", self.jitter, 0, 1)
        self._check("reset_after", self.reset_after, 0, math.inf)
        self._check("attempts", self.attempts, 1, math.inf)

    def _check(self, name: str, value: float, least: float, most: float) -> None:
        # Written so that NaN fails.
        if not least <= value <= most:
            raise ValueError(f"{name}={value!r} is not a number from {least} to {most}")


class BackoffSchedule:
    """The waits that a `Backoff` asks for, one after another.

    Args:
        backoff: What it follows.
        random: Gives numbers from 0 to 1.

    Attributes:
        failures: Tries in a row that came to nothing.
    """

    __slots__ = ("_backoff", "_delay", "_random", "failures")

    def __init__(self, backoff: Backoff, random: Callable[[], float]) -> None:
        self._backoff = backoff
        self._random = random
        self._delay = backoff.initial
        self.failures: int = 0

    def next_delay(self, lasted: float | None, *, at_least: float = 0.0) -> float | None:
        """Take in how a try ended, and tell how long to wait before the next one.

        Args:
            lasted: Seconds that the connection lasted; None if there was none.
            at_least: Seconds that the server asked to be left alone.

        Returns:
            The seconds, or None if there were `attempts` tries.
        """
        backoff = self._backoff
        if lasted is not None and lasted >= backoff.reset_after:
            self._delay = backoff.initial
            self.failures = 0
        else:
            self.failures += 1
            if self.failures >= backoff.attempts:
                return None
        delay = self._delay * (1 - backoff.jitter * self._random())
        # In this order, as 0 * inf is not a number.
        self._delay = min(backoff.maximum, self._delay * backoff.factor)
        if delay < at_least:
            # All clients may have been told the same moment.
            delay = at_least + backoff.initial * backoff.jitter * self._random()
        return delay
