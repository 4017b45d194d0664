"""A byte stream over the binary messages of a WebSocket connection."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import trio

from trio_websocket._connection._streaming import MessageParts, leave
from trio_websocket._connection._websocket import WebSocketConnection
from trio_websocket._exceptions import ConnectionClosed
from trio_websocket._kernel import Buffer
from trio_websocket.protocol._close import NORMAL_CODES

__all__ = ["WebSocketStream"]

# Far under any limit that a peer may have for a message.
_MAX_MESSAGE = 2**16


class WebSocketStream(trio.abc.Stream):
    """A stream of bytes over a connection's binary messages, for whatever runs over a `trio.abc.Stream`, such as TLS.

    Where one message ends and another begins has no meaning: each `send_all` is one or more messages of up to 64 KiB, empty ones
    are passed over, and a large message is received in parts. There is no `send_eof`: WebSocket closes both directions at once.

    The peer's normal close, with 1000 or 1001 or without a code, is the end of the stream. After any other end, its methods raise
    `trio.BrokenResourceError`, whose cause is the `ConnectionClosed`. A text message is an error: the connection ends with 1003.

    Args:
        connection: The stream's from now on: nobody else should send or receive messages.
    """

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self._link = connection._link
        self._is_closed = False
        self._is_sending = False
        self._is_receiving = False
        self._parts: MessageParts | None = None  # of the message that is being received
        self._rest = memoryview(b"")  # of its latest part

    @property
    def connection(self) -> WebSocketConnection:
        """The connection."""
        return self._connection

    # ---------------------------------------------------------------------------------------------------- sending

    async def send_all(self, data: Buffer) -> None:
        """Send bytes.

        Raises:
            trio.BusyResourceError: Another task is sending.
            trio.BrokenResourceError: The connection is closed.
            trio.ClosedResourceError: The stream was closed on our side.

        If cancelled, some of the bytes may have been sent.
        """
        with self._sending(), memoryview(data) as view, view.cast("B") as whole:
            await trio.lowlevel.checkpoint()
            for start in range(0, len(whole), _MAX_MESSAGE):
                await self._connection.send_message(whole[start : start + _MAX_MESSAGE])

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until no more than `write_backlog` bytes wait for the peer; raises what `send_all` raises."""
        with self._sending():
            await trio.lowlevel.checkpoint()
            await self._link.wait_room_to_send()

    @contextlib.contextmanager
    def _sending(self) -> Iterator[None]:
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending")
        self._check_not_closed()
        self._is_sending = True
        try:
            yield
        except ConnectionClosed as error:
            raise self._explain(error) from error
        finally:
            self._is_sending = False

    # -------------------------------------------------------------------------------------------------- receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive bytes: as many as there are, up to `max_bytes`; none at the end of the stream.

        Raises:
            ValueError: `max_bytes` is less than 1.
            trio.BusyResourceError: Another task is receiving.
            trio.BrokenResourceError: The connection has not ended normally, or a text message came.
            trio.ClosedResourceError: The stream was closed on our side.

        Cancelling is safe: no byte is lost.
        """
        if max_bytes is not None:
            if not isinstance(max_bytes, int):
                raise TypeError(f"max_bytes must be an int, not {type(max_bytes).__name__}")
            if max_bytes < 1:
                raise ValueError(f"max_bytes={max_bytes} is less than 1")
        if self._is_receiving:
            raise trio.BusyResourceError("another task is receiving")
        self._check_not_closed()
        self._is_receiving = True
        try:
            await trio.lowlevel.checkpoint()
            if not self._rest:
                self._rest = memoryview(await self._receive_part())
        finally:
            self._is_receiving = False
        data = bytes(self._rest[:max_bytes])
        self._rest = self._rest[len(data) :]
        return data

    async def _receive_part(self) -> bytes:
        try:
            while True:
                if self._parts is None:
                    self._parts = await self._connection.receive_fragments().__aenter__()
                async for part in self._parts:
                    if isinstance(part, str):
                        raise self._refuse_text()
                    if part:
                        return part
                self._leave()
        except ConnectionClosed as error:
            is_normal = error.reason is not None and error.reason.code in NORMAL_CODES
            # A message that was broken off is no end, whatever the close frame says.
            if is_normal and self._parts is None and not self._is_closed:
                return b""
            raise self._explain(error) from error

    def _leave(self) -> None:
        if self._parts is not None:
            leave(self._parts)
            self._parts = None

    def _refuse_text(self) -> trio.BrokenResourceError:
        if self._link.is_open:
            # RFC 6455 §7.4.1: 1003 is for a type of data that can't be accepted.
            self._link.fail(1003, "a stream takes binary messages only")
        return trio.BrokenResourceError("the peer sent a text message, and a stream takes binary ones only")

    # ---------------------------------------------------------------------------------------------------- closing

    async def aclose(self) -> None:
        """Close the connection, as `WebSocketConnection.aclose` does, normally. May be called again."""
        self._is_closed = True
        self._rest = memoryview(b"")
        self._leave()
        await self._connection.aclose()

    def _check_not_closed(self) -> None:
        if self._is_closed:
            raise _closed()

    def _explain(self, error: ConnectionClosed) -> trio.ClosedResourceError | trio.BrokenResourceError:
        return _closed() if self._is_closed else trio.BrokenResourceError(str(error))


def _closed() -> trio.ClosedResourceError:
    return trio.ClosedResourceError("the stream was closed")
