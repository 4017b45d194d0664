"""Counts durations, in memory that does not grow with their number, and draws them."""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Iterator

__all__ = ["Histogram", "format_seconds"]

# Durations are counted in classes of this ratio: percentiles are right to half a percent.
_RATIO = 1.01
_LOG_RATIO = math.log(_RATIO)
# No clock is finer.
_LEAST = 1e-9

# What is drawn: three rows for a power of ten.
_STEPS = (1, 2, 5)
_EIGHTHS = " ▏▎▍▌▋▊▉"


def format_seconds(seconds: float) -> str:
    """A duration with three digits and its unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


class Histogram:
    """Durations in seconds.

    Attributes:
        count: How many there are.
        minimum: The shortest, exactly.
        maximum: The longest, exactly.
    """

    def __init__(self) -> None:
        self.count = 0
        self.minimum = math.inf
        self.maximum = 0.0
        self._sum = 0.0
        self._sum_of_squares = 0.0
        self._classes: Counter[int] = Counter()

    def record(self, seconds: float) -> None:
        """Count one duration."""
        self.count += 1
        self.minimum = min(self.minimum, seconds)
        self.maximum = max(self.maximum, seconds)
        self._sum += seconds
        self._sum_of_squares += seconds * seconds
        self._classes[round(math.log(max(seconds, _LEAST)) / _LOG_RATIO)] += 1

    @property
    def mean(self) -> float:
        """The average; there has to be one duration at least."""
        return self._sum / self.count

    @property
    def deviation(self) -> float:
        """The standard deviation; there has to be one duration at least."""
        return math.sqrt(max(self._sum_of_squares / self.count - self.mean**2, 0.0))

    def percentile(self, percent: float) -> float:
        """The duration that so many percent do not exceed; there has to be one at least."""
        indexes = sorted(self._classes)
        seen = list(itertools.accumulate(self._classes[index] for index in indexes))
        wanted = math.ceil(self.count * percent / 100)
        index = indexes[bisect.bisect_left(seen, wanted)]
        return min(max(_RATIO**index, self.minimum), self.maximum)

    def draw(self, width: int) -> Iterator[str]:
        """Bars from the shortest to the longest, in rows of 1, 2, 5, 10 ...; `width` is the longest bar's."""
        rows: Counter[int] = Counter()
        for index, count in self._classes.items():
            rows[_row(_RATIO**index)] += count
        if not rows:
            return
        most = max(rows.values())
        for row in range(min(rows), max(rows) + 1):
            eighths = math.ceil(rows[row] * width * 8 / most)
            bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
            label = f"{format_seconds(_start(row))} -"
            yield f"{label:>10} {bar:{width}} {rows[row]:,}"


def _start(row: int) -> float:
    power, step = divmod(row, 3)
    return float(f"{_STEPS[step]}e{power}")


def _row(seconds: float) -> int:
    row = 3 * math.floor(math.log10(seconds))
    while _start(row + 1) <= seconds:
        row += 1
    return row
