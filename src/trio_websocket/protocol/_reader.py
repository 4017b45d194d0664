"""What one end of a session reads: frames taken apart into messages and control frames, held against the rules.

It takes one frame after another off its decoder until a message is whole or a control frame has something to tell. What
follows from that, an answer or the session's end, is the session's to decide; so are the errors that are raised here.
"""

from __future__ import annotations

from typing import Final, Literal

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket._kernel import FrameDecoder, FrameHeader
from trio_websocket.protocol._close import decode_close
from trio_websocket.protocol._deflate_streams import Inflater
from trio_websocket.protocol._events import (
    NEED_DATA,
    BinaryReceived,
    CloseReceived,
    NeedData,
    PartReceived,
    PingReceived,
    PongReceived,
    TextReceived,
)
from trio_websocket.protocol._frames import check_header
from trio_websocket.protocol._messages import MessageAssembler
from trio_websocket.protocol._opcodes import Opcode

__all__ = ["Event", "MessageReader"]

Event = TextReceived | BinaryReceived | PartReceived | PingReceived | PongReceived | CloseReceived
"""What `Session.next_event` gives."""

# A payload over this size is received in its final place.
_LARGE_PAYLOAD: Final = 2**16

# RFC 7692 §6: the message is compressed.
_RSV1: Final = 4
_TEXT: Final = int(Opcode.TEXT)
_KINDS: Final = frozenset({_TEXT, int(Opcode.BINARY)})

# A part of a compressed message has at most so many bytes.
_LARGEST_PART: Final = 2**16


class MessageReader:
    """Pulls messages and control frames out of what a decoder was given.

    Between two messages the decoder `is_plain`, and may be asked for a whole one past the reader.

    Args:
        decoder: Where the bytes are; it is between two messages.
        max_message_size: Bytes of payload in one message; `math.inf` for no limit.
        max_fragments: Frames in one message; `math.inf` for no limit.
        max_streamed_size: Bytes of payload in one message that is given in parts, if that is more.
        fragments_at_once: Fragments that one call of `pull` takes in.
        must_be_masked: Whether the peer has to mask its frames.
        inflater: What takes compressed messages, or None if there can't be any.

    Attributes:
        is_behind: Whether `pull` gave `NEED_DATA` only for `fragments_at_once`.
        is_oversize: Whether `pull` gives `NEED_DATA` only because the message is over `max_message_size`: it can be
            had in parts.
    """

    __slots__ = (
        "_assembler",
        "_decoder",
        "_first_part",
        "_fragments_at_once",
        "_header",
        "_inflater",
        "_is_compressed",
        "_may_be_plain",
        "_must_be_masked",
        "_peeked",
        "_refused",
        "_room",
        "_whole",
        "is_behind",
        "is_oversize",
    )

    def __init__(
        self,
        decoder: FrameDecoder,
        max_message_size: float,
        max_fragments: float,
        max_streamed_size: float,
        fragments_at_once: float,
        *,
        must_be_masked: bool,
        inflater: Inflater | None = None,
    ) -> None:
        self._decoder = decoder
        self._must_be_masked = must_be_masked
        self._assembler = MessageAssembler(max_message_size, max_fragments, max_streamed_size)
        self._first_part: str | bytes = b""  # of a message that is given in parts: what had come before that
        self._fragments_at_once = fragments_at_once
        self._header: FrameHeader | None = None  # of the frame whose payload is being read
        self._inflater = inflater
        self._is_compressed = False  # whether the open message is
        # What `pull_compressed` has found, and left to `pull`.
        self._room = 0 if inflater is None else self._assembler.room  # for a message that begins
        self._peeked: FrameHeader | None = None
        self._whole: bytes | None = None
        self._refused: RemoteProtocolError | None = None
        self._may_be_plain = decoder.is_plain
        self.is_behind: bool = False
        self.is_oversize: bool = False

    def pull(self) -> Event | Literal[NeedData.NEED_DATA]:
        """Take the next message or control frame, or `NEED_DATA`.

        Raises:
            RemoteProtocolError: The peer broke a rule or went over a limit. There must be no further call.
        """
        fragments = 0
        self.is_behind = False
        if self._first_part:
            part, self._first_part = self._first_part, b""
            return PartReceived(part, is_final=False)
        while not self.is_behind:
            header = self._header or self._begin_frame()
            if header is None or self.is_oversize:
                return NEED_DATA
            event = (
                self._read_data(header) if header.opcode < Opcode.CLOSE else self._read_control(header.opcode)
            )
            if event is NEED_DATA:
                return NEED_DATA
            if not (self._decoder.remaining or (self._is_compressed and self._has_more)):
                self._header = None
            if event is not None:
                return event
            fragments += 1
            self.is_behind = fragments >= self._fragments_at_once
        return NEED_DATA

    def pull_compressed(self) -> str | bytes | None:
        """Take the next message if it is compressed, whole and in one frame; else None, and `pull` tells.

        What most compressed messages are, without an event for each; only while the decoder `is_plain`.
        """
        decoder, inflater = self._decoder, self._inflater
        # Also between two messages, a control frame may have begun.
        header = None if inflater is None or decoder.remaining else decoder.read_header()
        if header is None:
            return None
        self._peeked = header
        decoder.is_plain = False
        fin, rsv, opcode, mask, length, is_minimal = header
        if rsv != _RSV1 or not fin or opcode not in _KINDS or length > decoder.unread:
            return None
        if (mask is not None) is not self._must_be_masked or not is_minimal:
            return None
        assert inflater is not None
        try:
            data = inflater.inflate(decoder.read_part(), self._room + 1, is_last=True)
        except RemoteProtocolError as error:
            self._refused = error
            return None
        try:
            message = data.decode() if opcode == _TEXT else data
        except UnicodeDecodeError:
            message = None
        if message is None or inflater.has_more:
            self._whole = data
            return None
        self._peeked = None
        decoder.is_plain = True
        return message

    def stream(self) -> bool:
        """Give the message that is open in parts from now on, until it is whole; whether there is one."""
        first = self._assembler.stream()
        if first is None:
            return False
        self._first_part = first
        self.is_oversize = False
        return True

    def too_large(self) -> RemoteProtocolError:
        """The error for a message that is over its limit."""
        return self._assembler.too_large()

    def leave_plain(self) -> None:
        """Let the decoder be asked for no message past the reader any more."""
        self._may_be_plain = self._decoder.is_plain = False

    def _begin_frame(self) -> FrameHeader | None:
        header = self._peeked
        if header is None:
            header = self._decoder.read_header()
        else:
            self._peeked = None
            self._decoder.is_plain = self._may_be_plain
        if header is None:
            return None
        if self._refused is not None:
            raise self._refused
        may_be_compressed = self._inflater is not None
        check_header(header, must_be_masked=self._must_be_masked, may_be_compressed=may_be_compressed)
        if header.opcode < Opcode.CLOSE:
            if header.opcode:
                self._is_compressed = header.rsv > 0
            self._assembler.begin_frame(header, is_compressed=self._is_compressed)
            self.is_oversize = self._assembler.is_oversize
            self._decoder.is_plain = False
        self._header = header
        return header

    def _read_data(
        self, header: FrameHeader
    ) -> TextReceived | BinaryReceived | PartReceived | Literal[NeedData.NEED_DATA] | None:
        if self._is_compressed:
            return self._read_compressed(header)
        if self._assembler.is_streaming:
            return self._read_part(header)
        if header.fin and header.opcode and header.length > _LARGE_PAYLOAD:
            # Received into its final place, so UTF-8 is checked at the end.
            payload = self._decoder.read_payload()
            return NEED_DATA if payload is None else self._finish(payload)
        part = self._decoder.read_part()
        if self._decoder.remaining:
            self._assembler.add(part)
            return NEED_DATA
        if header.fin:
            return self._finish(part)
        self._assembler.add(part)
        return None

    def _read_part(self, header: FrameHeader) -> PartReceived | Literal[NeedData.NEED_DATA] | None:
        part = self._decoder.read_part()
        return self._give_part(part, header, is_whole=not self._decoder.remaining)

    def _give_part(
        self, part: bytes, header: FrameHeader, *, is_whole: bool
    ) -> PartReceived | Literal[NeedData.NEED_DATA] | None:
        is_final = is_whole and header.fin
        data = self._assembler.take(part, is_final=is_final)
        if is_final:
            self._decoder.is_plain = self._may_be_plain
        if data or is_final:
            return PartReceived(data, is_final)
        return None if is_whole else NEED_DATA

    def _read_compressed(
        self, header: FrameHeader
    ) -> TextReceived | BinaryReceived | PartReceived | Literal[NeedData.NEED_DATA] | None:
        assembler, inflater = self._assembler, self._inflater
        assert inflater is not None
        # One byte more than there is room for shows that there are too many, and costs no more than they do.
        room = _LARGEST_PART if assembler.is_streaming else assembler.room + 1
        if self._whole is not None:
            data, self._whole = self._whole, None
        elif inflater.has_more:
            data = inflater.go_on(room)
        else:
            part = self._decoder.read_part()
            data = inflater.inflate(part, room, is_last=header.fin and not self._decoder.remaining)
        assembler.count(len(data))
        is_whole = not (self._decoder.remaining or inflater.has_more)
        if assembler.is_streaming:
            return self._give_part(data, header, is_whole=is_whole)
        if is_whole and header.fin:
            return self._finish(data)
        assembler.add(data)
        self.is_oversize = assembler.is_oversize
        return NEED_DATA if self._decoder.remaining and not inflater.has_more else None

    @property
    def _has_more(self) -> bool:
        """Whether the inflater has something that was not taken."""
        return self._inflater is not None and self._inflater.has_more

    def _finish(self, part: bytes) -> TextReceived | BinaryReceived:
        event = self._assembler.finish(part)
        self._decoder.is_plain = self._may_be_plain
        return event

    def _read_control(
        self, opcode: int
    ) -> PingReceived | PongReceived | CloseReceived | Literal[NeedData.NEED_DATA]:
        payload = self._decoder.read_payload()
        if payload is None:
            return NEED_DATA
        if opcode == Opcode.PING:
            return PingReceived(payload)
        if opcode == Opcode.PONG:
            return PongReceived(payload)
        said = decode_close(payload)
        return CloseReceived(said.code, said.reason or "")
