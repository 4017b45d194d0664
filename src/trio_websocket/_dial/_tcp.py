"""A TCP connection, and what is said when there is none."""

from __future__ import annotations

import os
import socket
import sys

import trio

from trio_websocket._exceptions import ConnectionFailed

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = ["connect_tcp", "look_up", "open_tcp"]

# RFC 8305 §5: the recommended delay before the next address is tried as well.
_ATTEMPT_DELAY = 0.25

_LOOKUP_ERRORS = {
    socket.EAI_NONAME: "there is no such host",
    getattr(socket, "EAI_NODATA", None): "the host has no address",
    socket.EAI_AGAIN: "the name servers do not answer",
}


async def open_tcp(host: str, port: int) -> trio.abc.Stream:
    """Look a host up, and connect to it.

    Raises:
        ConnectionFailed: There was no connecting.

    If cancelled, nothing is left open.
    """
    return await connect_tcp(host, port, await look_up(host, port))


async def look_up(host: str, port: int) -> list[str]:
    """Give a host's addresses in the order in which to try them; there is at least one.

    Raises:
        ConnectionFailed: It has none.
    """
    try:
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        words = _LOOKUP_ERRORS.get(error.errno) if isinstance(error, OSError) else None
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        text = f"{words} ({reason})" if words else reason
        raise ConnectionFailed(f"cannot look up {host}: {text}") from error
    # RFC 8305 §4: the first two are of both families, if there are both.
    for index, entry in enumerate(found):
        if entry[0] != found[0][0]:
            found.insert(1, found.pop(index))
            break
    return list(dict.fromkeys(_address(entry[4]) for entry in found))


def _address(name: tuple[object, ...]) -> str:
    address, scope = str(name[0]), name[3] if len(name) > 3 else 0
    # RFC 4007 §11: without its zone, a link-local address leads nowhere.
    return f"{address}%{scope}" if scope and "%" not in address else address


async def connect_tcp(host: str, port: int, addresses: list[str]) -> trio.abc.Stream:
    """Connect to one of a host's addresses: to that which answers first (RFC 8305).

    Args:
        host: Whose they are, for the error.
        port: The TCP port.
        addresses: In the order in which to try them.

    Raises:
        ConnectionFailed: There was no connecting.

    If cancelled, nothing is left open.
    """
    failures: dict[str, OSError] = {}
    try:
        # Most often there is one, and nothing to race.
        stream = await (
            _connect(addresses[0], port, failures)
            if len(addresses) == 1
            else _race(addresses, port, failures)
        )
    except BaseExceptionGroup as group:
        error: BaseException = group.split(trio.Cancelled)[1] or group
    else:
        if stream is None:
            raise ConnectionFailed(
                f"cannot connect to {host} port {port}: {_explain(failures)}"
            ) from failures[addresses[0]]
        return stream
    # Trio and we race in nurseries. Our caller sees no group: the one error in it, or else the one cancellation.
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    raise error


async def _race(addresses: list[str], port: int, failures: dict[str, OSError]) -> trio.abc.Stream | None:
    winner: trio.abc.Stream | None = None

    async def attempt(address: str, has_failed: trio.Event) -> None:
        nonlocal winner
        stream = await _connect(address, port, failures)
        if stream is None:
            has_failed.set()
        elif winner is None:
            winner = stream
            nursery.cancel_scope.cancel()
        else:
            await trio.aclose_forcefully(stream)

    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                has_failed = trio.Event()
                nursery.start_soon(attempt, address, has_failed)
                with trio.move_on_after(_ATTEMPT_DELAY):
                    await has_failed.wait()
    except BaseException:
        if winner is not None:
            await trio.aclose_forcefully(winner)
        raise
    return winner


async def _connect(address: str, port: int, failures: dict[str, OSError]) -> trio.abc.Stream | None:
    """Connect to one address, or note why not."""
    try:
        return await trio.open_tcp_stream(address, port)
    except OSError as error:
        failures[address] = error
        return None


def _explain(failures: dict[str, OSError]) -> str:
    reasons = {address: _reason(error) for address, error in failures.items()}
    if len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    return "; ".join(f"{address}: {reason}" for address, reason in reasons.items())


def _reason(error: BaseException) -> str:
    """What the system says, at the bottom of what Trio raises."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):
        return _reason(cause.exceptions[0])
    if isinstance(error, OSError) and error.errno is not None:
        # Without the address, which Trio's own text has.
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
