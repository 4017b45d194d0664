"""One WebSocket session after its opening handshake: bytes in, events out; messages in, bytes out.

Theory of operation
    Reading is pulled: `receive_data` only keeps bytes, `next_event` has the reader take one frame after another off
    them until a message is whole or a control frame has something to tell. Frames, messages and close codes each have
    their rules in a module of their own; what they raise passes `next_event`, the one choke point that turns a peer's
    mistake into a close frame and a dead session.

    What RFC 6455 makes us answer (pings, a close) is answered in the same step, so that whoever drives the session
    cannot forget it: after each call, send what `data_to_send` gives.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from typing import Any, Literal

from trio_websocket._exceptions import CloseReason, LocalProtocolError, RemoteProtocolError
from trio_websocket._kernel import Buffer, FrameDecoder, Intake, MessageQueue, Outlet
from trio_websocket.protocol._close import ABNORMAL, encode_close, no_close_frame, truncate_reason
from trio_websocket.protocol._deflate import PerMessageDeflate
from trio_websocket.protocol._deflate_streams import Deflater, Inflater
from trio_websocket.protocol._events import NEED_DATA, CloseReceived, NeedData, PingReceived
from trio_websocket.protocol._frames import check_control_payload
from trio_websocket.protocol._messages import DEFAULT_MAX_FRAGMENTS, DEFAULT_MAX_MESSAGE_SIZE
from trio_websocket.protocol._opcodes import Opcode
from trio_websocket.protocol._reader import Event, MessageReader
from trio_websocket.protocol._states import Role, SessionState
from trio_websocket.protocol._writer import FrameWriter, Message, split_message

__all__ = ["Event", "Session"]

# `receive_data` refuses more while so many bytes wait to be pulled.
_MAX_UNREAD = 2**20

# RFC 6455 §5.2: the highest bit of a 64-bit length is 0.
_MAX_LENGTH = 2**63 - 1


class Session:
    """The rules of RFC 6455 §5-§8 for one connection, without I/O.

    Args:
        role: Which end we are.
        max_message_size: Bytes of payload in one received message; `math.inf` for no limit. A peer that goes over it
            is sent 1009, as soon as a frame's header tells.
        max_fragments: Frames in one received message; `math.inf` for no limit. Over it: 1009.
        max_streamed_size: Bytes of payload in one received message that `stream_message` has given in parts; None, or
            less than that, for `max_message_size`. Over it: 1009.
        random_bytes: Gives as many unpredictable bytes as asked for: masking keys (RFC 6455 §5.3, §10.3).
        compression: What the handshake has agreed on (RFC 7692), or None.
        fragments_at_once: Fragments that one call of `next_event` takes in, as a message may have very many.

    Attributes:
        is_behind: Whether `next_event` gave `NEED_DATA` only for `fragments_at_once`: it need not wait for data.
        is_open: Whether the state is `SessionState.OPEN`: messages may be sent.
        is_oversize: Whether `next_event` gives `NEED_DATA` only because the message that comes is over `max_message_size`
            and may be had in parts: call `stream_message` or `refuse_message`.
    """

    __slots__ = (
        *("_close_received", "_close_sent", "_decoder", "_eof", "_error", "_fragment_opcode", "_initiator"),
        *("_is_masked", "_limits", "_max_message_size", "_reader", "_role", "_state", "_writer"),
        *("is_behind", "is_compressing", "is_open", "is_oversize"),
    )

    def __init__(
        self,
        role: Role,
        *,
        max_message_size: float = DEFAULT_MAX_MESSAGE_SIZE,
        max_fragments: float = DEFAULT_MAX_FRAGMENTS,
        max_streamed_size: float | None = None,
        compression: PerMessageDeflate | None = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        fragments_at_once: float = math.inf,
    ) -> None:
        self._role = role
        self._state = SessionState.OPEN
        self.is_open: bool = True
        self._error: RemoteProtocolError | None = None
        # Reading.
        self._decoder = FrameDecoder()
        self._is_masked = role is Role.SERVER
        self._max_message_size = int(min(max_message_size, _MAX_LENGTH))
        self._limits = (max_message_size, max_fragments, max_streamed_size or 0, fragments_at_once)
        # Made when something comes that is no whole message: an idle connection should be small.
        self._reader: MessageReader | None = None
        if compression is not None:
            self._need_reader(Inflater(compression, role))
        self.is_behind: bool = False
        self.is_compressing: bool = compression is not None
        self.is_oversize: bool = False
        self._eof = False
        # Writing.
        deflater = None if compression is None else Deflater(compression, role)
        self._writer = FrameWriter(random_bytes if role is Role.CLIENT else None, deflater)
        self._fragment_opcode: Opcode | None = None  # of the message that `send_fragment` has begun
        # Closing.
        self._close_sent: CloseReason | None = None
        self._close_received: CloseReason | None = None
        self._initiator: Literal["local", "remote"] | None = None

    def __repr__(self) -> str:
        return f"<Session {self._role.value} {self._state.value}>"

    # ------------------------------------------------------------------------------------------------ what it is

    @property
    def role(self) -> Role:
        """Which end we are."""
        return self._role

    @property
    def state(self) -> SessionState:
        """Open, closing or closed."""
        return self._state

    @property
    def error(self) -> RemoteProtocolError | None:
        """What the peer did that ended the session, or None."""
        return self._error

    @property
    def close_sent(self) -> CloseReason | None:
        """What our close frame said, or None if none was sent."""
        return self._close_sent

    @property
    def close_received(self) -> CloseReason | None:
        """What the peer's close frame said, or None if none came."""
        return self._close_received

    @property
    def initiator(self) -> Literal["local", "remote"] | None:
        """Who sent the first close frame, or None if nobody has."""
        return self._initiator

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the session closes or closed, or None while it is open.

        What the peer did if it broke a rule; else what it said, unless that only repeats our code; else what we
        said; else 1006, if the connection ended without a close frame (RFC 6455 §7.1.5-§7.1.7).
        """
        error, received, sent = self._error, self._close_received, self._close_sent
        if error is not None and error.code != ABNORMAL:
            return CloseReason(error.code, truncate_reason(str(error)))
        if received is None:
            return sent or (CloseReason(ABNORMAL, None) if self._state is SessionState.CLOSED else None)
        # An answer repeats the code, but need not repeat the text.
        is_answer = self._initiator == "local" and sent is not None and sent.code == received.code
        return sent if is_answer else received

    # --------------------------------------------------------------------------------------------------- reading

    @property
    def unread(self) -> int:
        """Bytes that were received and not pulled yet."""
        return self._decoder.unread

    def receive_data(self, data: Buffer) -> None:
        """Take in bytes from the peer; pull with `next_event` until it gives `NEED_DATA` before you give more.

        Raises:
            LocalProtocolError: Over 1 MiB was not pulled yet.
        """
        if self._decoder.unread > _MAX_UNREAD:
            raise LocalProtocolError(
                f"{self._decoder.unread} bytes were received and not pulled by next_event()"
            )
        self._decoder.receive_data(data)

    def receive_eof(self) -> None:
        """Take in that the peer will send no more: after what was received, the session ends."""
        self._eof = True
        if self._decoder.is_plain and not self._decoder.unread:
            # As a rule: between two messages, and nothing waits to be pulled.
            self._fail(no_close_frame())

    def next_message(self) -> str | bytes | None:
        """Pull the next message if it is what comes next, whole and in one frame; else None, and `next_event` tells.

        What most messages are, without an event for each.
        """
        message = self._decoder.read_message(self._is_masked, self._max_message_size)
        if message is None and self.is_compressing and self._decoder.is_plain:
            assert self._reader is not None
            return self._reader.pull_compressed()
        return message

    def make_intake(
        self,
        messages: MessageQueue,
        receivers: list[Any],
        wake: Callable[[Any, str | bytes], object],
        take: Callable[[str | bytes | None], object],
    ) -> Intake:
        """Make a short way for messages that come alone, to be given bytes in place of `receive_data`.

        Args:
            messages: Those that were pulled, and that nobody has taken yet.
            receivers: Those that wait for a message, in their order; None stands for one who must not be woken.
            wake: Called with the first of them, taken off the list, and its message.
            take: Called when there is more: with a message that nobody was woken for, or None; then pull what follows.
        """
        return Intake(self._decoder, self._is_masked, self._max_message_size, messages, receivers, wake, take)

    @property
    def is_filling(self) -> bool:
        """Whether the rest of a large message is awaited, which `fill` may take straight from where it comes."""
        return self._decoder.is_filling

    def fill(self, receive: Callable[[memoryview], int]) -> int:
        """In place of `receive_data`: let `receive`, such as `socket.recv_into`, write more of it where it belongs.

        Returns:
            What `receive` returned. What it raises passes through, and nothing has happened.
        """
        return self._decoder.fill(receive)

    def stream_message(self) -> bool:
        """Let `next_event` give the message that has begun as `PartReceived`, part by part as it comes, until it is whole.

        Returns:
            Whether a message has begun; if none has, nothing happens.
        """
        self.is_oversize = False
        return self._reader is not None and self._reader.stream()

    def refuse_message(self) -> None:
        """Fail the session for a message that `is_oversize`: 1009, as without `max_streamed_size`."""
        self._fail(self._need_reader().too_large())

    def next_event(self) -> Event | Literal[NeedData.NEED_DATA]:
        """Pull the next event, or `NEED_DATA`. What has to be answered is in `data_to_send()` afterwards.

        Raises:
            RemoteProtocolError: The peer broke a rule, went over a limit or ended the connection without a close
                frame. The session is dead: a close frame is in `data_to_send()` if there can be one, and every
                later call raises the same error.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)
        if self._state is SessionState.CLOSED:
            self.is_behind = self.is_oversize = False
            return NEED_DATA
        try:
            return self._pull()
        except RemoteProtocolError as error:
            self._fail(error)
            raise

    def _need_reader(self, inflater: Inflater | None = None) -> MessageReader:
        if self._reader is None:
            self._reader = MessageReader(
                self._decoder, *self._limits, must_be_masked=self._is_masked, inflater=inflater
            )
        return self._reader

    def _pull(self) -> Event | Literal[NeedData.NEED_DATA]:
        reader = self._need_reader()
        event = reader.pull()
        self.is_behind = reader.is_behind
        self.is_oversize = reader.is_oversize
        if event is NEED_DATA:
            if self._eof and not self.is_behind:
                raise no_close_frame()
        elif isinstance(event, PingReceived):
            # Nothing follows our close frame.
            if self.is_open:
                self._writer.answer_ping(event.payload)
        elif isinstance(event, CloseReceived):
            self._answer_close(CloseReason(event.code, event.reason or None))
        return event

    def _answer_close(self, received: CloseReason) -> None:
        self._close_received = received
        self._initiator = self._initiator or "remote"
        # RFC 6455 §5.5.1: an endpoint that has not sent a close frame MUST answer with one; it echoes the code.
        if self._close_sent is None:
            self._write_close(received.code, received.reason)
        self._advance(SessionState.CLOSED)

    def _fail(self, error: RemoteProtocolError) -> None:
        # RFC 6455 §7.1.7: to fail the connection is to send a close frame with the fitting code, and then no more.
        self._error = error
        if error.code != ABNORMAL and self._close_sent is None:
            self._initiator = "local"
            self._write_close(error.code, truncate_reason(str(error)))
        self._advance(SessionState.CLOSED)

    def _advance(self, state: SessionState) -> None:
        # Every step leads away from the open state, so to where no pong is sent any more.
        self._writer.close()
        self._state = state
        self.is_open = False
        if self._reader is None:
            self._decoder.is_plain = False
        else:
            self._reader.leave_plain()
        if self._state is SessionState.CLOSED:
            # RFC 6455 §5.5.1: what comes behind a close frame is discarded, and so is all that follows an error.
            self._decoder.close()

    # --------------------------------------------------------------------------------------------------- writing

    def send_message(self, message: Message, *, compress: bool | None = None) -> None:
        """Queue a message as one frame (RFC 6455 §5.6).

        Args:
            message: The message.
            compress: Whether to compress it, where that was agreed on; None to do so from its threshold on.

        Raises:
            ValueError: It is neither text nor bytes, or text that can't be encoded in UTF-8.
            LocalProtocolError: A fragmented message is open, or our close frame was sent.
            RemoteProtocolError: The session is dead.
        """
        opcode, payload = split_message(message)
        self._check_open()
        if self._fragment_opcode is not None:
            raise LocalProtocolError("a fragmented message is open: finish it first (RFC 6455 §5.4)")
        self._writer.write_message(opcode, payload, compress)

    def message_to_send(self, message: Message, compress: bool | None = None) -> bytes | None:
        """`send_message` and `data_to_send` at once, for most messages: small, and nothing else waits to be sent.

        Gives the bytes to send, or None if the message was queued. Raises what `send_message` raises.
        """
        if self.is_open and self._fragment_opcode is None:
            frame = self._writer.encode_alone(message, compress)
            if frame is not None:
                return frame
        self.send_message(message, compress=compress)
        return None

    def set_up(self, outlet: Outlet) -> None:
        """Let messages go through `outlet.send_message`, as far as it takes them, in place of `message_to_send`.

        It takes none once the session is not open any more, and while pongs are held. With fragments to come, or something in
        `data_to_send`, it must not be called. Where compression was agreed on, it takes none at all.
        """
        if not self.is_compressing:
            self._writer.set_up(outlet)

    def send_fragment(self, data: Message, *, is_final: bool, compress: bool | None = None) -> None:
        """Queue one fragment of a message; the first decides whether that is text or binary (RFC 6455 §5.4).

        Args:
            data: The fragment.
            is_final: Whether it is the last one.
            compress: With the first one: whether to compress the message, where that was agreed on; None to do so.

        Raises:
            ValueError: It is neither text nor bytes, or of the other kind than the first.
            LocalProtocolError: Our close frame was sent.
            RemoteProtocolError: The session is dead.
        """
        opcode, payload = split_message(data)
        self._check_open()
        if self._fragment_opcode is None:
            frame_opcode = opcode
        elif opcode is self._fragment_opcode:
            frame_opcode = Opcode.CONTINUATION
        else:
            raise ValueError("all fragments of a message must be str, or all must be bytes")
        self._writer.write_fragment(frame_opcode, payload, compress, fin=is_final)
        self._fragment_opcode = None if is_final else opcode

    def send_ping(self, payload: bytes = b"") -> None:
        """Queue a ping (RFC 6455 §5.5.2).

        Raises:
            ValueError: The payload is over 125 bytes.
            LocalProtocolError: Our close frame was sent.
            RemoteProtocolError: The session is dead.
        """
        check_control_payload(payload)
        self._check_open()
        self._writer.write(Opcode.PING, payload)

    def send_pong(self, payload: bytes = b"") -> None:
        """Queue a pong that nobody asked for (RFC 6455 §5.5.3); those that were are queued by `next_event`.

        Raises:
            ValueError: The payload is over 125 bytes.
            LocalProtocolError: Our close frame was sent.
            RemoteProtocolError: The session is dead.
        """
        check_control_payload(payload)
        self._check_open()
        self._writer.write(Opcode.PONG, payload)

    def send_close(self, code: int = 1000, reason: str | None = None) -> None:
        """Queue our close frame (RFC 6455 §5.5.1); 1005 stands for one without a code.

        Raises:
            ValueError: The code must not be sent, or the reason is over 123 bytes of UTF-8.
            LocalProtocolError: It was sent already.
            RemoteProtocolError: The session is dead.
        """
        encode_close(code, reason)
        self._check_open()
        self._initiator = "local"
        self._write_close(code, reason)
        self._advance(SessionState.CLOSING)

    def fail(self, code: int, reason: str) -> None:
        """Queue our close frame and end the session at once: what can't be mended needs no answer (RFC 6455 §7.1.7).

        Raises what `send_close` raises.
        """
        self.send_close(code, reason)
        self._advance(SessionState.CLOSED)

    def data_to_send(self) -> bytes:
        """Take the bytes that are to be sent to the peer now, whole frames in their order; may be empty."""
        # b"".join gives a lone frame back as it is, without a copy.
        return b"".join(self._writer.take())

    def parts_to_send(self) -> list[bytes]:
        """As `data_to_send`, but in parts, so that a large payload need not be copied."""
        return self._writer.take()

    def hold_pongs(self, hold: bool) -> None:
        """While a peer does not read, keep only the answer to its latest ping, and queue that when let go; shut the outlet.

        RFC 6455 §5.5.3: an endpoint that has not yet answered earlier pings may answer only the most recent one. It
        is what bounds the memory that a flood of pings can take.
        """
        self._writer.hold_pongs(hold)

    def _write_close(self, code: int, reason: str | None) -> None:
        self._writer.write(Opcode.CLOSE, encode_close(code, reason))
        self._close_sent = CloseReason(code, reason or None)

    def _check_open(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)
        if not self.is_open:
            raise LocalProtocolError("nothing can be sent after the close frame (RFC 6455 §5.5.1)")
