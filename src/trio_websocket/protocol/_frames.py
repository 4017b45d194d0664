"""Which frames a peer may send (RFC 6455 §5.2, §5.5)."""

from __future__ import annotations

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket._kernel import FrameHeader

__all__ = ["MAX_CONTROL_SIZE", "check_control_payload", "check_header"]

# RFC 6455 §5.5: control frames MUST have a payload length of 125 bytes or less.
MAX_CONTROL_SIZE = 125

_KNOWN = frozenset({0x0, 0x1, 0x2, 0x8, 0x9, 0xA})
_FIRST = frozenset({0x1, 0x2})


# RFC 7692 §6: RSV1 says that a message is compressed, once that was agreed on.
_RSV1 = 4


def check_header(header: FrameHeader, *, must_be_masked: bool, may_be_compressed: bool = False) -> None:
    """Hold a frame's header against the rules that need nothing but the header.

    Args:
        header: The header.
        must_be_masked: Whether the peer has to mask.
        may_be_compressed: Whether compression was agreed on.

    Raises:
        RemoteProtocolError: It breaks one.
    """
    fin, rsv, opcode, mask, length, is_minimal = header
    # RFC 6455 §5.2: RSV bits MUST be 0 unless an extension is negotiated that gives them a meaning.
    # RFC 7692 §6: RSV1 may be set on the first frame of a message, and MUST NOT be on any other.
    if rsv and not (rsv == _RSV1 and may_be_compressed and opcode in _FIRST):
        raise RemoteProtocolError(f"frame with reserved bits set: {rsv:03b}")
    # RFC 6455 §5.2: an unknown opcode fails the connection.
    if opcode not in _KNOWN:
        raise RemoteProtocolError(f"frame with unknown opcode {opcode}")
    # RFC 6455 §5.1: a client masks all its frames, a server none; either closes on the other's mistake.
    if (mask is not None) is not must_be_masked:
        raise RemoteProtocolError(
            "client sent an unmasked frame" if must_be_masked else "server sent a masked frame"
        )
    # RFC 6455 §5.2: the minimal number of bytes MUST be used, and the most significant bit of 64 MUST be 0.
    if not is_minimal:
        raise RemoteProtocolError(f"frame whose length {length} is not written in the fewest bytes")
    if length >= 1 << 63:
        raise RemoteProtocolError("frame whose 64-bit length has its highest bit set")
    if opcode & 0x8:
        _check_control(fin, length)


def _check_control(fin: bool, length: int) -> None:
    # RFC 6455 §5.5: control frames MUST NOT be fragmented.
    if not fin:
        raise RemoteProtocolError("fragmented control frame")
    if length > MAX_CONTROL_SIZE:
        raise RemoteProtocolError(f"control frame of {length} bytes exceeds {MAX_CONTROL_SIZE}")


def check_control_payload(payload: bytes) -> None:
    """Hold what a caller wants to send in a ping or a pong against RFC 6455 §5.5.

    Raises:
        ValueError: It is over 125 bytes.
    """
    if len(payload) > MAX_CONTROL_SIZE:
        raise ValueError(
            f"control payload of {len(payload)} bytes exceeds {MAX_CONTROL_SIZE} (RFC 6455 §5.5)"
        )
