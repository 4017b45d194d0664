"""What one kernel writes as frames, either kernel reads as the same frames, however they are cut."""

from __future__ import annotations

import importlib
from typing import Any, Final

from inputs import Step, Wire, split

KERNELS: Final = [importlib.import_module(f"trio_websocket._kernel.{name}") for name in ("_py", "_cy")]
OPCODES: Final = (0, 1, 2, 3, 8, 9, 10, 15)
MAX_FRAMES: Final = 12
MAX_PIECES: Final = 1000


def written(kernel: Any, step: Step, payload: bytes, mask: bytes | None) -> bytes:
    """One frame, and its header beside its payload: these are the same."""
    opcode, fin, rsv = OPCODES[step.action], bool(step.number & 1), step.number >> 2
    frame: bytes = kernel.encode_frame(opcode, payload, fin=fin, rsv=rsv, mask=mask)
    if mask is None:
        assert frame == kernel.encode_header(opcode, len(payload), fin=fin, rsv=rsv) + payload
    else:
        assert kernel.apply_mask(frame[-len(payload) :] if payload else b"", mask, 0) == payload
    return frame


def read(kernel: Any, data: bytes, sizes: list[int]) -> list[tuple[Any, bytes]]:
    """All frames that come when the bytes are cut to these sizes, over and over."""
    decoder = kernel.FrameDecoder()
    frames: list[tuple[Any, bytes]] = []
    header, position, turn = None, 0, 0
    while position < len(data):
        # Not byte by byte where there are many: an input has to be quick.
        size = max(1, len(data) // MAX_PIECES, sizes[turn % len(sizes)]) if sizes else len(data)
        turn += 1
        decoder.receive_data(data[position : position + size])
        position += size
        while True:
            header = header or decoder.read_header()
            payload = None if header is None else decoder.read_payload()
            if payload is None:
                break
            frames.append((header, payload))
            header = None
    assert decoder.unread == 0
    return frames


def check(data: bytes) -> None:
    """The target."""
    bits, steps, wire = split(data)
    source = Wire(wire)
    mask = wire[:4] if bits & 1 and len(wire) >= 4 else None
    writer = KERNELS[bits >> 1]
    steps, cuts = steps[:MAX_FRAMES], [step.size for step in steps[MAX_FRAMES:]]
    payloads = [source.take(step.size) for step in steps]
    data = b"".join(
        written(writer, step, payload, mask) for step, payload in zip(steps, payloads, strict=True)
    )
    for kernel in KERNELS:
        frames = read(kernel, data, cuts)
        assert [payload for _, payload in frames] == payloads
        for (header, payload), step in zip(frames, steps, strict=True):
            assert header.opcode == OPCODES[step.action]
            assert (header.fin, header.rsv) == (bool(step.number & 1), step.number >> 2)
            assert (header.length, header.mask, header.is_minimal) == (len(payload), mask, True)
