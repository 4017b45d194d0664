"""`benchmarks/kernel_cost.py` measures both kernels; what they cost, no test can say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "kernel_cost.py"


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_each_operation_is_timed_and_held_against_earlier_figures(tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    done = run("--output", before)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(before.read_text())["figures"]
    assert "plain, mask, 1048576" in figures
    assert all(figure > 0 for figure in figures.values())
    done = run("--against", before)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("%") == len(figures)


@pytest.mark.slow
def test_figures_of_another_kind_are_refused(tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    before.write_text('{"unit": "instructions", "figures": {}}')
    done = run("--against", before)
    assert done.returncode == 1
    assert "holds instructions, not nanoseconds" in done.stderr


@pytest.mark.slow
def test_without_valgrind_it_says_so() -> None:
    done = run("--instructions", PATH="")
    assert done.returncode == 1
    assert "valgrind" in done.stderr
