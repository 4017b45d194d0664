"""Runs the fuzz targets, each for a while, with atheris in an environment of its own; `make fuzz` calls it.

    python fuzz/run_targets.py [--seconds N] [TARGET ...]
    python fuzz/run_targets.py --replay FILE TARGET

A target runs from its seeds in fuzz/corpus/TARGET and from what earlier runs have found, which is kept in .fuzz. An input
that breaks a promise is kept there as well, and --replay gives it to the target alone, without atheris.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
FOLDER: Final = ROOT / ".fuzz"
PINS: Final = ROOT / "requirements" / "fuzz.txt"
PYTHON: Final = FOLDER / "python" / "bin" / "python"
SEEDS: Final = HERE / "corpus"
# A target is a module here with a function `check`, and has seeds.
TARGETS: Final = sorted(path.name for path in SEEDS.iterdir())
OPTIONS: Final = [
    "-len_control=0",
    "-max_len=2000",
    "-timeout=30",
    "-rss_limit_mb=2000",
    "-print_final_stats=1",
]


def install() -> None:
    """Set up the environment, unless it is there."""
    done = FOLDER / "installed.txt"
    pins = PINS.read_text(encoding="utf-8") + sys.version
    if done.exists() and done.read_text(encoding="utf-8") == pins:
        return
    environment = PYTHON.parent.parent
    print(f"Installing atheris into {environment}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # Built from source it needs Clang and LLVM.
    command = [*pip, "--only-binary=atheris", "--requirement", str(PINS)]
    if subprocess.run(command, check=False).returncode != 0:
        raise SystemExit("fuzz: atheris can't be installed; there are wheels for CPython on Linux, x86-64")
    done.write_text(pins, encoding="utf-8")


def fuzz(target: str, seconds: int) -> bool:
    """Run one target; tells whether its promise holds."""
    found = FOLDER / "corpus" / target
    found.mkdir(parents=True, exist_ok=True)
    log = FOLDER / f"{target}.log"
    options = [*OPTIONS, f"-max_total_time={seconds}", f"-artifact_prefix={FOLDER}/{target}-"]
    command = [str(PYTHON), str(HERE / "drive.py"), target, str(found), str(SEEDS / target), *options]
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with log.open("wb") as output:
        status = subprocess.run(command, env=env, stdout=output, stderr=output, check=False).returncode
    text = log.read_text(encoding="utf-8", errors="replace")
    units = re.search(r"number_of_executed_units: *(\d+)", text)
    inputs = f"{int(units[1]):,}" if units else "?"
    coverage = (re.findall(r" cov: (\d+)", text) or ["?"])[-1]
    print(
        f"{target}: {inputs} inputs in {seconds} s, coverage {coverage}: {'FAILED' if status else 'passed'}"
    )
    if status:
        print(text[-6000:])
        print(f"To see it again: {sys.executable} fuzz/run_targets.py --replay FILE {target}", flush=True)
    return status == 0


def replay(target: str, file: Path) -> None:
    check = importlib.import_module(target).check
    check(file.read_bytes())
    print(f"{target}: passed")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=30, help="for each target (default: 30)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="give this one input to the target")
    parser.add_argument(
        "targets", nargs="*", choices=[*TARGETS, []], metavar="TARGET", help=", ".join(TARGETS)
    )
    arguments = parser.parse_args()
    targets = arguments.targets or TARGETS
    if importlib.util.find_spec("trio_websocket._kernel._cy") is None:
        raise SystemExit("fuzz: the compiled kernel was not built")
    if arguments.replay:
        for target in targets:
            replay(target, arguments.replay)
        return 0
    install()
    passed = [fuzz(target, arguments.seconds) for target in targets]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
