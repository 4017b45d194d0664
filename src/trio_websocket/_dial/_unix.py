"""A connection to a Unix socket, and what is said when there is none."""

from __future__ import annotations

import os
import socket
import stat

import trio

from trio_websocket._endpoint import name_of_unix
from trio_websocket._exceptions import ConnectionFailed
from trio_websocket._transports import check_unix_path

__all__ = ["open_unix"]

# Seconds until another try with a server whose queue is full.
_PATIENCE = 0.01


async def open_unix(path: str) -> trio.SocketStream:
    """Connect to a Unix socket.

    Raises:
        ConnectionFailed: There was no connecting; the message has the path and the reason.

    If cancelled, nothing is left open.
    """
    await trio.lowlevel.checkpoint()
    try:
        name = check_unix_path(path)
    except RuntimeError as error:
        raise ConnectionFailed(f"cannot connect to {name_of_unix(path)}: {error}") from error
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while not _is_connected(sock, name):  # noqa: ASYNC110 # nothing tells when there is room
            await trio.sleep(_PATIENCE)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise ConnectionFailed(
                f"cannot connect to {name_of_unix(path)}: {_explain(error, name)}"
            ) from error
        raise
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))


def _is_connected(sock: socket.socket, name: str) -> bool:
    try:
        sock.connect(name)
    except BlockingIOError:
        return False
    return True


def _explain(error: OSError, name: str) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens on it" if _is_socket(name) else "it is no socket"
    # A path that is too long has no number.
    return error.strerror or str(error)


def _is_socket(name: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(name).st_mode)
    except OSError:
        # It has gone meanwhile.
        return True
