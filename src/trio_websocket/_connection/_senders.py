"""The line of those that wait to send a message: it forms when somebody has to wait, or sends one in parts."""

from __future__ import annotations

from typing import Final

import trio

from trio_websocket._connection._link import Link
from trio_websocket.protocol import Message

__all__ = ["MESSAGE_TYPES", "end_turn", "not_a_message", "send_message_in_turn", "take_turn"]

MESSAGE_TYPES: Final = (str, bytes, bytearray, memoryview)


def not_a_message(message: object) -> ValueError:
    """The error for what is of another type."""
    # ValueError, as the predecessor has it.
    return ValueError(f"a message is str, bytes, bytearray or memoryview, not {type(message).__name__}")


async def send_message_in_turn(link: Link, message: Message, compress: bool | None) -> None:
    """Hand a message over: at once if nobody waits and there is room, else after those that wait, when there is.

    Raises:
        ValueError: It is none.
        ConnectionClosed: The connection is closed or closing. Cancelling is safe: nothing was sent.
    """
    if not link.is_open:
        raise link.make_closed()
    if not isinstance(message, MESSAGE_TYPES):
        raise not_a_message(message)
    if link.senders is None and link.has_room_to_send():
        link.send_message(message, compress)
        return
    lock = await take_turn(link)
    try:
        await link.wait_room_to_send()
        link.send_message(message, compress)
    finally:
        end_turn(link, lock)


async def take_turn(link: Link) -> trio.StrictFIFOLock:
    """Wait for those that wait already, and let those that follow wait until `end_turn`. Cancelling is safe."""
    lock = link.senders
    if lock is None:
        lock = link.senders = trio.StrictFIFOLock()
    try:
        await lock.acquire()
    except BaseException:
        _forget(link, lock)
        raise
    return lock


def end_turn(link: Link, lock: trio.StrictFIFOLock) -> None:
    """Let the next one send."""
    lock.release()
    _forget(link, lock)


def _forget(link: Link, lock: trio.StrictFIFOLock) -> None:
    # Whoever waits for a lock owns it as soon as it is released. Who was cancelled comes late: there may be another by now.
    if link.senders is lock and not lock.locked():
        link.senders = None
