"""Runs the Autobahn test suite against the library's client and server; `make conformance` calls it.

All cases over plain sockets; over streams all but 12.* and 13.* (compression, which lies above both, and takes long); over
sockets the cases 7.* (closing, where timing matters) five times in all. --fast leaves out of 12.* and 13.* what only repeats
the same with more and larger messages. Exits 1 if a case or its closing handshake fails, has no result, or is NON-STRICT and
not listed in non-strict.txt. The full reports are web pages in conformance/reports/.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from wstest import Case, Plan, RunError, run

HERE = Path(__file__).resolve().parent
WSTEST = HERE.parent / ".wstest"
ROLES = ["client", "server"]
ROUNDS = {"sockets": [["*"], *[["7.*"]] * 4], "streams": [["*"]]}
EXCLUDED = {"sockets": [], "streams": ["12.*", "13.*"]}
# Of the 18 cases of each group, which differ in size and number of messages, the first three stay.
FAST = [
    f"{group}.{case}"
    for group in ("12.1", "12.2", "12.3", "12.4", "12.5", *(f"13.{n}" for n in range(1, 8)))
    for case in range(4, 19)
]


class Tally:
    """Counts the cases of all rounds, and has a note on each that is not simply right."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0
        self._non_strict = read_non_strict()
        # What happened and why, to the cases concerned.
        self._notes: dict[str, list[str]] = {}
        self._told: set[str] = set()

    def add(self, role: str, case: Case) -> None:
        reason = case.explanation
        if case.behavior == "UNIMPLEMENTED":
            self.skipped += 1
        elif case.has_failed:
            self.failed += 1
        elif case.behavior != "NON-STRICT":
            self.passed += 1
        elif case.number in self._non_strict:
            self.passed += 1
            reason = self._non_strict[case.number]
        else:
            self.failed += 1
            reason = f"and non-strict.txt gives no reason for it: {case.explanation}"
        if case.behavior != "OK" or case.has_failed:
            self._note(f"{role}: {case.behavior}, closing {case.close}: {reason}", case.number)

    def add_missing(self, role: str, number: str) -> None:
        self.failed += 1
        self._note(f"{role}: no result", number)

    def tell(self) -> None:
        """Print the notes that are new."""
        for what, numbers in self._notes.items():
            print(f"  {' '.join(numbers)}: {what}", flush=True)
        self._notes.clear()

    def _note(self, what: str, number: str) -> None:
        if (line := f"{what} {number}") not in self._told:
            self._told.add(line)
            self._notes.setdefault(what, []).append(number)


def read_non_strict() -> dict[str, str]:
    """The cases that may be NON-STRICT, each with the reason."""
    reasons = {}
    for line in (HERE / "non-strict.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            numbers, _, reason = line.partition(": ")
            reasons.update(dict.fromkeys(numbers.split(), reason))
    return reasons


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--role", choices=ROLES, help="run against one of them only")
    parser.add_argument("--cases", nargs="+", metavar="PATTERN", help="run these once, as in 7.* or 9.1.1")
    parser.add_argument("--fast", action="store_true", help="only a few of the cases 12.* and 13.*")
    parser.add_argument(
        "--wstest", type=Path, help="a wstest to use (default: one is installed into .wstest)"
    )
    return parser.parse_args()


def run_once(
    name: str, role: str, over: str, cases: list[str], excluded: list[str], wstest: Path, tally: Tally
) -> None:
    options = ["--streams"] if over == "streams" else []
    command = [sys.executable, str(HERE / f"echo_{role}.py"), *options]
    report = run(Plan(wstest, role, command, cases, excluded, HERE / "reports" / name))
    print(
        f"{role} over {over}, cases {' '.join(cases)}: {len(report.cases)} in {report.seconds:.0f} s",
        flush=True,
    )
    for case in report.cases:
        tally.add(role, case)
    for number in report.missing:
        tally.add_missing(role, number)
    tally.tell()


def main() -> int:
    arguments = parse_arguments()
    wstest: Path = arguments.wstest or WSTEST / "bin" / "wstest"
    if (
        arguments.wstest is None
        and subprocess.run([HERE / "install-wstest", WSTEST], check=False).returncode != 0
    ):
        return 2
    tally = Tally()
    for over, rounds in ROUNDS.items():
        excluded = [*EXCLUDED[over], *(FAST if arguments.fast else [])]
        for role in [arguments.role] if arguments.role else ROLES:
            for turn, cases in enumerate([arguments.cases] if arguments.cases else rounds, 1):
                name = f"{role}-{over}-{turn}"
                try:
                    run_once(name, role, over, cases, excluded, wstest, tally)
                except RunError as error:
                    print(f"conformance: {error}")
                    return 2
    print(f"{tally.passed} passed, {tally.failed} failed, {tally.skipped} skipped")
    return 1 if tally.failed else 0


if __name__ == "__main__":
    sys.exit(main())
