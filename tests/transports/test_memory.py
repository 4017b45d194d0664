"""How much freed memory the process keeps."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from trio_websocket._transports._memory import keep_freed_memory

def usage():
    return resource.getrusage(resource.RUSAGE_SELF)

before = usage()
keep_freed_memory()
assert usage().ru_maxrss - before.ru_maxrss < 1024, "it is not free"
before = usage()
for _ in range(100):
    # Received, and sent with a mask.
    message = bytearray(2**20)
    masked = bytearray(message)
    del message, masked
print(usage().ru_minflt - before.ru_minflt)
"""


def count_page_faults() -> int:
    """How often a process has to be given memory while it handles a hundred large messages."""
    # Who has decided about it is left alone. A sanitizer brings an allocator of its own, for the kernel that it looks after.
    undecided = ("MALLOC_", "GLIBC_", "LD_PRELOAD")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(undecided)}
    environ["TRIO_WEBSOCKET_KERNEL"] = "plain"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other ways")
def test_memory_of_large_messages_is_used_again() -> None:
    pages = 2 * 100 * 2**20 // os.sysconf("SC_PAGE_SIZE")
    assert count_page_faults() < pages / 20
