"""Messages out of frames: fragments, UTF-8 and limits (RFC 6455 §5.4, §5.6, §8.1)."""

from __future__ import annotations

import codecs
from typing import Final

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket._kernel import FrameHeader
from trio_websocket.protocol._events import BinaryReceived, TextReceived
from trio_websocket.protocol._opcodes import Opcode

__all__ = ["DEFAULT_MAX_FRAGMENTS", "DEFAULT_MAX_MESSAGE_SIZE", "MessageAssembler"]

DEFAULT_MAX_MESSAGE_SIZE: Final = 2**20
DEFAULT_MAX_FRAGMENTS: Final = 2**16

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")
_INVALID_UTF8: Final = "text message that is not UTF-8"


class MessageAssembler:
    """Puts the parts of one message together, and refuses what is too large before it takes memory.

    Args:
        max_message_size: Bytes of payload in one message; `math.inf` for no limit.
        max_fragments: Frames in one message; `math.inf` for no limit.
    """

    __slots__ = ("_data", "_fragments", "_max_fragments", "_max_message_size", "_opcode", "_utf8")

    def __init__(self, max_message_size: float, max_fragments: float) -> None:
        self._max_message_size = max_message_size
        self._max_fragments = max_fragments
        # Invariant: at most one message is open; `_opcode` is its kind.
        self._opcode: int | None = None
        self._data = bytearray()
        self._fragments = 0
        # Made when a text comes in parts: most never do, and every connection would hold one.
        self._utf8: codecs.IncrementalDecoder | None = None

    def begin_frame(self, header: FrameHeader) -> None:
        """Admit a data frame by its header.

        Raises:
            RemoteProtocolError: It is out of order (1002), or goes over a limit (1009).
        """
        # RFC 6455 §5.4: the fragments of one message MUST NOT be interleaved with those of another.
        if header.opcode == Opcode.CONTINUATION:
            if self._opcode is None:
                raise RemoteProtocolError("continuation frame without a message to continue")
        elif self._opcode is not None:
            raise RemoteProtocolError("new message inside of a fragmented one")
        else:
            self._opcode = header.opcode
        self._fragments += 1
        if self._fragments > self._max_fragments:
            raise RemoteProtocolError(f"message exceeds max_fragments={self._max_fragments}", code=1009)
        size = len(self._data) + header.length
        if size > self._max_message_size:
            text = f"message of {size} bytes exceeds max_message_size={self._max_message_size}"
            raise RemoteProtocolError(text, code=1009)

    def add(self, part: bytes) -> None:
        """Take in what has come of the current frame's payload.

        Raises:
            RemoteProtocolError: It can't be UTF-8 any more, whatever follows (1007).
        """
        if self._opcode == Opcode.TEXT:
            self._check_utf8(part)
        self._data += part

    def finish(self, part: bytes) -> TextReceived | BinaryReceived:
        """Take in the message's last part, and give the whole.

        Raises:
            RemoteProtocolError: It is not UTF-8 (1007).
        """
        is_text = self._opcode == Opcode.TEXT
        data: bytes | bytearray = part
        if self._data:
            # What came before was checked as it came; decoding the whole checks the last part, and the border to it.
            self._data += part
            data = self._data
            self._data = bytearray()
            self._utf8 = None
        self._opcode = None
        self._fragments = 0
        if not is_text:
            return BinaryReceived(bytes(data))
        try:
            return TextReceived(data.decode())
        except UnicodeDecodeError:
            raise RemoteProtocolError(_INVALID_UTF8, code=1007) from None

    def _check_utf8(self, part: bytes) -> None:
        # RFC 6455 §8.1: invalid UTF-8 fails the connection; the sooner, the less an attacker gets done.
        if self._utf8 is None:
            self._utf8 = _Utf8Decoder()
        try:
            self._utf8.decode(part)
        except UnicodeDecodeError:
            raise RemoteProtocolError(_INVALID_UTF8, code=1007) from None
        # Python waits for the third byte of a surrogate, though the second has said already what it is (RFC 3629 §3).
        pending = self._utf8.getstate()[0]
        if pending[:1] == b"\xed" and pending[1:] >= b"\xa0":
            raise RemoteProtocolError(_INVALID_UTF8, code=1007)
