"""The loops over bytes, in plain Python: the specification that a compiled twin has to match.

It holds no policy. It takes frames apart and puts them together (RFC 6455 §5.2) and reports what it saw, a wrong
length or a forbidden bit as well as any other; `trio_websocket.protocol` decides what is an error.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

__all__ = ["Buffer", "FrameDecoder", "FrameHeader", "apply_mask", "encode_frame"]

Buffer = bytes | bytearray | memoryview
"""Contiguous bytes; a memoryview has format `"B"`."""

# Consumed bytes are cut off the front of the buffer once there are so many: bytearray does that in constant time,
# but not for free.
_COMPACT_AT = 65536


class FrameHeader(NamedTuple):
    """A frame's header as it stood on the wire (RFC 6455 §5.2).

    `rsv` holds the three reserved bits as a number from 0 to 7, RSV1 being 4. `mask` is the masking key, None for an
    unmasked frame. `length` may be anything up to 2**64 - 1. `is_minimal` says whether the length was written in the
    fewest bytes.
    """

    fin: bool
    rsv: int
    opcode: int
    mask: bytes | None
    length: int
    is_minimal: bool


def apply_mask(data: Buffer, mask: bytes, offset: int = 0) -> bytes:
    """Mask or unmask (RFC 6455 §5.3).

    Args:
        data: What to mask; it is not changed.
        mask: The key, four bytes.
        offset: How many bytes of the payload came before `data`.

    Returns:
        As many bytes as `data` has.
    """
    size = len(data)
    if offset % 4:
        offset %= 4
        mask = mask[offset:] + mask[:offset]
    # One exclusive-or of two long integers is far faster than a loop over bytes, and linear.
    key = int.from_bytes((mask * (size // 4 + 1))[:size], sys.byteorder)
    return (int.from_bytes(data, sys.byteorder) ^ key).to_bytes(size, sys.byteorder)


def encode_frame(
    opcode: int, payload: Buffer, *, fin: bool = True, rsv: int = 0, mask: bytes | None = None
) -> bytes:
    """Put a frame together (RFC 6455 §5.2), its length in the fewest bytes.

    Args:
        opcode: 0 to 15.
        payload: The payload, not yet masked.
        fin: Whether it is the last frame of its message.
        rsv: The three reserved bits, RSV1 being 4.
        mask: The masking key, four bytes, or None for an unmasked frame.
    """
    size = len(payload)
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask_bit = 0 if mask is None else 0x80
    if size < 126:
        head = bytes((first, mask_bit | size))
    elif size < 65536:
        head = bytes((first, mask_bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, mask_bit | 127)) + size.to_bytes(8, "big")
    if mask is None:
        return b"".join((head, payload))
    return b"".join((head, mask, apply_mask(payload, mask)))


class FrameDecoder:
    """Takes frames apart, however the bytes were cut.

    Give it bytes with `receive_data`. At the border of two frames, call `read_header`; then take the payload, whole
    with `read_payload` or as it comes with `read_part`, until `remaining` is 0.
    """

    __slots__ = ("_buffer", "_mask", "_mask_offset", "_position", "remaining")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._mask: bytes | None = None
        self._mask_offset = 0
        self.remaining = 0
        """Bytes of the current frame's payload that were not read yet."""

    @property
    def unread(self) -> int:
        """Bytes that were received and not read yet."""
        return len(self._buffer) - self._position

    def receive_data(self, data: Buffer) -> None:
        """Take `data` in; it is copied."""
        self._buffer += data

    def discard(self) -> None:
        """Forget all that was received and not read."""
        self._buffer.clear()
        self._position = 0

    def read_header(self) -> FrameHeader | None:
        """Read the next frame's header, or None until it is there whole, with its masking key."""
        assert self.remaining == 0
        buffer, start = self._buffer, self._position
        available = len(buffer) - start
        if available < 2:
            return None
        first, second = buffer[start], buffer[start + 1]
        length = second & 0x7F
        size = 2
        is_minimal = True
        if length >= 126:
            extended, least = (2, 126) if length == 126 else (8, 65536)
            size += extended
            if available < size:
                return None
            length = int.from_bytes(buffer[start + 2 : start + size], "big")
            is_minimal = length >= least
        mask = None
        if second & 0x80:
            size += 4
            if available < size:
                return None
            mask = bytes(buffer[start + size - 4 : start + size])
        self._consume(size)
        self._mask = mask
        self._mask_offset = 0
        self.remaining = length
        return FrameHeader(bool(first & 0x80), first >> 4 & 7, first & 0x0F, mask, length, is_minimal)

    def read_payload(self) -> bytes | None:
        """Read all that remains of the current frame's payload, unmasked, or None until it is there whole."""
        if self.unread < self.remaining:
            return None
        return self.read_part()

    def read_part(self) -> bytes:
        """Read what has come of the current frame's payload, unmasked: anything from nothing to all of it."""
        size = min(self.remaining, self.unread)
        if not size:
            return b""
        start = self._position
        part = self._buffer[start : start + size]
        self._consume(size)
        self.remaining -= size
        if self._mask is None:
            return bytes(part)
        offset = self._mask_offset
        self._mask_offset = offset + size & 3
        return apply_mask(part, self._mask, offset)

    def _consume(self, size: int) -> None:
        self._position += size
        if self._position == len(self._buffer):
            self._buffer.clear()
            self._position = 0
        elif self._position >= _COMPACT_AT:
            del self._buffer[: self._position]
            self._position = 0
