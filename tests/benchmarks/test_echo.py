"""`benchmarks/echo.py` runs, and tells what it measured; how fast it is, no test can say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "echo.py"


@pytest.mark.slow
def test_benchmark_prints_a_rate_and_a_cost_for_every_case() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(BENCHMARK), "--seconds", "0.05"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = re.findall(r"^ *([\d,]+) +(\d+) +([\d,]+) +([\d,.]+)$", done.stdout, re.MULTILINE)
    assert [line[:2] for line in lines] == [("32", "1"), ("32", "64"), ("4,096", "1"), ("1,048,576", "1")]
    assert all(float(number.replace(",", "")) > 0 for line in lines[:3] for number in line[2:])
    assert "comparison with other libraries is not in this benchmark yet" in done.stdout
