"""The loops over bytes. Everything above imports them from here, whichever twin runs."""

from __future__ import annotations

from trio_websocket._kernel._py import Buffer, FrameDecoder, FrameHeader, apply_mask, encode_frame

__all__ = ["Buffer", "FrameDecoder", "FrameHeader", "apply_mask", "encode_frame"]
