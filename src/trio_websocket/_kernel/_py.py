"""The plain twin: all of the kernel in plain Python, as the specification of the compiled one."""

from trio_websocket._kernel._py_frames import (
    Buffer,
    FrameDecoder,
    FrameHeader,
    apply_mask,
    encode_frame,
    encode_header,
    encode_message,
)
from trio_websocket._kernel._py_heads import read_fields, read_request
from trio_websocket._kernel._py_inlet import Inlet, Intake, MessageQueue, read_ready
from trio_websocket._kernel._py_outlet import JOIN_SIZE, Outlet, Turns

__all__ = [
    "JOIN_SIZE",
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
