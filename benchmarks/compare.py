"""Compares this library with others on this machine, as servers and as clients; `make bench` calls it.

    python benchmarks/compare.py [--quick] [--rows ROW ...] [--kinds KIND ...] [--rounds N] [--seconds S]

A figure is the CPU time, user and system, that the library's process spends on a message; memory is what its resident set
grows by with each idle connection. The other end is a C program on another core. The kinds take turns, round by round: a
machine that changes its pace does so for all. The table shows medians, and medians of each round's ratio to the baseline.
results.json has every figure, plot.svg shows the ratios. Needs Linux and a C compiler; the rivals are installed into .bench.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import platform
import shlex
import statistics
import sys
from pathlib import Path
from typing import Any

from machine import Machine, MeasuringError
from plan import BASELINE, KINDS, ROWS, Row
from plot import draw

from trio_websocket._kernel import KERNEL

Figures = list["float | None"]


def ratio(figures: Figures, baseline: Figures | None) -> float | None:
    """The median of the ratios, round by round; None where there is nothing to compare."""
    pairs = zip(figures, baseline or [], strict=False)
    ratios = [a / b for a, b in pairs if a is not None and b is not None and b > 0]
    return statistics.median(ratios) if ratios else None


def measure_row(machine: Machine, name: str, kinds: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    row = ROWS[name]
    kinds = [kind for kind in kinds if row.is_for(kind)]
    figures: dict[str, Figures] = {kind: [] for kind in kinds}
    problems: dict[str, str] = {}
    for _ in range(max(1, rounds // 3) if row.is_slow else rounds):
        for kind in kinds:
            figures[kind].append(measure(machine, kind, row, seconds, problems))
    measured = {}
    for kind in kinds:
        numbers = [figure for figure in figures[kind] if figure is not None]
        if numbers:
            measured[kind] = {
                "median": statistics.median(numbers),
                "ratio": ratio(figures[kind], figures.get(BASELINE)),
                "figures": figures[kind],
            }
    return {"text": row.text, "unit": row.unit, "kinds": measured, "problems": problems}


def measure(machine: Machine, kind: str, row: Row, seconds: float, problems: dict[str, str]) -> float | None:
    try:
        return machine.measure(kind, row, seconds)
    except MeasuringError as error:
        problems[kind] = str(error)
        return None


def print_row(name: str, result: dict[str, Any]) -> None:
    print(f"\n{name}: {result['text']}; {result['unit']}")
    for kind, measured in sorted(result["kinds"].items(), key=lambda item: item[1]["median"]):
        times = "" if measured["ratio"] is None else f"{measured['ratio']:8.2f}x"
        print(f"  {KINDS[kind].label:28}{measured['median']:12.2f}{times}", flush=True)
    for kind, problem in result["problems"].items():
        print(f"  {KINDS[kind].label:28}failed: {problem}", flush=True)


def describe(machine: Machine) -> dict[str, str]:
    """What a figure depends on."""
    return {
        "cpu": cpu_model(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "command": shlex.join(["python", "benchmarks/compare.py", *sys.argv[1:]]),
        "versions": f"our {KERNEL} kernel; {machine.versions()}",
        "baseline": KINDS[BASELINE].label,
    }


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def missing_for(machine: Machine, row: Row) -> str | None:
    """Why a row can't be measured here."""
    needed = row.connections + 100
    if machine.max_files < needed:
        return f"it needs {needed:,} open files, and the limit (ulimit -Hn) is {machine.max_files:,}"
    return None


def positive(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError(text)
    return number


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--rounds", type=int, help="default: 3")
    parser.add_argument("--seconds", type=positive, help="for each figure (default: 0.3)")
    parser.add_argument("--quick", action="store_true", help="a short round, without what is slow to set up")
    parser.add_argument("--output", type=Path, default=Path(".bench"), help="the folder for all results")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    rows = arguments.rows or [name for name in ROWS if not (arguments.quick and ROWS[name].is_slow)]
    kinds = arguments.kinds or list(KINDS)
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    seconds = arguments.seconds or (0.2 if arguments.quick else 0.3)
    try:
        machine = Machine(arguments.output)
        machine.prepare(kinds, [ROWS[name] for name in rows])
    except MeasuringError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    results: dict[str, Any] = {"about": describe(machine), "rows": {}}
    print(f"{results['about']['cpu']}, {results['about']['python']}, {results['about']['versions']}")
    print(f"Each figure: the median of {rounds}, and how many times the figure of {KINDS[BASELINE].label}.")
    for name in rows:
        if missing := missing_for(machine, ROWS[name]):
            print(f"\n{name}: left out: {missing}", flush=True)
            continue
        results["rows"][name] = measure_row(machine, name, kinds, rounds, seconds)
        print_row(name, results["rows"][name])
        (arguments.output / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    if BASELINE in kinds:
        (arguments.output / "plot.svg").write_text(draw(results), encoding="utf-8")
        print(f"\nThe plot is {arguments.output / 'plot.svg'}.")
    return 1 if any(row["problems"] for row in results["rows"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
