"""What a close frame may say (RFC 6455 §5.5.1, §7.4)."""

from __future__ import annotations

from trio_websocket._exceptions import CloseReason, RemoteProtocolError

__all__ = [
    "ABNORMAL",
    "MAX_REASON_SIZE",
    "NORMAL_CODES",
    "decode_close",
    "describable_close",
    "encode_close",
    "is_sendable",
    "no_close_frame",
    "truncate_reason",
]

# RFC 6455 §5.5: a control frame has at most 125 bytes of payload; two of them are the code.
MAX_REASON_SIZE = 123

# RFC 6455 §7.4.1: what no more than ends a connection; 1005 is a close frame without a code, as browsers send it by default.
NORMAL_CODES = frozenset({1000, 1001, 1005})

# RFC 6455 §7.4.1: 1004 is reserved; 1005, 1006 and 1015 must never be sent. 1012-1014 were registered later.
ABNORMAL = 1006
_NO_STATUS = 1005
_FORBIDDEN = frozenset({1004, _NO_STATUS, ABNORMAL, 1015})


def is_sendable(code: int) -> bool:
    """Whether `code` may stand in a close frame (RFC 6455 §7.4)."""
    return (1000 <= code <= 1015 and code not in _FORBIDDEN) or 3000 <= code <= 4999


def encode_close(code: int, reason: str | None) -> bytes:
    """Put a close frame's payload together; 1005 stands for no code at all.

    Raises:
        ValueError: The code must not be sent, the reason is over 123 bytes, or there is a reason without a code.
    """
    text = (reason or "").encode()
    if code == _NO_STATUS and not text:
        return b""
    if not is_sendable(code):
        raise ValueError(f"close code {code} must not be sent (RFC 6455 §7.4)")
    if len(text) > MAX_REASON_SIZE:
        raise ValueError(f"close reason of {len(text)} bytes exceeds {MAX_REASON_SIZE} (RFC 6455 §5.5)")
    return code.to_bytes(2, "big") + text


def decode_close(payload: bytes) -> CloseReason:
    """Take a close frame's payload apart.

    Raises:
        RemoteProtocolError: It breaks RFC 6455 §5.5.1, §7.4 or §8.1.
    """
    if not payload:
        return CloseReason(_NO_STATUS, None)
    # RFC 6455 §5.5.1: if there is a body, its first two bytes are the code.
    if len(payload) == 1:
        raise RemoteProtocolError("close frame with half a close code")
    code = int.from_bytes(payload[:2], "big")
    if not is_sendable(code):
        raise RemoteProtocolError(f"close frame with code {code}, which must not be sent")
    try:
        return CloseReason(code, payload[2:].decode() or None)
    except UnicodeDecodeError:
        raise RemoteProtocolError("close frame with a reason that is not UTF-8", code=1007) from None


def no_close_frame() -> RemoteProtocolError:
    """The error for a peer that ended the connection without a close frame: 1006, which is never on the wire."""
    return RemoteProtocolError("the peer ended the connection without a close frame", code=ABNORMAL)


def describable_close(code: int, reason: str | None) -> tuple[int, str | None]:
    """What a close frame can say of `code` and `reason`: codes that only stand for what happened become 1000.

    So what one connection was closed with can be handed on to another.

    Raises:
        ValueError: The code has no meaning at all (RFC 6455 §7.4).
    """
    reason = truncate_reason(reason or "") or None
    if code in (ABNORMAL, 1015) or (code == _NO_STATUS and reason):
        return 1000, reason
    if code != _NO_STATUS and not is_sendable(code):
        raise ValueError(f"close code {code} must not be sent (RFC 6455 §7.4)")
    return code, reason


def truncate_reason(reason: str) -> str:
    """Cut `reason` so that it fits into a close frame, never inside a character."""
    return reason.encode()[:MAX_REASON_SIZE].decode(errors="ignore")
