"""`_cli._histogram`."""

from __future__ import annotations

import random
import statistics

import pytest

from trio_websocket._cli._histogram import Histogram, format_seconds


def filled(*durations: float) -> Histogram:
    histogram = Histogram()
    for each in durations:
        histogram.record(each)
    return histogram


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.3456, "12.3 s"), (0.0012, "1.2 ms"), (0.0005, "500 µs"), (2e-8, "20 ns"), (0.0, "0 ns")],
)
def test_format_seconds_chooses_the_unit(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_histogram_agrees_with_statistics() -> None:
    source = random.Random(1)
    durations = [source.lognormvariate(-7, 1) for _ in range(5000)]
    histogram = filled(*durations)
    assert histogram.count == 5000
    assert (histogram.minimum, histogram.maximum) == (min(durations), max(durations))
    assert histogram.mean == pytest.approx(statistics.fmean(durations))
    assert histogram.deviation == pytest.approx(statistics.pstdev(durations))
    ordered = sorted(durations)
    for percent in (1, 50, 90, 99, 99.9):
        exact = ordered[int(5000 * percent / 100) - 1]
        assert histogram.percentile(percent) == pytest.approx(exact, rel=0.0051)


def test_percentiles_lie_between_the_extremes() -> None:
    histogram = filled(0.0, 1.0)
    assert histogram.percentile(0) == 0.0 or histogram.percentile(0) <= 1e-9
    assert histogram.percentile(100) == 1.0


def test_percentile_of_one_is_that_one() -> None:
    assert filled(0.0123).percentile(50) == 0.0123


def test_draw_has_a_row_for_each_step_between_the_extremes() -> None:
    histogram = filled(*[0.0011] * 10, *[0.0025] * 5, 0.011)
    assert list(histogram.draw(10)) == [
        "    1 ms - ██████████ 10",
        "    2 ms - █████      5",
        "    5 ms -            0",
        "   10 ms - █          1",
    ]


def test_draw_shows_even_the_rarest() -> None:
    rows = list(filled(*[1.5] * 10_000, 3.0).draw(10))
    assert rows[1] == "     2 s - ▏          1"


def test_draw_of_nothing_is_empty() -> None:
    assert list(Histogram().draw(10)) == []
