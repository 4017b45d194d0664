"""One WebSocket connection, as tasks see it.

A send waits for room, where it may be cancelled; then the message is encoded and handed to the transport without a
checkpoint in between. A receive takes a message and then may yield, but is not cancelled any more. So what a cancelled call
has done is either nothing or all of it. The same goes for Ctrl-C, which Trio delivers at checkpoints alone where that is asked for.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import trio

from trio_websocket._connection._link import Link
from trio_websocket._connection._senders import send_message_in_turn
from trio_websocket._connection._streaming import MessageParts, PartsReceiver, send_in_fragments
from trio_websocket._endpoint import Endpoint
from trio_websocket._exceptions import CloseReason, ConnectionClosed
from trio_websocket._kernel import Buffer
from trio_websocket._transports import CALLS_A_TURN, pace_of_this_run
from trio_websocket.protocol import Headers, Message, PerMessageDeflate, Role
from trio_websocket.protocol._close import NORMAL_CODES, describable_close
from trio_websocket.protocol._frames import check_control_payload
from trio_websocket.protocol._handshake import OpeningAnswer, OpeningRequest

__all__ = ["CANCEL_GRACE", "WebSocketConnection", "close_decently", "close_soon", "guard"]

logger = logging.getLogger("trio-websocket")

# Seconds that a close may take when its task is cancelled.
CANCEL_GRACE = 2.0


class WebSocketConnection(trio.abc.AsyncResource):
    """A WebSocket connection, client's or server's.

    You get one from `open_websocket_url` and its kin, or from `WebSocketRequest.accept`. Any number of tasks may send and
    receive; each message goes to one receiver. `async with connection:` closes it at the end, and
    `async for message in connection:` receives until it closes.

    Received messages wait in a queue of `message_queue_size`. While it is full nothing more is read: the peer is slowed
    down, and pongs and the peer's close wait behind the messages, as they do on the wire. Only while a `ping` waits is the
    queue filled past that number, up to `message_queue_bytes`.
    """

    def __init__(
        self,
        link: Link,
        opening: OpeningRequest | OpeningAnswer,
        subprotocol: str | None = None,
        compression: PerMessageDeflate | None = None,
    ) -> None:
        self._link = link
        self._opening = opening
        self._subprotocol = subprotocol
        self._compression = compression
        self._pace = pace_of_this_run()
        self._close_timed_out = False
        # Endpoints are made when they are asked for.
        if logger.isEnabledFor(logging.INFO):
            # Without the query, where people put tokens.
            path = ascii(self.path.partition("?")[0])
            logger.info("%s: open, %s, %s to %s", self, path, self.local, self.remote)

    def __str__(self) -> str:
        return str(self._link)

    def __repr__(self) -> str:
        return f"<WebSocketConnection {self._link} {self._link.session.state.value}>"

    # ------------------------------------------------------------------------------------------------ what it is

    @property
    def closed(self) -> CloseReason | None:
        """Why the connection closes or closed, or None while it is open (RFC 6455 §7.1.5, §7.1.6)."""
        return self._link.session.close_reason

    @property
    def is_client(self) -> bool:
        """Whether this is the client's end."""
        return self._link.session.role is Role.CLIENT

    @property
    def is_server(self) -> bool:
        """Whether this is the server's end."""
        return self._link.session.role is Role.SERVER

    @property
    def local(self) -> Endpoint | str:
        """Our address, or a text where the transport has none."""
        return self._link.transport.local

    @property
    def remote(self) -> Endpoint | str:
        """The peer's address, or a text where the transport has none."""
        return self._link.transport.remote

    @property
    def path(self) -> str:
        """The requested path, with its query."""
        return self._opening.path

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that both ends agreed on, or None (RFC 6455 §1.9)."""
        return self._subprotocol

    @property
    def compression(self) -> PerMessageDeflate | None:
        """What both ends agreed on for compression, with a number for each window, or None (RFC 7692)."""
        return self._compression

    @property
    def handshake_headers(self) -> Headers:
        """The headers that the peer sent in the opening handshake: pairs of bytes, lower-case names."""
        return self._opening.headers

    @property
    def latency(self) -> float | None:
        """Seconds between the latest answered ping, yours or a heartbeat's, and its pong; None before the first."""
        return self._link.latency

    # ---------------------------------------------------------------------------------------------------- sending

    @trio.lowlevel.enable_ki_protection
    async def send_message(self, message: Message, *, compress: bool | None = None) -> None:
        """Send a message: `str` as text, bytes-like data as binary (RFC 6455 §5.6).

        Waits while more than `write_backlog` bytes wait for the peer. When it returns, the message was handed over as a
        whole; the transport sends it in order, whatever happens to this task.

        Args:
            message: Of any size; a `bytearray` or `memoryview` must not change before this returns.
            compress: Where compression was agreed on: False to send it as it is, True to compress it, None to do that from the
                agreed threshold on.

        Raises:
            ValueError: `message` is of another type, or text that has no UTF-8 form.
            ConnectionClosed: The connection is closed or closing.

        Cancelling is safe: a cancelled call has sent nothing. Several tasks may send; those that have to wait are served in
        the order in which they came.
        """
        link = self._link
        await trio.lowlevel.checkpoint_if_cancelled()
        outlet = link.outlet
        if outlet is None or link.senders is not None or not outlet.send_message(message):
            await send_message_in_turn(link, message, compress)
        # As `is_due`, without another call for every message.
        pace = self._pace
        pace.calls_left -= 1
        if pace.calls_left <= 0:
            await pace.let_others_run()

    @trio.lowlevel.enable_ki_protection
    def send_message_nowait(self, message: Message, *, compress: bool | None = None) -> None:
        """Send a message if it need not wait; the arguments are those of `send_message`.

        Raises:
            trio.WouldBlock: More than `write_backlog` bytes wait for the peer, or another task waits to send.
            ValueError: As `send_message`.
            ConnectionClosed: The connection is closed or closing.
        """
        link = self._link
        self._check_open()
        if link.senders is not None or not link.has_room_to_send():
            raise trio.WouldBlock
        if link.outlet is None or not link.outlet.send_message(message):
            link.send_message(message, compress)

    @trio.lowlevel.enable_ki_protection
    async def send_fragments(
        self, fragments: Iterable[Message] | AsyncIterable[Message], *, compress: bool | None = None
    ) -> None:
        """Send one message in parts, each as it comes, if no more than `write_backlog` bytes wait for the peer (RFC 6455 §5.4).

        From the first part to the last, the messages of other tasks wait; pings, pongs and a close don't.

        Args:
            fragments: At least one part: all of them `str` for a text message, or all bytes-like for a binary one.
            compress: As for `send_message`, but None stands for True.

        Raises:
            ValueError: There are no parts, or one is of another type, or text that has no UTF-8 form.
            ConnectionClosed: The connection is closed or closing, as the next part finds.

        Cancelling is safe before the first part is sent. After that, if the call is cancelled, a part is wrong or `fragments`
        raises, the connection ends at once with 1011, as nobody could finish the message. Several tasks may send.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._link.session.is_open:
            raise self._link.make_closed()
        await send_in_fragments(self._link, fragments, compress, self._pace)

    @trio.lowlevel.enable_ki_protection
    async def ping(self, payload: Buffer | None = None) -> float:
        """Send a ping and wait for its pong (RFC 6455 §5.5.2); a pong also answers all earlier pings.

        Args:
            payload: At most 125 bytes; None for four random ones.

        Returns:
            The seconds from ping to pong.

        Raises:
            ValueError: The payload is too long, or a ping with the same one waits already.
            ConnectionClosed: The connection is closed, or closes meanwhile.

        Cancelling is safe; the ping may have been sent. Several tasks may ping.
        """
        link = self._link
        payload = link.pings.new_payload() if payload is None else bytes(memoryview(payload))
        self._check_ping(payload)
        await link.wait_room_to_send()
        self._check_ping(payload)
        link.session.send_ping(payload)
        ping = link.pings.add(payload)
        try:
            link.flush()
            link.pull()
            await ping.wait()
        finally:
            link.pings.remove(payload, ping)
        if ping.latency is None:
            raise link.make_closed()
        return ping.latency

    def _check_ping(self, payload: bytes) -> None:
        check_control_payload(payload)
        if payload in self._link.pings:
            raise ValueError(f"a ping with payload {payload!a} is in flight already")

    @trio.lowlevel.enable_ki_protection
    async def pong(self, payload: Buffer | None = None) -> None:
        """Send a pong that nobody asked for, as a one-way heartbeat (RFC 6455 §5.5.3). Pings are answered without it.

        Args:
            payload: At most 125 bytes; None for none.

        Raises:
            ValueError: The payload is too long.
            ConnectionClosed: The connection is closed or closing.

        Cancelling is safe: a cancelled call has sent nothing. Several tasks may call it.
        """
        payload = b"" if payload is None else bytes(memoryview(payload))
        check_control_payload(payload)
        await self._link.wait_room_to_send()
        self._link.session.send_pong(payload)
        self._link.flush()
        if self._pace.is_due():
            await trio.lowlevel.cancel_shielded_checkpoint()

    def _check_open(self) -> None:
        if not self._link.is_open:
            raise self._link.make_closed()

    # -------------------------------------------------------------------------------------------------- receiving

    @trio.lowlevel.enable_ki_protection
    async def get_message(self) -> str | bytes:
        """Receive a message: `str` for text, `bytes` for binary.

        Returns:
            The oldest message that was not received yet.

        Raises:
            ConnectionClosed: The connection is closed: at once if we closed it, else after the last message.

        Cancelling is safe: no message is lost. Several tasks may receive; they are served in the order in which they came.
        """
        link = self._link
        inbox = link.inbox
        if inbox.messages:
            await trio.lowlevel.checkpoint_if_cancelled()
            message = link.intake.exchange()
            if message is None:
                message = link.take()
            pace = self._pace
            pace.calls_left -= 1
            if pace.calls_left <= 0:
                await pace.let_others_run()
            return message
        session = link.session
        if session.is_oversize:
            await trio.lowlevel.checkpoint_if_cancelled()
            link.refuse_message()
        if not session.is_open:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise link.make_closed()
        if self._pace.is_quiet and not inbox.receivers and link.transport.can_read_in_person():
            message = await link.receive_in_person()
        else:
            message = await inbox.wait()
        self._pace.calls_left = CALLS_A_TURN
        return message

    @trio.lowlevel.enable_ki_protection
    def get_message_nowait(self) -> str | bytes:
        """Receive a message that is there already.

        Raises:
            trio.WouldBlock: There is none.
            ConnectionClosed: As `get_message`.
        """
        link = self._link
        if link.inbox.messages:
            message = link.intake.exchange()
            return link.take() if message is None else message
        if link.session.is_oversize:
            link.refuse_message()
        if self.closed is not None:
            raise link.make_closed()
        raise trio.WouldBlock

    def receive_fragments(self) -> AbstractAsyncContextManager[MessageParts]:
        """Receive one message in parts: `async with ws.receive_fragments() as parts:`, and in it `async for part in parts:`.

        Entering waits for a message to begin, in one line with those that call `get_message`. The message may have up to
        `max_streamed_size` bytes. Leaving does not wait: the rest of the message is dropped as it comes.

        Raises:
            ConnectionClosed: On entering, as `get_message`; in the block, after the last part that came.

        Cancelling is safe: while nobody enters, no message is lost. Several tasks may receive, each its own message.
        """
        return PartsReceiver(self._link, self._pace)

    def __aiter__(self) -> WebSocketConnection:
        """Receive messages until the connection closes."""
        return self

    async def __anext__(self) -> str | bytes:
        """Receive the next message; the iteration ends when the connection was closed normally.

        That is with code 1000 or 1001, or without a code.

        Raises:
            ConnectionClosed: It closed in any other way.
        """
        try:
            return await self.get_message()
        except ConnectionClosed as error:
            if error.reason is not None and error.reason.code in NORMAL_CODES:
                raise StopAsyncIteration from None
            raise

    # ---------------------------------------------------------------------------------------------------- closing

    async def aclose(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the connection (RFC 6455 §7.1.2); messages that were not received are dropped, if the peer did not close first.

        Sends what was handed over, then a close frame, waits for the peer's, and closes the transport. After
        `disconnect_timeout` seconds the transport is closed whatever the peer did.

        Args:
            code: 1000 for normal, 3000-4999 for your own meaning (RFC 6455 §7.4); 1006 and 1015, which can't be sent, go out
                as 1000.
            reason: A text for people, cut at 123 bytes of UTF-8.

        Raises:
            ValueError: The code has no meaning; the connection is closed with 1000 all the same.

        May be called again, and by several tasks. If cancelled, the transport is closed at once.
        """
        try:
            code, reason = describable_close(code, reason)
        except ValueError:
            await self._close(1000, None, grace=0)
            raise
        await self._close(code, reason, grace=0)

    @trio.lowlevel.enable_ki_protection
    async def _close(self, code: int, reason: str | None, *, grace: float) -> None:
        """As `aclose`, but if it is cancelled, what is under way has so many seconds more."""
        if self._link.is_open:
            self._link.start_closing(code, reason)
        lost = self._link.lost
        if lost.is_set():
            await trio.lowlevel.checkpoint()
            return
        timeout = self._link.options.disconnect_timeout
        cause: Exception = trio.ClosedResourceError("closing was cancelled before the peer answered")
        scope = trio.CancelScope(deadline=trio.current_time() + timeout)
        try:
            with scope:
                await lost.wait()
            if scope.cancelled_caught:
                self._close_timed_out = True
                cause = trio.TooSlowError(f"the peer did not answer our close within {timeout} seconds")
        except trio.Cancelled:
            if grace:
                with trio.CancelScope(shield=True, deadline=min(scope.deadline, trio.current_time() + grace)):
                    await lost.wait()
            raise
        finally:
            if not lost.is_set():
                await self._link.abort(cause)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close at the end of an `async with` block: with 1000, or with what a server has to say of an error.

        That is 1011 for an exception, and 1001 when it was cancelled. In both cases, and if cancelled meanwhile, the peer has
        two seconds left to answer.
        """
        if exc_value is None:
            await close_decently(self, 1000, None)
        elif self.is_client:
            await close_soon(self, 1000, None)
        elif isinstance(exc_value, Exception):
            await close_soon(self, 1011, "internal error")
        else:
            await close_soon(self, 1001, "server is going away")

    async def wait_closed(self) -> CloseReason:
        """Wait until the connection is closed and its transport gone, and tell why. Cancelling is safe."""
        await self._link.lost.wait()
        assert self.closed is not None
        return self.closed


async def close_decently(connection: WebSocketConnection, code: int, reason: str | None) -> None:
    """Close; a cancellation, whether it has come already or comes meanwhile, leaves that two seconds."""
    await connection._close(code, reason, grace=CANCEL_GRACE)


async def close_soon(connection: WebSocketConnection, code: int, reason: str | None) -> None:
    """Close within two seconds, whether cancelled or not. Raises nothing, and can't be cancelled."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + CANCEL_GRACE):
        await connection.aclose(code, reason)


async def guard(connection: WebSocketConnection) -> None:
    """Live in a user's nursery as long as `connection` does, and close it if that nursery is cancelled."""
    try:
        await connection.wait_closed()
    finally:
        # Only a cancellation finds it open here, and goes on behind this.
        await close_decently(connection, 1001, "cancelled")
