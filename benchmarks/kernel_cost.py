"""What the kernel's operations cost by size, for those who change it; `make bench-kernel` calls it.

    python benchmarks/kernel_cost.py [--instructions] [--output FILE] [--against FILE]

Without options: nanoseconds, the best of several rounds in which both twins take turns. With --instructions: how many
instructions the CPU carries out, counted by valgrind's callgrind. That figure is the same on a busy machine, so two
commits can be compared by it, built by the same compiler for the same Python:

    make bench-kernel KERNEL_BENCH="--instructions --output before.json"    # at the one commit
    make bench-kernel KERNEL_BENCH="--instructions --against before.json"   # at the other one

A call from Python, and the loop around it, are counted along: some 30 nanoseconds.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import timeit
from pathlib import Path
from typing import Any, Final

from trio_websocket._kernel import _py

TWINS: Final = {"plain": "trio_websocket._kernel._py", "compiled": "trio_websocket._kernel._cy"}
SIZES: Final = [0, 32, 125, 126, 1024, 4096, 65536, 1048576]
MASK: Final = b"\x12\x34\x56\x78"
OPERATIONS: Final = {
    "decode masked": "receive(masked); read_message(True, size)",
    "decode text": "receive(text); read_message(False, size)",
    "decode by parts": "receive(masked); read_header(); read_part()",
    "encode": "encode_frame(2, payload)",
    "encode masked": "encode_frame(2, payload, mask=mask)",
    "mask": "apply_mask(payload, mask)",
}
ROUNDS: Final = 5
SECONDS: Final = 0.005  # for one figure of a round

# By twin, operation and size.
Figures = dict[str, float]


def timer(twin: str, operation: str, size: int) -> timeit.Timer:
    kernel = importlib.import_module(TWINS[twin])
    decoder = kernel.FrameDecoder()
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    names = {
        "receive": decoder.receive_data,
        "read_message": decoder.read_message,
        "read_header": decoder.read_header,
        "read_part": decoder.read_part,
        "encode_frame": kernel.encode_frame,
        "apply_mask": kernel.apply_mask,
        "payload": payload,
        "mask": MASK,
        "size": size,
        "masked": _py.encode_frame(2, payload, mask=MASK),
        "text": _py.encode_frame(1, b"x" * size),
    }
    return timeit.Timer(OPERATIONS[operation], globals=names)


def cases(twins: list[str]) -> list[tuple[str, str, int]]:
    return [(twin, operation, size) for operation in OPERATIONS for size in SIZES for twin in twins]


def label(twin: str, operation: str, size: int) -> str:
    return f"{twin}, {operation}, {size}"


def nanoseconds(twins: list[str]) -> Figures:
    timers = {label(*case): timer(*case) for case in cases(twins)}
    counts = {name: max(1, round(SECONDS * 20 / max(it.timeit(20), 1e-9))) for name, it in timers.items()}
    best: Figures = {}
    for _ in range(ROUNDS):
        for name, it in timers.items():
            best[name] = min(best.get(name, 1e18), 1e9 * it.timeit(counts[name]) / counts[name])
    return best


def repetitions(size: int) -> int:
    return max(3, 2**17 // (size + 256))


def run_counted(twins: list[str]) -> None:
    """What callgrind watches: each operation, so many times and twice as many, between calls of getppid()."""
    for case in cases(twins):
        it, count = timer(*case), repetitions(case[2])
        it.timeit(count)
        os.getppid()
        it.timeit(count)
        os.getppid()
        it.timeit(2 * count)
        os.getppid()


def instructions(twins: list[str]) -> Figures:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise SystemExit(
            "benchmark: instructions are counted by valgrind, which is not there (Debian: valgrind)"
        )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        tool = ["--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={out}"]
        command = [valgrind, "--quiet", *tool, sys.executable, __file__, "--counted", *twins]
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "0"}, check=True)
        figures = {}
        # Before the first getppid() is the start, and behind each third the way to the next operation.
        for number, case in enumerate(cases(twins)):
            once, twice = (total(Path(f"{out}.{3 * number + part}")) for part in (2, 3))
            figures[label(*case)] = (twice - once) / repetitions(case[2])
        if len(list(Path(folder).iterdir())) != 3 * len(figures) + 1:
            raise SystemExit("benchmark: something else has called getppid()")
    return figures


def total(part: Path) -> int:
    """The instructions in one part of callgrind's output."""
    for line in part.read_text(encoding="utf-8").splitlines():
        if line.startswith("totals:"):
            return int(line.split()[1])
    raise SystemExit(f"benchmark: no totals in {part}")


def print_table(figures: Figures, before: Figures, twins: list[str], unit: str) -> None:
    changes = [f"{twin}, change" for twin in twins] if before else []
    print(f"{unit} per operation")
    print(f"{'':16}{'size':>9}" + "".join(f"{head:>18}" for head in [*twins, *changes]))
    for operation in OPERATIONS:
        for size in SIZES:
            names = [label(twin, operation, size) for twin in twins]
            cells = [f"{figures[name]:18,.0f}" for name in names]
            if before:
                cells += [
                    f"{figures[name] / before[name] - 1:+18.1%}" if name in before else f"{'new':>18}"
                    for name in names
                ]
            print(f"{operation:16}{size:9}" + "".join(cells))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instructions", action="store_true", help="count instructions, under valgrind")
    parser.add_argument("--output", type=Path, metavar="FILE", help="keep the figures")
    parser.add_argument("--against", type=Path, metavar="FILE", help="show what has changed since --output")
    parser.add_argument("--counted", nargs="+", choices=TWINS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    if arguments.counted:
        run_counted(arguments.counted)
        return
    unit = "instructions" if arguments.instructions else "nanoseconds"
    before: dict[str, Any] = {"unit": unit, "figures": {}}
    if arguments.against:
        before = json.loads(arguments.against.read_text(encoding="utf-8"))
        if before["unit"] != unit:
            raise SystemExit(f"benchmark: {arguments.against} holds {before['unit']}, not {unit}")
    twins = [twin for twin, module in TWINS.items() if importlib.util.find_spec(module)]
    if "compiled" not in twins:
        print("The compiled kernel was not built: this is the plain one alone.")
    figures = instructions(twins) if arguments.instructions else nanoseconds(twins)
    print_table(figures, before["figures"], twins, unit)
    if arguments.output:
        kept = {"unit": unit, "figures": figures}
        arguments.output.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
