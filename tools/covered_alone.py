"""Proves that each module of the core is covered by its own tests, not by whoever happens to pass through it.

For each module trio_websocket/protocol/_X.py and trio_websocket/_kernel/_X.py, only tests/protocol/test_X.py or
tests/kernel/test_X.py is run, and it must take every branch of that module. Give words to check only the modules whose
path contains one of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "trio_websocket"
FOLDERS = [
    (SOURCE / "protocol", ROOT / "tests" / "protocol"),
    (SOURCE / "_kernel", ROOT / "tests" / "kernel"),
]
AT_ONCE = 2


class Pair(NamedTuple):
    """A module and the test file that has to cover it."""

    module: Path
    tests: Path


class Result(NamedTuple):
    """What became of one pair: the report is for people, and long only where something is wrong."""

    pair: Pair
    is_covered: bool
    report: str


def pairs(words: list[str]) -> list[Pair]:
    found = [
        Pair(module.relative_to(ROOT), (tests / f"test{module.name}").relative_to(ROOT))
        for source, tests in FOLDERS
        for module in sorted(source.glob("_*.py"))
        if module.name != "__init__.py"
    ]
    return [pair for pair in found if not words or any(word in str(pair.module) for word in words)]


def run(*arguments: str, data_file: Path) -> tuple[int, str]:
    env = {**os.environ, "COVERAGE_FILE": str(data_file)}
    done = subprocess.run(
        [sys.executable, "-m", "coverage", *arguments],
        cwd=ROOT,
        env=env,
        text=True,
        capture_output=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def check(pair: Pair) -> Result:
    if not (ROOT / pair.tests).is_file():
        return Result(pair, False, f"there is no {pair.tests}")
    with tempfile.TemporaryDirectory() as folder:
        data_file = Path(folder) / "coverage"
        pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", str(pair.tests)]
        code, output = run("run", *pytest, data_file=data_file)
        if code != 0:
            return Result(pair, False, output)
        report = ["report", "--fail-under=100", "--show-missing", f"--include={pair.module}"]
        code, output = run(*report, data_file=data_file)
    return Result(pair, code == 0, output)


def main() -> int:
    chosen = pairs(sys.argv[1:])
    if not chosen:
        print("covered_alone: no such module")
        return 2
    failed = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for result in pool.map(check, chosen):
            verdict = "covered by" if result.is_covered else "NOT covered by"
            print(f"{result.pair.module} {verdict} {result.pair.tests}", flush=True)
            if not result.is_covered:
                failed += 1
                print(result.report, flush=True)
    print(f"covered_alone: {len(chosen) - failed} of {len(chosen)} modules covered by their own tests")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
