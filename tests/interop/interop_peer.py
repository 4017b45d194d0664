"""Starts a peer program of `peers/`, and talks to it in the language that `peers/peer_control.py` describes."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import trio
from certificates import CertificateFiles

FOLDER = Path(__file__).parent
# Far above what any answer takes: reached only when something hangs.
ANSWER_TIMEOUT = 30.0


class PeerProcess:
    """A peer in a process of its own, which serves, and connects when asked to."""

    def __init__(self, command: list[str], files: CertificateFiles) -> None:
        self._process = subprocess.Popen(
            [*command, str(files.ca), str(files.certificate), str(files.key)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.ports: dict[str, int] = self._answer()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _answer(self) -> dict[str, Any]:
        line = self._lines.get(timeout=ANSWER_TIMEOUT)
        assert line, f"the peer ended with status {self._process.wait()}; its stderr tells why"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(json.dumps(command), file=self._process.stdin, flush=True)
        return self._answer()

    async def connect(self, url: str, subprotocols: list[str]) -> None:
        """Have it connect to `url`."""
        await trio.to_thread.run_sync(self._ask, {"do": "connect", "url": url, "subprotocols": subprotocols})

    async def outcome(self, path: str) -> dict[str, Any]:
        """Wait until its connection at `path` has ended; return what it knows of the close."""
        return await trio.to_thread.run_sync(self._ask, {"do": "outcome", "path": path})

    def stop(self) -> None:
        """End it, and wait for that."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(ANSWER_TIMEOUT)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            self._process.stdout.close()


def peer_command(name: str) -> list[str]:
    """Return the command line of the peer `websockets`, `aiohttp` or `node`."""
    if name != "node":
        return [sys.executable, str(FOLDER / "peers" / f"{name}_peer.py")]
    return [shutil.which("node") or "node", str(FOLDER / "peers" / "ws_peer.mjs")]
