"""Runs wstest, the Autobahn test suite, once: against one client or one server.

The program under test is a command that gets one more argument: a client gets the URL of the fuzzing server, takes the
number of cases from URL/getCaseCount and echoes what comes from URL/runCase?case=N&agent=NAME for each N from 1 up; a
server gets the port on 127.0.0.1 that it shall echo on until it is ended.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

UPDATER = "the-runner-itself"
STALL = 120.0
"""Seconds that any one case may take."""


class RunError(Exception):
    """The run itself did not work; says why, with the last lines of the log concerned."""


class Plan(NamedTuple):
    """What to run, with which wstest, and where the reports go. `cases` and `exclude` are wstest's patterns."""

    wstest: Path
    role: str
    command: list[str]
    cases: list[str]
    exclude: list[str]
    folder: Path


class Case(NamedTuple):
    """What wstest says about one case."""

    number: str
    behavior: str
    close: str
    explanation: str

    @property
    def has_failed(self) -> bool:
        """True if the case or its closing handshake went wrong; NON-STRICT and INFORMATIONAL are not wrong."""
        return self.behavior == "FAILED" or self.close in {
            "FAILED",
            "FAILED BY CLIENT",
            "UNCLEAN",
            "WRONG CODE",
        }


class Report(NamedTuple):
    """The cases of a run in order, those that were asked for and have no result, and the seconds that it took."""

    cases: list[Case]
    missing: list[str]
    seconds: float


class Child:
    """A child process in a process group of its own; its output goes to a log."""

    def __init__(self, name: str, argv: list[str], log: Path) -> None:
        self.name = name
        self.log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )

    def status(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        """End the process and whatever it left in its group."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def error(self, what: str) -> RunError:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        return RunError("\n    ".join([f"{self.name} {what}; the end of {self.log}:", *lines]))


@contextlib.contextmanager
def started(name: str, argv: list[str], log: Path) -> Iterator[Child]:
    child = Child(name, argv, log)
    try:
        yield child
    finally:
        child.stop()


def number_key(number: str) -> tuple[int, ...]:
    """Sorts 9.2 before 9.10."""
    return tuple(map(int, number.split(".")))


def run(plan: Plan) -> Report:
    """Run the planned cases and read wstest's reports.

    Raises:
        RunError: if the run did not come to its end.
    """
    plan.folder.mkdir(parents=True, exist_ok=True)
    for old in [*plan.folder.glob("*.json"), *plan.folder.glob("*.html")]:
        old.unlink()
    start = time.monotonic()
    (_run_client if plan.role == "client" else _run_server)(plan)
    return _read_reports(plan.folder, time.monotonic() - start)


def _run_client(plan: Plan) -> None:
    port = _free_port()
    url = f"ws://127.0.0.1:{port}"
    with started(
        "wstest", _wstest_command(plan, "fuzzingserver", {"url": url}), plan.folder / "wstest.log"
    ) as wstest:
        _wait_for_port(port, wstest)
        with started("the client", [*plan.command, url], plan.folder / "client.log") as client:
            _watch(client, wstest)
        _update_reports(port)


def _run_server(plan: Plan) -> None:
    port = _free_port()
    servers = {"servers": [{"agent": "server", "url": f"ws://127.0.0.1:{port}"}]}
    with started("the server", [*plan.command, str(port)], plan.folder / "server.log") as server:
        _wait_for_port(port, server)
        command = _wstest_command(plan, "fuzzingclient", servers)
        with started("wstest", command, plan.folder / "wstest.log") as wstest:
            _watch(wstest, server)


def _wstest_command(plan: Plan, mode: str, where: Mapping[str, object]) -> list[str]:
    path = plan.folder / "spec.json"
    spec = {**where, "outdir": str(plan.folder), "cases": plan.cases, "exclude-cases": plan.exclude}
    path.write_text(json.dumps(spec), encoding="utf-8")
    # --webport 0, or wstest also serves web pages on port 8080.
    return [str(plan.wstest), "--mode", mode, "--spec", str(path), "--webport", "0"]


def _watch(finishing: Child, serving: Child) -> None:
    """Wait for the one that comes to an end, as long as the other lives and the log of one of them grows."""
    size, moved = -1, time.monotonic()
    while (status := finishing.status()) is None:
        if serving.status() is not None:
            raise serving.error(f"ended with status {serving.status()} in the middle of the run")
        now, grown = time.monotonic(), finishing.log.stat().st_size + serving.log.stat().st_size
        if grown != size:
            size, moved = grown, now
        elif now - moved > STALL:
            raise finishing.error(f"came to no new case for {STALL:.0f} seconds")
        time.sleep(0.05)
    if status != 0:
        raise finishing.error(f"ended with status {status}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_for_port(port: int, child: Child) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if child.status() is not None:
            raise child.error(f"ended with status {child.status()} before it listened")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    raise child.error(f"does not listen on 127.0.0.1:{port}")


def _update_reports(port: int) -> None:
    """Have the fuzzing server write its reports: it answers the handshake, writes, and then closes."""
    request = (
        f"GET /updateReports?agent={UPDATER} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=STALL) as sock:
        sock.sendall(request.encode())
        # What follows the header is wstest's close frame, which it sends when the reports are written.
        while not answer.partition(b"\r\n\r\n")[2] and (data := sock.recv(4096)):
            answer += data
    if not answer.startswith(b"HTTP/1.1 101"):
        raise RunError(f"wstest does not write its reports: {answer[:200]!r}")


def _read_reports(folder: Path, seconds: float) -> Report:
    log = (folder / "wstest.log").read_text(encoding="utf-8", errors="replace")
    match = re.search(r"^Cases = (\[.*\])$", log, re.MULTILINE)
    index = folder / "index.json"
    if match is None or not index.is_file():
        raise RunError(f"wstest wrote no reports; see {folder / 'wstest.log'}")
    agents: dict[str, dict[str, Any]] = json.loads(index.read_text(encoding="utf-8"))
    agents.pop(UPDATER, None)
    if len(agents) != 1:
        raise RunError(f"reports of one program were expected, not of {sorted(agents)}")
    (results,) = agents.values()
    asked: list[str] = [str(number) for number in ast.literal_eval(match[1])]
    cases = [_read_case(folder, number, results[number]) for number in sorted(results, key=number_key)]
    return Report(cases, [number for number in asked if number not in results], seconds)


def _read_case(folder: Path, number: str, result: dict[str, Any]) -> Case:
    case = Case(number, result["behavior"], result["behaviorClose"], "")
    if case.behavior == "OK" and not case.has_failed:
        return case
    detail = json.loads((folder / result["reportfile"]).read_text(encoding="utf-8"))
    return case._replace(explanation=f"{detail['result']} | {detail['resultClose']}")
