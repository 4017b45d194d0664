"""The loops over bytes (frames, HTTP heads), and the short ways between sockets and tasks; for all above, whichever twin serves.

That is the compiled one, or the plain one where it was not built. The environment variable TRIO_WEBSOCKET_KERNEL,
`compiled` or `plain`, leaves no choice.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from trio_websocket._kernel import _py

__all__ = [
    "JOIN_SIZE",
    "KERNEL",
    "Buffer",
    "FrameDecoder",
    "FrameHeader",
    "Inlet",
    "Intake",
    "MessageQueue",
    "Outlet",
    "Turns",
    "apply_mask",
    "encode_frame",
    "encode_header",
    "encode_message",
    "read_fields",
    "read_ready",
    "read_request",
]


def _choose() -> ModuleType:
    wanted = os.environ.get("TRIO_WEBSOCKET_KERNEL", "")
    if wanted not in {"", "compiled", "plain"}:
        raise ValueError(f"TRIO_WEBSOCKET_KERNEL is {wanted!r}, not 'compiled' or 'plain'")
    if wanted == "plain":
        return _py
    try:
        return importlib.import_module("trio_websocket._kernel._cy")
    except ImportError as error:
        if wanted == "compiled":
            text = "TRIO_WEBSOCKET_KERNEL is 'compiled', but the compiled kernel is not there"
            raise ImportError(text) from error
        return _py


_twin = _choose()

KERNEL: Literal["compiled", "plain"] = "plain" if _twin is _py else "compiled"
"""Which twin serves."""

# The twins' types are the same, and the plain one has them written down.
if TYPE_CHECKING:
    from trio_websocket._kernel._py import (
        JOIN_SIZE,
        Buffer,
        FrameDecoder,
        FrameHeader,
        Inlet,
        Intake,
        MessageQueue,
        Outlet,
        Turns,
        apply_mask,
        encode_frame,
        encode_header,
        encode_message,
        read_fields,
        read_ready,
        read_request,
    )
else:
    JOIN_SIZE = _twin.JOIN_SIZE
    Buffer = _twin.Buffer
    FrameDecoder = _twin.FrameDecoder
    FrameHeader = _twin.FrameHeader
    Inlet = _twin.Inlet
    Intake = _twin.Intake
    MessageQueue = _twin.MessageQueue
    Outlet = _twin.Outlet
    Turns = _twin.Turns
    apply_mask = _twin.apply_mask
    encode_frame = _twin.encode_frame
    encode_header = _twin.encode_header
    encode_message = _twin.encode_message
    read_fields = _twin.read_fields
    read_ready = _twin.read_ready
    read_request = _twin.read_request
