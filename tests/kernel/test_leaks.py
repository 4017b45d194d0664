"""`tools/leaks.py`, in short: nothing leaks, and what did would be seen."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
LEAKING = """
import leaks
kept = []
write, leaks.write = leaks.write, lambda kernel: (write(kernel), kept.append(bytes(8)))
raise SystemExit(leaks.main())
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallinfo2"),
        reason="memory is counted by glibc's mallinfo2",
    ),
]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONMALLOC": "malloc"}
    return subprocess.run(
        [sys.executable, *command], cwd=TOOLS, env=env, capture_output=True, text=True, check=False
    )


def test_memory_is_flat(compiled: ModuleType) -> None:
    done = run("leaks.py", "0.02")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("leaks: none, memory is flat\n")


def test_one_object_that_is_lost_in_each_round_is_seen(compiled: ModuleType) -> None:
    done = run("-c", LEAKING, "0.02")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "leaks: memory has grown by" in done.stdout
