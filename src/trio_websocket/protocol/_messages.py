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

# What is decompressed at once: zlib may take twice as much for a moment.
_MAX_ROOM: Final = 2**20

_Utf8Decoder = codecs.getincrementaldecoder("utf-8")
_INVALID_UTF8: Final = "text message that is not UTF-8"


class MessageAssembler:
    """Puts the parts of one message together, or checks them one by one, and refuses what is too large.

    Args:
        max_message_size: Bytes of payload in one message; `math.inf` for no limit.
        max_fragments: Frames in one message; `math.inf` for no limit.
        max_streamed_size: Bytes of payload in one message that is given in parts, if that is more.

    Attributes:
        is_streaming: Whether the open message is given in parts.
    """

    __slots__ = (
        "_data",
        "_fragments",
        "_is_compressed",
        "_max_fragments",
        "_max_message_size",
        "_max_streamed_size",
        "_opcode",
        "_size",
        "_utf8",
        "is_streaming",
    )

    def __init__(self, max_message_size: float, max_fragments: float, max_streamed_size: float = 0) -> None:
        self._max_message_size = max_message_size
        self._max_streamed_size = max(max_streamed_size, max_message_size)
        self._max_fragments = max_fragments
        # Invariant: at most one message is open; `_opcode` is its kind.
        self._opcode: int | None = None
        self._data = bytearray()
        self._size = 0  # by the headers that came, or by what was decompressed
        self._is_compressed = False
        self._fragments = 0
        self.is_streaming: bool = False
        # Made when a text comes in parts: most never do, and every connection would hold one.
        self._utf8: codecs.IncrementalDecoder | None = None

    def begin_frame(self, header: FrameHeader, *, is_compressed: bool = False) -> None:
        """Admit a data frame by its header; if the message is compressed, `count` has to tell its size.

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
        self._is_compressed = is_compressed
        if not is_compressed:
            self.count(header.length)

    def count(self, size: int) -> None:
        """Admit so many bytes more.

        Raises:
            RemoteProtocolError: That is over the limit (1009).
        """
        self._size += size
        if self._size > self._max_streamed_size:
            raise self.too_large()

    @property
    def room(self) -> int:
        """Bytes that the open message may still have to be given whole, up to 1 MiB at once."""
        return int(min(self._max_message_size - self._size, _MAX_ROOM))

    @property
    def is_oversize(self) -> bool:
        """Whether the open message is larger than `max_message_size`, and may only be given in parts."""
        return self._size > self._max_message_size and not self.is_streaming

    def too_large(self) -> RemoteProtocolError:
        """The error for the open message, which is over its limit."""
        limit = f"max_message_size={self._max_message_size}"
        if self._size > self._max_streamed_size > self._max_message_size:
            limit = f"max_streamed_size={self._max_streamed_size}"
        # How large a compressed message is shows only when it is too late.
        size = f"at least {self._size}" if self._is_compressed else f"{self._size}"
        return RemoteProtocolError(f"message of {size} bytes exceeds {limit}", code=1009)

    def stream(self) -> str | bytes | None:
        """Give the open message in parts from now on, first what has come of it; None if no message is open."""
        if self._opcode is None:
            return None
        self.is_streaming = True
        data, self._data = self._data, bytearray()
        if self._opcode != Opcode.TEXT:
            return bytes(data)
        # What of a character is there stays with the decoder that has checked it.
        pending = 0 if self._utf8 is None else len(self._utf8.getstate()[0])
        return data[: len(data) - pending].decode()

    def take(self, part: bytes, *, is_final: bool) -> str | bytes:
        """Take in what has come of the current frame's payload, and give it, but for a character that is cut.

        Raises:
            RemoteProtocolError: It can't be UTF-8 any more, whatever follows (1007).
        """
        data = self._decode(part, is_final=is_final) if self._opcode == Opcode.TEXT else part
        if is_final:
            self._close()
        return data

    def add(self, part: bytes) -> None:
        """Take in what has come of the current frame's payload.

        Raises:
            RemoteProtocolError: It can't be UTF-8 any more, whatever follows (1007).
        """
        if self._opcode == Opcode.TEXT:
            self._decode(part, is_final=False)
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
        self._close()
        if not is_text:
            return BinaryReceived(bytes(data))
        try:
            return TextReceived(data.decode())
        except UnicodeDecodeError:
            raise RemoteProtocolError(_INVALID_UTF8, code=1007) from None

    def _close(self) -> None:
        self._opcode = self._utf8 = None
        self._size = self._fragments = 0
        self.is_streaming = False

    def _decode(self, part: bytes, *, is_final: bool) -> str:
        # RFC 6455 §8.1: invalid UTF-8 fails the connection; the sooner, the less an attacker gets done.
        if self._utf8 is None:
            self._utf8 = _Utf8Decoder()
        try:
            text = self._utf8.decode(part, is_final)
        except UnicodeDecodeError:
            raise RemoteProtocolError(_INVALID_UTF8, code=1007) from None
        # Python waits for the third byte of a surrogate, though the second has said already what it is (RFC 3629 §3).
        pending = self._utf8.getstate()[0]
        if pending[:1] == b"\xed" and pending[1:] >= b"\xa0":
            raise RemoteProtocolError(_INVALID_UTF8, code=1007)
        return text
