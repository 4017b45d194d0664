"""What one end of a session writes: frames in their order, masked by a client, with the answers to pings among them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from trio_websocket._kernel import Buffer, Outlet, encode_frame, encode_header, encode_message
from trio_websocket.protocol._deflate_streams import Deflater
from trio_websocket.protocol._opcodes import Opcode

__all__ = ["FrameWriter", "Message", "split_message"]

Message = str | bytes | bytearray | memoryview
"""What can be sent: `str` as a text message, everything else as a binary one."""

# While so many bytes wait to be taken, pongs are held.
_MAX_PONGS = 2**16

# From this size on, a payload that needs no mask is sent as it is, beside its header, rather than copied.
_LARGE: Final = 2**14

# RFC 7692 §6: the message is compressed.
_RSV1: Final = 4

_BYTES = (bytes, bytearray)


def split_message(message: Message) -> tuple[Opcode, Buffer | str]:
    """Give a message's opcode and payload.

    Raises:
        ValueError: It is neither text nor bytes.
    """
    if isinstance(message, str):
        return Opcode.TEXT, message
    if isinstance(message, _BYTES):
        return Opcode.BINARY, message
    if isinstance(message, memoryview):
        return Opcode.BINARY, message.cast("B") if message.c_contiguous else message.tobytes()
    raise ValueError(f"a message is str, bytes, bytearray or memoryview, not {type(message).__name__}")


class FrameWriter:
    """Queues frames until they are taken to be sent.

    Args:
        random_bytes: Gives as many unpredictable bytes as asked for, a client's masking keys (RFC 6455 §5.3, §10.3);
            None for a server, which doesn't mask.
        deflater: What compresses messages, or None if they must not be (RFC 7692).
    """

    __slots__ = (
        "_deflater",
        "_held_pong",
        "_is_deflating",
        "_is_holding_pongs",
        "_outgoing",
        "_outgoing_size",
        "_outlet",
        "_random_bytes",
    )

    def __init__(self, random_bytes: Callable[[int], bytes] | None, deflater: Deflater | None = None) -> None:
        self._random_bytes = random_bytes
        self._deflater = deflater
        self._is_deflating = False  # whether the fragments of the open message are compressed
        # Made when there is something: an idle connection should be small.
        self._outgoing: list[bytes] | None = None
        self._outgoing_size = 0
        self._is_holding_pongs = False
        self._held_pong: bytes | None = None
        self._outlet: Outlet | None = None

    def encode(self, opcode: int, payload: Buffer | str, *, fin: bool = True, rsv: int = 0) -> bytes:
        """Make one frame, for the caller to send."""
        if self._random_bytes is None:
            return encode_frame(opcode, payload, fin=fin, rsv=rsv)
        return encode_frame(opcode, payload, fin=fin, rsv=rsv, mask=self._random_bytes(4))

    def encode_alone(self, message: Message, compress: bool | None = None) -> bytes | None:
        """Make a message's frame, for the caller to send, if nothing is queued and it is small; else None.

        `compress` is as in `write_message`.
        """
        if self._outgoing:
            return None
        if self._deflater is not None:
            return self._encode_compressed(self._deflater, message, compress)
        if self._random_bytes is None:
            return encode_message(message, _LARGE - 1)
        return encode_message(message, _LARGE - 1, self._random_bytes(4))

    def set_up(self, outlet: Outlet) -> None:
        """Let `outlet` make frames as this writer does, until the writer is closed, and not while pongs are held."""
        self._outlet = outlet
        outlet.random_bytes = self._random_bytes
        outlet.max_size = -1 if self._is_holding_pongs else _LARGE - 1

    def _encode_compressed(self, deflater: Deflater, message: Message, compress: bool | None) -> bytes | None:
        kind = type(message)
        if not (kind is str or (kind is bytes and len(message) < _LARGE)):
            return None
        payload, rsv = self._compress(deflater, message, compress)
        return self.encode(Opcode.TEXT if kind is str else Opcode.BINARY, payload, rsv=rsv)

    def write_message(self, opcode: int, payload: Buffer | str, compress: bool | None = None) -> None:
        """Queue a message as one frame; `compress` decides whether it may be plain, None leaves that to its size."""
        if self._deflater is None:
            self.write(opcode, payload)
        else:
            payload, rsv = self._compress(self._deflater, payload, compress)
            self.write(opcode, payload, rsv=rsv)

    def write_fragment(
        self, opcode: int, payload: Buffer | str, compress: bool | None = None, *, fin: bool
    ) -> None:
        """Queue one frame of a message; `compress` counts with the first, and None stands for True."""
        rsv = 0
        if opcode:
            self._is_deflating = self._deflater is not None and compress is not False
            # RFC 7692 §6.1: RSV1 is set on the first frame only.
            rsv = _RSV1 if self._is_deflating else 0
        if self._is_deflating:
            assert self._deflater is not None
            data = payload.encode() if isinstance(payload, str) else payload
            payload = self._deflater.finish(data) if fin else self._deflater.compress(data)
        self.write(opcode, payload, fin=fin, rsv=rsv)

    def _compress(self, deflater: Deflater, message: Message, compress: bool | None) -> tuple[Buffer, int]:
        """Give the payload of a message, and the reserved bits that it needs."""
        # First of all: text that has no UTF-8 form must not leave a trace in what the peer decompresses with.
        data = message.encode() if isinstance(message, str) else message
        if compress or (compress is None and len(data) >= deflater.threshold):
            return deflater.finish(data), _RSV1
        return data, 0

    def write(self, opcode: int, payload: Buffer | str, *, fin: bool = True, rsv: int = 0) -> None:
        """Queue one frame."""
        # What is not bytes may change when the caller has it back.
        if self._random_bytes is None and type(payload) is bytes and len(payload) >= _LARGE:
            self._append(encode_header(opcode, len(payload), fin=fin, rsv=rsv))
            self._append(payload)
        else:
            self._append(self.encode(opcode, payload, fin=fin, rsv=rsv))

    def _append(self, part: bytes) -> None:
        if self._outgoing is None:
            self._outgoing = []
        self._outgoing.append(part)
        self._outgoing_size += len(part)

    def take(self) -> list[bytes]:
        """Take what is to be sent now, whole frames in their order; may be empty."""
        if self._held_pong is not None and not self._is_holding_pongs:
            self._release_pong()
        parts, self._outgoing = self._outgoing, None
        self._outgoing_size = 0
        return parts or []

    def answer_ping(self, payload: bytes) -> None:
        """Queue a pong, or keep it in place of the one that is held.

        RFC 6455 §5.5.3: an endpoint that has not yet answered earlier pings may answer only the most recent one.
        """
        if self._is_holding_pongs or self._outgoing_size > _MAX_PONGS:
            self._held_pong = payload
        else:
            self.write(Opcode.PONG, payload)

    def hold_pongs(self, hold: bool) -> None:
        """Keep only the latest pong from now on, or queue the one that was kept."""
        self._is_holding_pongs = hold
        if self._outlet is not None:
            # While a pong is held, each message is an occasion to look whether it may go.
            self._outlet.max_size = -1 if hold else _LARGE - 1
        if not hold:
            self._release_pong()

    def close(self) -> None:
        """Let go of the outlet and of the pong that is held: nothing may follow a close frame (RFC 6455 §5.5.1)."""
        self._held_pong = None
        if self._outlet is not None:
            self._outlet.max_size = -1
            self._outlet = None

    def _release_pong(self) -> None:
        payload, self._held_pong = self._held_pong, None
        if payload is not None:
            self.write(Opcode.PONG, payload)
