"""The twins as wholes."""

from __future__ import annotations

from typing import Any


def test_the_twin_has_every_name_of_the_contract(kernel: Any) -> None:
    names = [
        "Buffer",
        "FrameDecoder",
        "FrameHeader",
        "Inlet",
        "Intake",
        "JOIN_SIZE",
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
    assert sorted(kernel.__all__) == names
    assert all(hasattr(kernel, name) for name in names)
