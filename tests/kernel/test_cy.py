"""What only the compiled kernel has to show: that it is as small as it says, and safe with memory that is its own.

All that it does is held by test_py_frames.py, test_py_inlet.py, test_py_outlet.py and test_twins.py.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from types import ModuleType
from typing import Any

import pytest
from support import BINARY, MASK, TEXT, frame

LARGE = 65536


def collecting(kernel: Any) -> Any:
    decoder = kernel.FrameDecoder()
    decoder.receive_data(frame(BINARY, bytes(3_000_000))[:50])
    decoder.read_header()
    assert decoder.read_payload() is None
    return decoder


def test_an_idle_decoder_is_one_small_object(compiled: Any) -> None:
    decoder = compiled.FrameDecoder()
    assert sys.getsizeof(decoder) <= 200
    assert not gc.is_tracked(decoder)
    tracemalloc.start()
    try:
        decoder.receive_data(frame(TEXT, b"short messages need no other memory", mask=MASK))
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now < 200


def test_a_place_that_is_kept_stays_safe_to_write_to(compiled: Any) -> None:
    decoder = collecting(compiled)
    kept: list[memoryview] = []

    def keep(view: memoryview) -> int:
        kept.append(view[:100])
        return len(view)

    while decoder.is_filling:
        decoder.fill(keep)
    payload = decoder.read_payload()
    assert len(payload) == 3_000_000
    assert len(kept) > 2  # the payload has moved
    del decoder
    for view in kept:
        view[:] = bytes(100)
    decoder = collecting(compiled)
    decoder.fill(keep)
    assert len(decoder.read_part()) > 10


@pytest.mark.parametrize("call", ["read_part", "close"])
def test_a_payload_that_is_taken_while_it_is_filled_does_no_harm(compiled: Any, call: str) -> None:
    decoder = collecting(compiled)

    def receive(view: memoryview) -> int:
        getattr(decoder, call)()
        view[-1] = 1
        return len(view)

    with pytest.raises(RuntimeError, match="the decoder was used while it was filled"):
        decoder.fill(receive)
    decoder.close()
    decoder.receive_data(frame(TEXT, b"abc"))
    assert decoder.unread == 0


def one_round(kernel: Any) -> None:
    """Everything that takes memory, errors among it."""
    decoder = kernel.FrameDecoder()
    decoder.receive_data(bytearray(frame(TEXT, b"x" * 300, mask=MASK)))
    decoder.read_message(True, 300)
    decoder.receive_data(memoryview(frame(TEXT, b"caf\xc3", mask=MASK)))
    decoder.read_message(True, 300)
    decoder.read_header()
    decoder.read_part()
    payload = collecting(kernel)
    payload.fill(len)
    payload.fill(lambda view: 0)
    with pytest.raises(ZeroDivisionError):
        payload.fill(lambda view: 1 // 0)
    payload.receive_data(bytes(2_000_000))
    payload.read_part()
    kernel.encode_frame(TEXT, "gr\u00fc\u00df", mask=MASK)
    kernel.encode_header(TEXT, 2**40)
    with pytest.raises(UnicodeEncodeError):
        kernel.encode_frame(TEXT, "\ud800")
    with pytest.raises(ValueError, match="key"):
        kernel.encode_frame(TEXT, memoryview(b"abc"), mask=b"")
    with pytest.raises(TypeError):
        kernel.apply_mask(memoryview(b"abc")[::2], MASK)


def test_nothing_leaks(compiled: ModuleType) -> None:
    one_round(compiled)
    tracemalloc.start()
    try:
        one_round(compiled)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(20):
            one_round(compiled)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # What leaked once a round would have come to more.
    assert after - before < 20 * 33
