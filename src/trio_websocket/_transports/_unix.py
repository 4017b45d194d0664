"""Listening on a Unix socket: its file has the right mode before anyone can connect, and goes when the server goes.

Theory of operation
    A file that nobody listens on any more may be taken away, but to look and to take away are two steps. So servers that
    start or end in one directory do it one after the other: the directory is locked (flock) meanwhile. The lock leaves
    nothing behind, and nobody waits for it when ending: then the file stays, and the next server replaces it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator

import trio

if sys.platform != "win32":
    import fcntl

__all__ = ["UnixPath", "check_unix_path", "listening_on_unix"]

UnixPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

# The system cuts it down to what it allows.
_BACKLOG = 65535

# Seconds until another look at a directory that somebody has locked.
_PATIENCE = 0.01


def check_unix_path(path: UnixPath) -> str:
    """Give a Unix socket's path as a text.

    Raises:
        ValueError: It is empty, or has a null byte: abstract sockets have no permissions.
        RuntimeError: The platform has no Unix sockets.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise RuntimeError("this platform has no Unix sockets")
    name = os.fsdecode(path)
    if not name or "\0" in name:
        raise ValueError(f"{name!a} is no path of a Unix socket")
    return name


@contextlib.asynccontextmanager
async def listening_on_unix(path: UnixPath, mode: int) -> AsyncIterator[trio.SocketListener]:
    """Listen on a Unix socket for the length of an `async with` block.

    Args:
        path: Where its file will be. One that nobody listens on is replaced.
        mode: The file's permissions, whatever the umask: who may write may connect.

    Raises:
        OSError: EADDRINUSE if a server listens there already, EEXIST if something else stands there, or the directory
            can't be written to.

    Leaving the block closes the socket and removes the file, if it is still the same.
    """
    name = check_unix_path(path)
    if not 0 <= mode <= 0o777:
        raise ValueError(f"mode={mode:#o} is not between 0 and 0o777")
    place, base = os.path.split(name)
    # All that is done with the file goes by way of this, so the program may change its own directory.
    folder = os.open(place or ".", os.O_RDONLY)
    try:
        await _lock(folder)
        try:
            _remove_stale(name, base, folder)
            sock = _listen(name, mode)
            identity = _identity(base, folder)
        finally:
            fcntl.flock(folder, fcntl.LOCK_UN)
        try:
            yield trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        finally:
            sock.close()
            _remove_own(base, folder, identity)
    finally:
        os.close(folder)


async def _lock(folder: int) -> None:
    while not _is_locked(folder):  # noqa: ASYNC110 # the kernel tells nobody
        await trio.sleep(_PATIENCE)


def _is_locked(folder: int) -> bool:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_stale(name: str, base: str, folder: int) -> None:
    """Remove the file of a server that was killed."""
    try:
        status = os.lstat(base, dir_fd=folder)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.EEXIST, "there is a file that is no socket", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            os.unlink(base, dir_fd=folder)
            return
        except BlockingIOError:
            # Its queue is full.
            pass
        except OSError as error:
            raise OSError(
                error.errno, f"cannot tell whether a server listens there: {error.strerror}", name
            ) from error
    raise OSError(errno.EADDRINUSE, "a server listens there already", name)


def _listen(name: str, mode: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # On Linux the file has no more permissions than that from the first moment. Elsewhere that is not possible; but
        # nobody gets to connect before `listen`.
        with contextlib.suppress(OSError):
            os.fchmod(sock.fileno(), mode)
        sock.bind(name)
        try:
            os.chmod(name, mode)
            sock.listen(_BACKLOG)
        except OSError:
            os.unlink(name)
            raise
    except OSError as error:
        sock.close()
        # A path that is too long has no number.
        number = error.errno or errno.ENAMETOOLONG
        raise OSError(number, f"cannot listen on a Unix socket: {error.strerror or error}", name) from error
    return sock


def _identity(base: str, folder: int) -> tuple[int, int, int]:
    status = os.lstat(base, dir_fd=folder)
    # The number of a file that is gone may be another's by now; it will not be as old.
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _remove_own(base: str, folder: int, identity: tuple[int, int, int]) -> None:
    # Somebody may be replacing it already, or have removed it.
    with contextlib.suppress(OSError):
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _identity(base, folder) == identity:
            os.unlink(base, dir_fd=folder)
