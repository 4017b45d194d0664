"""What ties a session to its transport, and both to the tasks that wait.

Theory of operation
    The session owns the protocol's state, the transport owns the bytes; the link moves facts between them. The transport
    tells `data_received`; the link pulls events out of the session while the inbox has room, and pauses the transport
    when it has none. What the protocol makes us answer is written in the same step, whatever the user's tasks do.

    Any order of events ends in `connection_lost`, exactly once: the transport sees to it that closing has a bound.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable

import trio

from trio_websocket._connection._heartbeats import end_heartbeat
from trio_websocket._connection._inbox import Inbox, wake
from trio_websocket._connection._pings import PingsInFlight
from trio_websocket._exceptions import ConnectionClosed, RemoteProtocolError
from trio_websocket._kernel import Buffer, Intake, Outlet
from trio_websocket._options import ConnectionOptions
from trio_websocket._transports import Transport
from trio_websocket.protocol import (
    NEED_DATA,
    BinaryReceived,
    Event,
    Message,
    PartReceived,
    PongReceived,
    Role,
    Session,
    SessionState,
    TextReceived,
)

__all__ = ["LINGER", "PULL_BUDGET", "Link"]

logger = logging.getLogger("trio-websocket")

_ids = itertools.count()

# Events, or fragments of one message, that are taken out of a session at once: a peer with many tiny frames takes turns.
PULL_BUDGET = 256

# Seconds that a peer has to end its side of the transport after the last close frame.
LINGER = 1.0


class Link:
    """The owner of a transport for as long as a session runs over it.

    Attributes:
        inbox: What was received and not taken yet.
        pings: What was asked and not answered yet.
        outlet: The short way of messages to the transport; None where there is none.
        latency: Seconds between the latest answered ping and its pong, or None before the first.
        is_lost: Whether the transport is gone.
        senders: The queue of those that wait for room, or None if nobody does.
    """

    __slots__ = (
        *("_cause", "_id", "_is_at_eof", "_is_backed_up", "_is_ending", "_is_holding_pongs", "_is_pull_due"),
        *("_lost", "inbox", "intake", "is_lost", "latency", "options", "outlet", "pings", "senders"),
        *("session", "transport"),
    )

    def __init__(self, transport: Transport, session: Session, options: ConnectionOptions) -> None:
        self._id = next(_ids)
        self.options: ConnectionOptions = options
        self.transport: Transport = transport
        self.session: Session = session
        # Writing.
        self.senders: trio.StrictFIFOLock | None = None  # held by who waits for room first, or sends in parts
        self._is_holding_pongs = False
        self.outlet: Outlet | None = transport.outlet
        if self.outlet is not None:
            session.set_up(self.outlet)
        transport.set_max_backlog(options.write_backlog)
        # Reading.
        self.inbox: Inbox = Inbox(options.message_queue_size, options.message_queue_bytes)
        self.intake: Intake = session.make_intake(
            self.inbox.messages, self.inbox.receivers, wake, self._take_in
        )
        self._is_at_eof = False
        self._is_backed_up = False  # the inbox is full
        self._is_pull_due = False  # the budget was spent
        # Liveness.
        self.pings: PingsInFlight = PingsInFlight()
        self.latency: float | None = None
        # Closing.
        self._cause: Exception | None = None  # what ended the connection, if no close frame did
        self._is_ending = False  # the session is closed, and the transport was told to
        self.is_lost: bool = False
        self._lost: trio.Event | None = None  # made when it is asked for: an idle connection should be small

    def __str__(self) -> str:
        return f"{self.session.role.value}-{self._id}"

    @property
    def lost(self) -> trio.Event:
        """Set when the transport is gone."""
        if self._lost is None:
            self._lost = trio.Event()
            if self.is_lost:
                self._lost.set()
        return self._lost

    @property
    def is_open(self) -> bool:
        """Whether messages may be sent."""
        return self.session.is_open

    def make_closed(self) -> ConnectionClosed:
        """The error for one call that finds the connection closed, with what ended it as its cause."""
        session = self.session
        error = ConnectionClosed(
            session.close_reason,
            sent=session.close_sent,
            received=session.close_received,
            initiator=session.initiator,
        )
        error.__cause__ = self._cause or session.error
        return error

    # --------------------------------------------------------------------------------------------------- writing

    def has_room_to_send(self) -> bool:
        """Whether at most `write_backlog` bytes wait for the peer."""
        return self.transport.backlog <= self.options.write_backlog

    async def wait_room_to_send(self) -> None:
        """Wait until that is so, or raise ConnectionClosed. Cancelling is safe."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while self.is_open and not self.has_room_to_send():
            await self.transport.wait_backlog(self.options.write_backlog)
        if not self.is_open:
            raise self.make_closed()

    def send_message(self, message: Message, compress: bool | None = None) -> None:
        """Hand a message over, whole: compressed, if at all, in the step that hands it over."""
        data = self.session.message_to_send(message, compress)
        if data is None:
            self.flush()
        else:
            self.transport.write(data)
            self._check_backlog()

    def send_fragment(self, data: Message, compress: bool | None, *, is_final: bool) -> None:
        """Hand one part of a message over, in the turn of who calls."""
        self.session.send_fragment(data, is_final=is_final, compress=compress)
        self.flush()

    def flush(self) -> None:
        """Hand over what the session has to send."""
        # As soon as there is room: under busy senders the backlog may never drain.
        if self._is_holding_pongs and self.has_room_to_send():
            self._hold_pongs(False)
        parts = self.session.parts_to_send()
        if len(parts) > 1:
            self.transport.writelines(parts)
        elif parts:
            self.transport.write(parts[0])
        else:
            return
        self._check_backlog()

    def _check_backlog(self) -> None:
        # A peer that pings and does not read gets one answer for many, instead of our memory.
        if not self.has_room_to_send():
            self._hold_pongs(True)
        elif self._is_holding_pongs:
            # It went out at once, so nothing else will tell.
            self.flush()

    def _hold_pongs(self, hold: bool) -> None:
        self._is_holding_pongs = hold
        self.session.hold_pongs(hold)

    # --------------------------------------------------------------------------------------------------- reading

    @property
    def is_filling(self) -> bool:
        """Whether the rest of a large message is awaited."""
        return self.session.is_filling

    def fill(self, receive: Callable[[memoryview], int]) -> int:
        """Take in some of the rest of a large message."""
        size = self.session.fill(receive)
        if size and not self.session.is_filling:
            self.pull()
        return size

    def data_received(self, data: Buffer) -> None:
        """Take in bytes from the peer."""
        if self.inbox.receivers:
            self.intake.receive_data(data)
        else:
            self.session.receive_data(data)
            self.pull()

    def _take_in(self, message: str | bytes | None) -> None:
        """Take in what follows, behind the message that has come first."""
        if message is not None:
            self.inbox.put(message)
            if not (self.session.unread or self.inbox.messages):
                return
        self.pull()

    def eof_received(self) -> None:
        """Take in that the peer sends no more."""
        self.session.receive_eof()
        self._is_at_eof = True
        if self.session.error is None:
            self.pull()
        elif not self._is_ending:
            self._end()

    def backlog_drained(self) -> None:
        """Answer the ping that was left when the peer did not read."""
        self.flush()

    def connection_lost(self, error: Exception | None) -> None:
        """Take in that the transport is gone."""
        if not self._is_ending:
            self._cause = self._cause or error
        if self.options.heartbeat is not None:
            end_heartbeat(self)
        self._take_end()
        self.intake.close()
        self.is_lost = True
        if self._lost is not None:
            self._lost.set()

    def _take_end(self) -> None:
        self._is_pull_due = True  # all of it now: there is no later
        self.eof_received()
        while not self._is_ending:
            self.pull()
            if self._is_backed_up and not self._is_ending:
                # Nobody is left whom it could slow down that nothing is taken.
                self.session.fail(1009, "unread messages exceed message_queue_bytes")
                self._end()

    def pull(self) -> None:
        """Take events out of the session while the inbox has room, and answer them."""
        if self._is_ending:
            return
        try:
            if self._pull_some():
                return
        except RemoteProtocolError as error:
            logger.debug("%s: %s", str(self), error)
            # The session keeps it, and its traceback leads back to the session; so does that of what it was made of.
            error.__traceback__ = error.__context__ = None
        if self.session.state is SessionState.CLOSED:
            self._end()
        else:
            self.flush()

    def _pull_some(self) -> bool:
        """Returns whether there was nothing but messages, and nothing is left."""
        session, inbox, messages = self.session, self.inbox, self.inbox.messages
        has_events = self._is_backed_up = False
        for _ in range(PULL_BUDGET):
            if messages.is_full and not self._may_overfill():
                self._is_backed_up = True
                self.transport.pause_reading()
                return not has_events
            message = session.next_message()
            if message is not None:
                inbox.put(message)
                continue
            event = session.next_event()
            if event is NEED_DATA:
                if session.is_behind:
                    break
                if (inbox.part_receivers or session.is_oversize) and self._decide():
                    continue
                if not session.is_oversize:
                    self.transport.resume_reading()
                return False
            self._handle(event)
            has_events = True
        self.transport.pause_reading()
        if not self._is_pull_due:
            self._is_pull_due = True
            trio.lowlevel.current_trio_token().run_sync_soon(self._pull_on)
        return False

    def _pull_on(self) -> None:
        self._is_pull_due = False
        try:
            self.pull()
        except Exception as error:
            # A bug of ours. Raised from here, it would end the whole run, and so all connections.
            logger.exception("%s: failed", str(self))
            self._cause = self._cause or error
            self.transport.abort()

    async def receive_in_person(self) -> str | bytes:
        """Wait for a message by waiting for the socket itself: cheaper, where only few do so (`_transports._hub` tells why).

        Cancelling is safe: no message is lost. Raises ConnectionClosed.
        """
        inbox, transport, session = self.inbox, self.transport, self.session
        inbox.claim()
        try:
            await transport.read_in_person()
            while inbox.is_claimed and session.is_open and transport.can_read_in_person():
                await transport.read_in_person()
        except BaseException:
            inbox.unclaim()
            raise
        message = inbox.take_claimed()
        if message is not None:
            return message
        if not session.is_open:
            raise self.make_closed()
        return await inbox.wait(is_first=True)

    def take(self) -> str | bytes:
        """Take the oldest message out of the inbox, which has one, and make use of the room.

        Where many wait, one out and one in is all, as a rule: `intake.exchange` does that for what is not compressed.
        """
        session, messages = self.session, self.inbox.messages
        following = session.next_message() if self._is_backed_up and session.is_compressing else None
        message = messages.take()
        if following is not None:
            messages.put(following)
            if messages.is_full:
                return message
        self.pull()
        return message

    def refuse_message(self) -> None:
        """End the connection for a message that is too large for who asks for it."""
        self.session.refuse_message()
        self.pull()

    def _decide(self) -> bool:
        """Let the message that has begun be given in parts, or refuse it; whether either was done."""
        session, inbox = self.session, self.inbox
        if inbox.is_next_in_parts and session.stream_message():
            inbox.begin_parts()
            return True
        if not session.is_oversize:
            return False
        if not session.is_open:
            # It is dropped part by part.
            return session.stream_message()
        if inbox.is_anyone_waiting:
            session.refuse_message()
            return True
        self.transport.pause_reading()
        return False

    def _may_overfill(self) -> bool:
        # After our close frame everything is dropped.
        if not self.session.is_open:
            return True
        # Before an end of file everything is in memory already; but what is compressed may be a thousand times as large.
        if self._is_at_eof:
            return not (self.session.is_compressing and self.inbox.messages.is_heavy)
        # A pong may stand behind messages, so a waiting ping lifts the bound on their number.
        return self.pings.are_awaited and not self.inbox.messages.is_heavy

    def _handle(self, event: Event) -> None:
        if isinstance(event, TextReceived | BinaryReceived):
            # After our close frame, what the peer still has to say is dropped.
            if self.is_open:
                self.inbox.put(event.data)
        elif isinstance(event, PartReceived):
            if self.is_open:
                self.inbox.put_part(event.data, is_final=event.is_final)
        elif isinstance(event, PongReceived):
            latency = self.pings.receive_pong(event.payload)
            self.latency = latency if latency is not None else self.latency

    # -------------------------------------------------------------------------------------------------- liveness

    def send_heartbeat(self, *, is_ping: bool) -> None:
        """Send a ping for which nobody waits, or a pong that nobody asked for."""
        if is_ping:
            payload = self.pings.new_payload()
            self.session.send_ping(payload)
            self.pings.add_heartbeat(payload)
        else:
            self.session.send_pong()
        self.flush()

    def drop(self, cause: Exception) -> None:
        """End the connection now, and let everyone know: nothing of the peer's is waited for."""
        self._cause = self._cause or cause
        self.transport.abort()
        self._take_end()

    # --------------------------------------------------------------------------------------------------- closing

    def start_closing(self, code: int, reason: str | None) -> None:
        """Send our close frame, and let nobody wait for more.

        Raises:
            ValueError: The code must not be sent, or the reason is too long.
        """
        self.session.send_close(code, reason)
        logger.debug("%s: closing with %s", str(self), self.session.close_sent)
        self.inbox.messages.clear()
        self._wake_all()
        self.flush()
        self.pull()

    def fail(self, code: int, reason: str) -> None:
        """Send our close frame and end the connection, without an answer: what is wrong can't be mended."""
        self.session.fail(code, reason)
        self.inbox.messages.clear()
        self._end()

    async def abort(self, cause: Exception) -> None:
        """Drop the connection. Not cancellable, and prompt."""
        if self.session.state is not SessionState.CLOSED:
            self._cause = self._cause or cause
        self.transport.abort()
        with trio.CancelScope(shield=True):
            await self.lost.wait()

    def _end(self) -> None:
        """The session is closed: let the transport follow, and everyone know."""
        self._is_ending = True
        self.flush()
        # RFC 6455 §7.1.1: the server closes the TCP connection first; a client waits for that, for a while. A server
        # lingers only when the peer may still be sending: to close on unread data is a reset, which could overtake what
        # we said last.
        is_server = self.session.role is Role.SERVER
        linger = 0.0 if is_server and self.session.close_received is not None else LINGER
        self.transport.close(timeout=self.options.disconnect_timeout, linger=linger, shutdown=is_server)
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s: closed, %s", str(self), self.session.close_reason)
        self._wake_all()

    def _wake_all(self) -> None:
        self.transport.wake_waiters()
        self.pings.fail()
        self.inbox.fail_receivers(self.make_closed)
