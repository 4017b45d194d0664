"""A WebSocket that outlives its connections: what may be called on it. `_keeper` has those."""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from trio_websocket._exceptions import CloseReason, ConnectionClosed
from trio_websocket._kernel import Buffer
from trio_websocket._options import ClientOptions
from trio_websocket._reconnect._keeper import Keeper, OnConnect, OnOutage, Outage, State
from trio_websocket._reconnect._retry import DEFAULT_BACKOFF, Retries, ShouldRetry, make_dial
from trio_websocket.protocol import Message
from trio_websocket.protocol._backoff import Backoff
from trio_websocket.protocol._close import describable_close

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["ReconnectingWebSocket", "open_reconnecting_websocket_url"]


class ReconnectingWebSocket:
    """A client's WebSocket that stays valid when its connection is lost and replaced.

    You get one from `open_reconnecting_websocket_url`. Any number of tasks may send and receive, as on a
    `WebSocketConnection`; and as there, a cancelled call has done nothing.

    During an outage, calls wait for the next connection with `on_outage="wait"`, and raise `ConnectionInterrupted` with
    `on_outage="raise"`. `ConnectionClosed` means that it is over for good: it was closed, or given up.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._senders = trio.StrictFIFOLock()  # held by whoever came first in an outage

    def __repr__(self) -> str:
        return f"<ReconnectingWebSocket {self._keeper.name} {self.state}>"

    @property
    def state(self) -> State:
        """`"connected"`; `"waiting"` before another try and `"connecting"` during it; `"closed"` for good."""
        return self._keeper.state

    @property
    def outages(self) -> tuple[Outage, ...]:
        """The times without a connection since the first one, the oldest first: the latest hundred of them."""
        self._keeper.look()
        return tuple(self._keeper.outages)

    # -------------------------------------------------------------------------------------------------- calls

    @trio.lowlevel.enable_ki_protection
    async def send_message(self, message: Message, *, compress: bool | None = None) -> None:
        """Send a message: `str` as text, bytes-like data as binary.

        When it returns, the message was handed to a connection that was open. It is sent once, by that connection: if that is
        lost before the message is out, `Outage.unconfirmed` counts it, and nobody sends it again.

        Args:
            message: As for `WebSocketConnection.send_message`.
            compress: The same.

        Raises:
            ValueError: `message` is of another type, or text that has no UTF-8 form.
            ConnectionInterrupted: There is no connection, with `on_outage="raise"`; nothing was sent.
            ConnectionClosed: It is over; nothing was sent.

        Cancelling is safe: a cancelled call has sent nothing. Several tasks may send; those that have to wait are served in
        the order in which they came.
        """
        if not self._senders.locked() and await self._try_to_send(message, compress):
            return
        async with self._senders:
            while not await self._try_to_send(message, compress):
                await self._keeper.wait_for_connection()

    async def _try_to_send(self, message: Message, compress: bool | None) -> bool:
        ws, traffic = self._keeper.look(), self._keeper.traffic
        if ws is None:
            return False
        try:
            await ws.send_message(message, compress=compress)
        except ConnectionClosed:
            # Nothing was handed over, so the next connection may have it.
            return False
        traffic.sent += 1
        return True

    @trio.lowlevel.enable_ki_protection
    async def get_message(self) -> str | bytes:
        """Receive a message: `str` for text, `bytes` for binary.

        What a connection had received before it was lost comes first.

        Raises:
            ConnectionInterrupted: There is no connection, with `on_outage="raise"`.
            ConnectionClosed: It is over: at once if we closed it, else after the last message.

        Cancelling is safe: no message is lost. Several tasks may receive.
        """
        while True:
            ws = self._keeper.look()
            if self._keeper.left_over:
                await trio.lowlevel.checkpoint()
                if self._keeper.left_over:
                    return self._keeper.left_over.popleft()
            elif ws is None:
                await self._keeper.wait_for_connection()
            else:
                try:
                    return await ws.get_message()
                except ConnectionClosed:
                    pass  # The next look takes it in.
                except BaseException:
                    self._keeper.take_back(ws)
                    raise

    def __aiter__(self) -> ReconnectingWebSocket:
        """Receive messages over all connections."""
        return self

    async def __anext__(self) -> str | bytes:
        """Receive the next message; the iteration ends when it was closed with code 1000, or without a code.

        Raises:
            ConnectionInterrupted: As `get_message`.
            ConnectionClosed: It is over for another reason.
        """
        try:
            return await self.get_message()
        except ConnectionClosed as error:
            if error.reason is not None and error.reason.code in (1000, 1005):
                raise StopAsyncIteration from None
            raise

    @trio.lowlevel.enable_ki_protection
    async def ping(self, payload: Buffer | None = None) -> float:
        """Send a ping and wait for its pong; if the connection is lost meanwhile, ping the next one.

        All messages that were sent before are known to have arrived then.

        Args:
            payload: At most 125 bytes; None for four random ones.

        Returns:
            The seconds from ping to pong.

        Raises:
            ValueError: The payload is too long, or a ping with the same one waits already.
            ConnectionInterrupted: There is no connection, with `on_outage="raise"`.
            ConnectionClosed: It is over.

        Cancelling is safe; the ping may have been sent. Several tasks may ping.
        """
        while True:
            ws, traffic = self._keeper.look(), self._keeper.traffic
            if ws is None:
                await self._keeper.wait_for_connection()
                continue
            sent = traffic.sent
            try:
                latency = await ws.ping(payload)
            except ConnectionClosed:
                continue
            traffic.confirmed = max(sent, traffic.confirmed)
            return latency

    async def wait_connected(self) -> None:
        """Wait until there is a connection, whatever `on_outage` says. Cancelling is safe; several tasks may wait.

        Raises:
            ConnectionClosed: It is over.
        """
        await self._keeper.wait_connected()

    @trio.lowlevel.enable_ki_protection
    async def aclose(self, code: int = 1000, reason: str | None = None) -> None:
        """Close for good; messages that were not received are dropped.

        Args:
            code: As for `WebSocketConnection.aclose`.
            reason: A text for people, cut at 123 bytes of UTF-8.

        Raises:
            ValueError: The code has no meaning; it is closed with 1000 all the same.

        May be called again, and by several tasks. If cancelled, the transport is closed at once.
        """
        try:
            said = CloseReason(*describable_close(code, reason))
        except ValueError:
            await self._keeper.close(CloseReason(1000, None))
            raise
        await self._keeper.close(said)


class _Block(AbstractAsyncContextManager[ReconnectingWebSocket]):
    """The length of an `async with` block."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> ReconnectingWebSocket:
        await self._keeper.enter()
        return ReconnectingWebSocket(self._keeper)

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_value is None:
            await self._keeper.leave()
        else:
            await self._keeper.leave_soon()


def open_reconnecting_websocket_url(
    url: object,
    ssl_context: ssl.SSLContext | None = None,
    *,
    on_connect: OnConnect | None = None,
    on_outage: OnOutage = "wait",
    backoff: Backoff = DEFAULT_BACKOFF,
    should_retry: ShouldRetry | None = None,
    **options: Unpack[ClientOptions],
) -> AbstractAsyncContextManager[ReconnectingWebSocket]:
    """Stay connected to a URL for the length of an `async with` block.

    Args:
        on_connect: Called with each new connection, the first one included, before anything else is sent on it: to log in, to
            subscribe again. It has `connect_timeout` seconds. `ConnectionClosed` of that connection counts as its loss; any
            other exception ends it all, as it is a bug.
        on_outage: Whether calls wait for the next connection, or raise `ConnectionInterrupted`.
        backoff: How long to wait between tries, and when to give up.
        should_retry: Told the `HandshakeError` or `ConnectionClosed`, says whether to go on; None for `is_worth_retrying`.

    Everything else is as for `open_websocket_url`.

    Returns:
        An async context manager that gives a `ReconnectingWebSocket`, once the first connection is there.

    Raises:
        ValueError: At the call: an argument can't be right.
        HandshakeError: On entering: there was no connecting, and it is not worth another try, or was the last one.
        ConnectionClosed: On entering: the same, if it was `on_connect` that found the connection closed.
        DisconnectionTimeout: On leaving, if the block itself raised nothing: not closed within `disconnect_timeout`.

    What the block raises comes out as it is. If it raises, or is cancelled, closing takes at most two seconds.
    """
    if on_outage not in ("wait", "raise"):
        raise ValueError(f'on_outage={on_outage!r} is neither "wait" nor "raise"')
    dial = make_dial(url, ssl_context, options)
    return _Block(Keeper(dial, Retries(url, backoff, should_retry), on_connect, on_outage, options))
