"""Sets up what the benchmark needs on this machine, and measures one kind in one row."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from plan import KINDS, Row

HERE = Path(__file__).resolve().parent
PINS = HERE.parent / "requirements" / "bench.txt"
NODE_WS = HERE.parent / "tests" / "interop" / "node_modules" / "ws"
TOLD = ["trio", "picows", "uvloop", "websockets", "aiohttp", "isal", "trio-websocket"]
PATIENCE = 90.0  # for one figure, with all that leads to it
SETTLING = 0.3  # until idle connections are idle


class MeasuringError(Exception):
    """A figure can't be had; the text tells why."""


class Machine:
    """Where the figures are made: the first of our cores is the library's, the last one is the other end's.

    Args:
        folder: For everything that is made.
    """

    def __init__(self, folder: Path) -> None:
        if sys.platform != "linux":
            raise MeasuringError("this needs Linux: its CPU clocks, epoll and /proc")
        self._folder = folder.resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._rivals = self._folder / "python" / "bin" / "python"
        cores = sorted(os.sched_getaffinity(0))
        self._core, self._other_core = cores[0], cores[-1]
        _, self.max_files = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.max_files, self.max_files))

    def prepare(self, kinds: Sequence[str], rows: Sequence[Row]) -> None:
        """Build and install what these need."""
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise MeasuringError("a C compiler is needed (cc, gcc or clang): the other end is written in C")
        for name in ("load", "echo"):
            command = [compiler, "-O3", "-o", str(self._folder / name), str(HERE / f"{name}.c")]
            subprocess.run(command, check=True)
        if any(KINDS[kind].home == "rivals" for kind in kinds) or any(row.is_tls for row in rows):
            self._install_rivals()
        if any(row.is_tls for row in rows):
            folder = self._folder / "certificates"
            folder.mkdir(exist_ok=True)
            command = [str(self._rivals), "-m", "trustme", "-q", "-d", str(folder), "-i", "127.0.0.1"]
            subprocess.run(command, check=True)

    def versions(self) -> str:
        """Of the rivals, as they are installed."""
        if not self._rivals.exists():
            return "no rivals"
        program = "import importlib.metadata as m, sys; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
        command = [str(self._rivals), "-c", program, *TOLD]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def measure(self, kind: str, row: Row, seconds: float) -> float:
        """One figure.

        Raises:
            MeasuringError: One of the programs did not do its part.
        """
        raw = ["raw"] if kind == "trio" else []
        if row.role == "client":
            with self._serving([str(self._folder / "echo")], raw, self._other_core) as (_, port):
                return self._cpu(self._client(kind, row, port, seconds), self._core)
        command, arguments = self._server(kind, row)
        with self._serving(command, arguments, self._core, KINDS[kind].environment) as (pid, port):
            if row.task == "memory":
                return self._memory(pid, [*self._load("hold", port, row.connections), *raw])
            return self._cpu([*self._other_end(row, pid, port, seconds), *raw], self._other_core)

    def _install_rivals(self) -> None:
        done = self._folder / "installed.txt"
        pins = PINS.read_text(encoding="utf-8") + sys.version
        if done.exists() and done.read_text(encoding="utf-8") == pins:
            return
        folder = self._rivals.parent.parent
        print(f"Installing the rivals into {folder}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(self._rivals), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", str(PINS)], check=True)
        done.write_text(pins, encoding="utf-8")

    def _python(self, kind: str) -> str:
        return sys.executable if KINDS[kind].home == "ours" else str(self._rivals)

    def _server(self, kind: str, row: Row) -> tuple[list[str], list[str]]:
        """The command up to the port, and what follows it."""
        if KINDS[kind].home == "C":
            return [str(self._folder / "echo")], []
        if KINDS[kind].home == "Node":
            if shutil.which("node") is None or not NODE_WS.is_dir():
                raise MeasuringError("Node is needed, and its `ws` as `make node` installs it")
            return ["node", str(HERE / "server.mjs")], []
        certificates = self._folder / "certificates"
        files = [str(certificates / "server.pem"), str(certificates / "server.key")] if row.is_tls else []
        task = "broadcast" if row.task == "broadcast" else "deflate" if row.is_deflated else "echo"
        return [self._python(kind), str(HERE / "servers.py"), kind, task], files

    def _client(self, kind: str, row: Row, port: int, seconds: float) -> list[str]:
        if KINDS[kind].home == "C":
            return self._other_end(row, 0, port, seconds)
        numbers = [port, row.connections, row.size, row.in_flight, seconds]
        return [self._python(kind), str(HERE / "clients.py"), kind, row.task, *map(str, numbers)]

    def _other_end(self, row: Row, pid: int, port: int, seconds: float) -> list[str]:
        if row.is_tls:
            authority = self._folder / "certificates" / "client.pem"
            numbers = [port, pid, row.connections, row.size, seconds]
            return [sys.executable, str(HERE / "tls_load.py"), *map(str, numbers), str(authority)]
        if row.is_deflated:
            numbers = [port, pid, row.connections, row.size, seconds]
            return [sys.executable, str(HERE / "deflate_load.py"), *map(str, numbers)]
        if row.task == "handshakes":
            return self._load(row.task, port, pid, seconds)
        if row.task == "broadcast":
            return self._load(row.task, port, pid, row.connections, row.size, seconds)
        return self._load(row.task, port, pid, row.connections, row.size, row.in_flight, seconds)

    def _load(self, *arguments: object) -> list[str]:
        return [str(self._folder / "load"), *map(str, arguments)]

    @contextlib.contextmanager
    def _serving(
        self, command: list[str], arguments: list[str], core: int, environment: dict[str, str] | None = None
    ) -> Iterator[tuple[int, int]]:
        """A server's process and its port."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        with tempfile.TemporaryFile() as errors:
            process = self._start([*command, str(port), *arguments], core, errors, environment)
            try:
                _wait_for(port, process, errors)
                yield process.pid, port
            finally:
                process.kill()
                process.communicate()

    def _start(
        self, command: list[str], core: int, errors: IO[bytes], environment: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        os.sched_setaffinity(process.pid, {core})
        return process

    def _cpu(self, command: list[str], core: int, environment: dict[str, str] | None = None) -> float:
        """Run what measures, and return the microseconds of CPU time for each of what it counted."""
        with tempfile.TemporaryFile() as errors:
            process = self._start(command, core, errors, environment)
            try:
                output, _ = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                raise MeasuringError(f"no figure after {PATIENCE:.0f} seconds") from None
            finally:
                process.kill()
                process.communicate()
            if process.returncode != 0:
                raise MeasuringError(_last_line(errors) or f"exit status {process.returncode}")
        count, _, cpu = output.split()
        return 1e6 * float(cpu) / int(count)

    def _memory(self, pid: int, command: list[str]) -> float:
        """The kilobytes that a connection adds."""
        before = _resident(pid)
        with tempfile.TemporaryFile() as errors:
            process = self._start(command, self._other_core, errors)
            try:
                assert process.stdout is not None
                if process.stdout.readline() != "open\n":
                    raise MeasuringError(_last_line(errors) or "the connections did not open")
                time.sleep(SETTLING)
                return (_resident(pid) - before) / int(command[3]) / 1000
            finally:
                process.kill()
                process.communicate()


def _wait_for(port: int, process: subprocess.Popen[str], errors: IO[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.01)
    raise MeasuringError(_last_line(errors) or "the server did not start")


def _last_line(errors: IO[bytes]) -> str:
    errors.seek(0)
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else ""


def _resident(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()
