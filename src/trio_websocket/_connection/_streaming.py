"""Messages that are sent or received in parts, so that they may be larger than memory, or not be there yet."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from types import TracebackType
from typing import Final

import trio

from trio_websocket._connection._link import Link
from trio_websocket._connection._parts import PartQueue
from trio_websocket._connection._senders import MESSAGE_TYPES, end_turn, not_a_message, take_turn
from trio_websocket._transports import CALLS_A_TURN, Pace
from trio_websocket.protocol import Message

__all__ = ["MessageParts", "PartsReceiver", "leave", "send_in_fragments"]

# A larger part is cut, so that pings, pongs and a close get between, and the peer's slowness is felt.
_MAX_FRAGMENT: Final = 2**16

_END: Final = object()


class PartsReceiver:
    """What `WebSocketConnection.receive_fragments` gives: to be entered once, by `async with`."""

    def __init__(self, link: Link, pace: Pace) -> None:
        self._link = link
        self._pace = pace
        self._parts: MessageParts | None = None

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> MessageParts:
        """Wait for a message to begin."""
        if self._parts is not None:
            raise RuntimeError("receive_fragments() has to be called for each message")
        link, inbox = self._link, self._link.inbox
        await trio.lowlevel.checkpoint_if_cancelled()
        received: str | bytes | PartQueue | None
        if inbox.messages:
            received = link.take()
        elif not link.session.is_open:
            raise link.make_closed()
        else:
            received = _begin(link)
            if received is None:
                received = await inbox.wait_in_parts()
        queue = received if isinstance(received, PartQueue) else inbox.hold_whole(received)
        self._pace.calls_left = CALLS_A_TURN
        self._parts = MessageParts(link, queue, self._pace)
        return self._parts

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Have the rest of the message dropped as it comes. No checkpoint."""
        assert self._parts is not None
        leave(self._parts)


class MessageParts:
    """The parts of one received message, as they come: `str` of a text message, `bytes` of a binary one.

    You get it from `WebSocketConnection.receive_fragments`, and take the parts with `async for`. Where a message is cut is the
    network's business: a part is not what the peer sent as one fragment. None is empty, unless the whole message is.
    """

    def __init__(self, link: Link, queue: PartQueue, pace: Pace) -> None:
        self._link = link
        self._queue = queue
        self._pace = pace

    def __aiter__(self) -> MessageParts:
        """Take the parts until the message is whole."""
        return self

    @trio.lowlevel.enable_ki_protection
    async def __anext__(self) -> str | bytes:
        """Take the next part; the iteration ends when the message is whole.

        Raises:
            ConnectionClosed: The connection is closed, and the message will not be whole.
            trio.BusyResourceError: Another task waits for a part of this message.
            trio.ClosedResourceError: The block was left.

        Cancelling is safe: no part is lost.
        """
        link, queue = self._link, self._queue
        await trio.lowlevel.checkpoint_if_cancelled()
        while not queue.parts:
            if queue.is_left:
                raise trio.ClosedResourceError("the block that received this message was left")
            if queue.is_whole:
                raise StopAsyncIteration
            if not link.session.is_open:
                raise link.make_closed()
            await queue.wait()
        was_full = link.inbox.messages.is_full
        part = link.inbox.take_part(queue)
        if was_full:
            link.pull()
        if self._pace.is_due():
            await trio.lowlevel.cancel_shielded_checkpoint()
        return part


@trio.lowlevel.enable_ki_protection
def leave(parts: MessageParts) -> None:
    """Have the rest of the message dropped as it comes."""
    parts._link.inbox.leave_parts(parts._queue)
    parts._link.pull()


def _begin(link: Link) -> PartQueue | None:
    """Have the message that has begun already given in parts, unless it is somebody else's."""
    inbox = link.inbox
    if inbox.is_anyone_waiting or inbox.parts is not None or not link.session.stream_message():
        return None
    queue = inbox.begin_parts()
    link.pull()
    return queue


async def send_in_fragments(
    link: Link, fragments: Iterable[Message] | AsyncIterable[Message], compress: bool | None, pace: Pace
) -> None:
    """Send a message in parts, one or more frames for each, while those that want to send a message wait.

    Nothing is looked ahead: a part leaves when it is there. So the last frame is an empty one.
    """
    if isinstance(fragments, MESSAGE_TYPES):
        # ValueError, as for a message of the wrong type.
        raise ValueError(  # noqa: TRY004
            f"fragments must be an iterable of parts, not one {type(fragments).__name__}"
        )
    parts = aiter(fragments) if isinstance(fragments, AsyncIterable) else iter(fragments)
    part = await _next(parts)
    if part is _END:
        raise ValueError("no fragments: the first one has to tell whether the message is text or binary")
    end = "" if isinstance(part, str) else b""
    lock = await take_turn(link)
    has_begun = False
    try:
        while part is not _END:
            for piece in _cut(part):
                await link.wait_room_to_send()
                link.send_fragment(piece, compress, is_final=False)
                has_begun = True
                if pace.is_due():
                    await trio.lowlevel.checkpoint()
            part = await _next(parts)
        if not link.is_open:
            raise link.make_closed()
        link.send_fragment(end, compress, is_final=True)
    except BaseException:
        if has_begun and link.is_open:
            link.fail(1011, "fragmented message broken off")
        raise
    finally:
        end_turn(link, lock)


@trio.lowlevel.disable_ki_protection
async def _next(parts: Iterator[Message] | AsyncIterator[Message]) -> object:
    """Take the caller's next part, or `_END`: code of his, which Ctrl-C may interrupt."""
    if isinstance(parts, AsyncIterator):
        return await anext(parts, _END)
    return next(parts, _END)


def _cut(part: object) -> Iterator[Message]:
    if not isinstance(part, MESSAGE_TYPES):
        raise not_a_message(part)
    if isinstance(part, memoryview):
        part = part.cast("B") if part.c_contiguous else part.tobytes()
    if len(part) <= _MAX_FRAGMENT:
        yield part
        return
    whole = part if isinstance(part, str) else memoryview(part)
    for start in range(0, len(whole), _MAX_FRAGMENT):
        yield whole[start : start + _MAX_FRAGMENT]
