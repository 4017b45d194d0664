"""The loops over bytes, in plain Python: the specification that a compiled twin has to match.

It holds no policy. It takes frames apart and puts them together (RFC 6455 §5.2) and reports what it saw, a wrong
length or a forbidden bit as well as any other; `trio_websocket.protocol` decides what is an error.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import NamedTuple

__all__ = [
    "Buffer",
    "FrameDecoder",
    "FrameHeader",
    "apply_mask",
    "encode_frame",
    "encode_header",
    "encode_message",
]

Buffer = bytes | bytearray | memoryview
"""Bytes; a memoryview has to be C-contiguous, and stands for its bytes, whatever its format."""

# Consumed bytes are cut off the front of the buffer once there are so many: bytearray does that in constant time,
# but not for free.
_COMPACT_AT = 65536

# Over so many bytes, a payload that is not whole yet is collected outside of the buffer.
_LARGE = 65536
# Up to here, its room grows in few steps, sixteenfold; beyond, twofold.
_QUICK_ROOM = 2**20


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
        offset: How many bytes of the payload came before `data`; less than 2**63.

    Returns:
        As many bytes as `data` has.
    """
    _check_mask(mask)
    data = _flat(data)
    size = len(data)
    if offset % 4:
        offset %= 4
        mask = mask[offset:] + mask[:offset]
    # One exclusive-or of two long integers is far faster than a loop over bytes, and linear.
    key = int.from_bytes((mask * (size // 4 + 1))[:size], sys.byteorder)
    return (int.from_bytes(data, sys.byteorder) ^ key).to_bytes(size, sys.byteorder)


def encode_frame(
    opcode: int, payload: Buffer | str, *, fin: bool = True, rsv: int = 0, mask: bytes | None = None
) -> bytes:
    """Put a frame together (RFC 6455 §5.2), its length in the fewest bytes.

    Args:
        opcode: 0 to 15.
        payload: The payload, not yet masked; a str is encoded in UTF-8.
        fin: Whether it is the last frame of its message.
        rsv: The three reserved bits, RSV1 being 4.
        mask: The masking key, four bytes, or None for an unmasked frame.

    Raises:
        UnicodeEncodeError: The payload is a str with a surrogate in it.
    """
    payload = payload.encode() if isinstance(payload, str) else _flat(payload)
    head = encode_header(opcode, len(payload), fin=fin, rsv=rsv, mask=mask)
    return b"".join((head, payload if mask is None else apply_mask(payload, mask)))


def encode_message(message: object, max_size: int, mask: bytes | None = None) -> bytes | None:
    """Put a message together as one frame, as `encode_frame` does, if it is a str, or bytes of at most `max_size`; else None.

    Raises:
        UnicodeEncodeError: It is a str with a surrogate in it.
    """
    if type(message) is str:
        return encode_frame(1, message, mask=mask)
    if type(message) is bytes and len(message) <= max_size:
        return encode_frame(2, message, mask=mask)
    return None


def encode_header(
    opcode: int, size: int, *, fin: bool = True, rsv: int = 0, mask: bytes | None = None
) -> bytes:
    """Put only the header of a frame together, with its masking key; the payload is sent behind it as it is.

    Args:
        opcode: As in `encode_frame`; so are `fin`, `rsv` and `mask`.
        size: Bytes of payload, from 0 to 2**64 - 1.
    """
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    mask_bit = 0 if mask is None else 0x80
    if 0 <= size < 126:
        head = bytes((first, mask_bit | size))
    elif 126 <= size < 65536:
        head = bytes((first, mask_bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, mask_bit | 127)) + size.to_bytes(8, "big")
    if mask is None:
        return head
    _check_mask(mask)
    return head + mask


def _check_mask(mask: bytes) -> None:
    if len(mask) != 4:
        raise ValueError(f"a masking key has 4 bytes, not {len(mask)}")


def _flat(data: Buffer) -> Buffer:
    if isinstance(data, memoryview):
        return data.cast("B")
    if isinstance(data, bytes | bytearray):
        return data
    raise TypeError(f"a bytes-like object is required, not {type(data).__name__!r}")


class FrameDecoder:
    """Takes frames apart, however the bytes were cut.

    Give it bytes with `receive_data`. At the border of two frames, call `read_message`, which takes the next frame
    whole if it is a plain message, or `read_header`; then take the payload, whole with `read_payload` or as it comes
    with `read_part`, until `remaining` is 0.

    A large payload that `read_payload` is asked for before it is whole is *collected*: what has come of it is moved
    to the object that will be returned, and what comes goes straight there, given to `receive_data` or, with no copy
    in between, received by `fill`. Its room follows what has really come, not what the header claims: 64 KiB, then up
    to sixteen times as much as has come until that is 1 MiB, then up to twice as much.
    """

    __slots__ = (
        *("_buffer", "_is_closed", "_mask", "_mask_offset", "_payload", "_position"),
        *("is_plain", "remaining"),
    )

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_closed = False
        self._position = 0
        self._mask: bytes | None = None
        self._mask_offset = 0
        # The payload that is collected, unmasked up to its position. BytesIO gives it as bytes without a copy.
        self._payload: io.BytesIO | None = None
        self.remaining: int = 0
        """Bytes of the current frame's payload that were not read yet, whether they have come or not."""
        self.is_plain: bool = True
        """Whether `read_message` may give messages; for who takes frames apart to say."""

    @property
    def unread(self) -> int:
        """Bytes that were received and not read yet; those of a collected payload count as soon as it is whole."""
        size = len(self._buffer) - self._position
        if self._payload is not None and not self.is_filling:
            size += self.remaining
        return size

    @property
    def is_filling(self) -> bool:
        """Whether a payload is collected and more of it has to come."""
        return self._payload is not None and self._payload.tell() < self.remaining

    def receive_data(self, data: Buffer) -> None:
        """Take `data` in; it is copied."""
        data = _flat(data)
        if self._is_closed:
            return
        if self._payload is not None:
            missing = self.remaining - self._payload.tell()
            part = memoryview(data)[:missing]
            self._make_room(self._payload, self._payload.tell() + len(part))
            self._payload.write(self._unmask(part))
            data = memoryview(data)[len(part) :]
        self._buffer += data

    def fill(self, receive: Callable[[memoryview], int]) -> int:
        """Receive more of the payload that is collected; only while `is_filling`.

        Args:
            receive: Called once with the place to write to, and returns how many bytes it has written, such as
                `socket.recv_into`. It must neither keep the view nor use the decoder. What it raises is passed on,
                and nothing has changed.

        Returns:
            What `receive` returned.
        """
        payload = self._payload
        assert payload is not None and self.is_filling
        position = payload.tell()
        self._make_room(payload, position + 1)
        with payload.getbuffer() as whole, whole[position:] as room:
            size = receive(room)
            if not 0 <= size <= len(room):
                raise ValueError(f"{size} bytes were received where {len(room)} have room")
            if self._payload is not payload or payload.tell() != position:
                raise RuntimeError("the decoder was used while it was filled")
            if self._mask is not None:
                with room[:size] as part:
                    part[:] = self._unmask(part)
        payload.seek(position + size)
        return size

    def close(self) -> None:
        """Forget all that was received and not read, with the frame that was begun, and take nothing in any more."""
        self._is_closed = True
        self.is_plain = False
        self._buffer.clear()
        self._position = 0
        self._payload = None
        self.remaining = 0

    def read_message(self, is_masked: bool, max_size: int) -> str | bytes | None:
        """Read the next frame whole, if that is all it takes: no error and no state to keep in mind.

        Args:
            is_masked: Whether the frame has to be masked.
            max_size: Bytes of payload that it may have; less than 2**63, and a negative number for none at all.

        Returns:
            The payload of a frame that has come whole, is a text or binary message of its own, masked or not as it
            has to be, without reserved bits, its length within `max_size` and written in the fewest bytes, and its
            text UTF-8. For anything else, and while not `is_plain`, None, and nothing was read: take the frame apart.
        """
        if self.remaining or not self.is_plain:
            return None
        parsed = self._parse_header()
        if parsed is None:
            return None
        first, mask, length, is_minimal, size = parsed
        if first not in {0x81, 0x82} or (mask is not None) != is_masked or not is_minimal:
            return None
        start = self._position + size
        if length > max_size or length > len(self._buffer) - start:
            return None
        part = self._buffer[start : start + length]
        payload = bytes(part) if mask is None else apply_mask(part, mask)
        message: str | bytes = payload
        if first == 0x81:
            try:
                message = payload.decode()
            except UnicodeDecodeError:
                return None
        self._consume(size + length)
        return message

    def read_header(self) -> FrameHeader | None:
        """Read the next frame's header, or None until it is there whole, with its masking key."""
        assert self.remaining == 0
        parsed = self._parse_header()
        if parsed is None:
            # That may take long: keep no room for more than has come.
            del self._buffer[: self._position]
            self._position = 0
            return None
        first, mask, length, is_minimal, size = parsed
        self._consume(size)
        self._mask = mask
        self._mask_offset = 0
        self.remaining = length
        return FrameHeader(bool(first & 0x80), first >> 4 & 7, first & 0x0F, mask, length, is_minimal)

    def read_payload(self) -> bytes | None:
        """Read all that remains of the current frame's payload, unmasked, or None until it is there whole.

        If that is over 64 KiB, it is collected from now on.
        """
        if self.unread >= self.remaining:
            return self.read_part()
        if self.remaining > _LARGE and self._payload is None:
            self._payload = io.BytesIO()
            size = self._payload.write(self._take(self.unread))
            self._make_room(self._payload, size + 1)
        return None

    def read_part(self) -> bytes:
        """Read what has come of the current frame's payload, unmasked: anything from nothing to all of it."""
        payload, self._payload = self._payload, None
        if payload is None:
            part = self._take(min(self.remaining, self.unread))
        else:
            payload.truncate()
            part = payload.getvalue()
        self.remaining -= len(part)
        return part

    def _parse_header(self) -> tuple[int, bytes | None, int, bool, int] | None:
        # The first byte, the masking key, the payload's length, whether that is minimal, and the header's own length.
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
        return first, mask, length, is_minimal, size

    def _make_room(self, payload: io.BytesIO, needed: int) -> None:
        position = payload.tell()
        room = payload.seek(0, io.SEEK_END)
        if needed > room:
            room = max(needed, 2 * room, _LARGE, min(16 * room, _QUICK_ROOM))
            payload.seek(min(self.remaining, room) - 1)
            payload.write(b"\0")
        payload.seek(position)

    def _take(self, size: int) -> bytes:
        part = self._buffer[self._position : self._position + size]
        self._consume(size)
        return bytes(self._unmask(part))

    def _unmask(self, part: Buffer) -> Buffer:
        if self._mask is None:
            return part
        offset = self._mask_offset
        self._mask_offset = offset + len(part) & 3
        return apply_mask(part, self._mask, offset)

    def _consume(self, size: int) -> None:
        self._position += size
        if self._position == len(self._buffer):
            self._buffer.clear()
            self._position = 0
        elif self._position >= _COMPACT_AT:
            del self._buffer[: self._position]
            self._position = 0
