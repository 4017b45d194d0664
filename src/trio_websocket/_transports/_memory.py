"""How much of the memory that is free the process keeps, rather than give it back to the system and ask for it again.

glibc gives what lies at the end of its heap back as soon as that is over 128 KiB, and maps what is larger anew each time. What
comes anew is cleared and mapped page by page, at its first use: a client that echoes a megabyte spends nearly half of its time
on that. glibc learns from what it sees, though (mallopt(3), M_MMAP_THRESHOLD): when a mapped block is freed, blocks up to
its size are taken from the heap from then on, and twice as much stays at the end of that. So it is shown one.
"""

from __future__ import annotations

import functools

__all__ = ["keep_freed_memory"]

# Some messages of the largest size that is accepted by default. Up to twice as much may be kept.
_BLOCK = 4 * 2**20


@functools.cache
def keep_freed_memory() -> None:
    """Have up to 8 MiB kept, in the whole process, by those that use glibc and have not decided about it; once."""
    # Mapped, and freed at once; nothing is written to it, so it costs no memory.
    bytes(_BLOCK)
