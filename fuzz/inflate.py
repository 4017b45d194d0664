"""Whatever comes as a compressed message, inflating gives what zlib gives, however it is cut and however little is taken.

Or it raises RemoteProtocolError; and it never gives more than was asked for.
"""

from __future__ import annotations

import zlib
from typing import Final

from inputs import Step, split

from trio_websocket.protocol import PerMessageDeflate, RemoteProtocolError, Role, _deflate_streams
from trio_websocket.protocol._deflate_streams import Deflater, Inflater

TERMS: Final = (
    PerMessageDeflate(),
    PerMessageDeflate(server_no_context_takeover=True),
    PerMessageDeflate(server_max_window_bits=9),
    PerMessageDeflate(server_no_context_takeover=True, server_max_window_bits=8, level=9),
)
IS_FAST: Final = _deflate_streams._fast is not None
MAX_TOTAL: Final = 300_000
ALL: Final = 2**20


def run(terms: PerMessageDeflate, payload: bytes, steps: list[Step]) -> tuple[bytes, int | None]:
    """One message, cut to the plan's sizes, and taken so many bytes at a time; the code of the error, if one came."""
    inflater = Inflater(terms, Role.CLIENT)
    out = bytearray()
    sizes = iter(steps)
    position = 0
    try:
        while True:
            step = next(sizes, Step(0, 31))
            room = max(1, step.size) if step.number != 31 else ALL
            if inflater.has_more:
                data = inflater.go_on(room)
            else:
                part = payload[position : position + step.size]
                position += step.size
                data = inflater.inflate(part, room, is_last=position >= len(payload))
            assert len(data) <= room
            out += data
            if len(out) > MAX_TOTAL or (position >= len(payload) and not inflater.has_more):
                return bytes(out[:MAX_TOTAL]), None
    except RemoteProtocolError as error:
        return bytes(out[:MAX_TOTAL]), error.code


def with_zlib(terms: PerMessageDeflate, payload: bytes) -> bytes | None:
    """What the standard library makes of a message without final blocks; None if it can't tell."""
    context = zlib.decompressobj(-(terms.server_max_window_bits or 15))
    try:
        data = context.decompress(payload + b"\x00\x00\xff\xff", MAX_TOTAL)
    except zlib.error:
        return None
    return None if context.eof or context.unconsumed_tail else data


def check(data: bytes) -> None:
    """The target."""
    bits, steps, payload = split(data)
    terms = TERMS[bits]
    whole, error = run(terms, payload, [])
    pieces, error_in_pieces = run(terms, payload, steps)
    assert error in {None, 1007, 1009}
    if error is None and error_in_pieces is None:
        assert whole == pieces
    else:
        # What comes before the fault may be more where less is asked for.
        shorter = min(len(whole), len(pieces))
        assert whole[:shorter] == pieces[:shorter]
        assert error == error_in_pieces or MAX_TOTAL in {len(whole), len(pieces)}, (error, error_in_pieces)
    expected = with_zlib(terms, payload)
    # The fast one sees the faults of a block that was cut off, for which zlib waits.
    if expected is not None and (error is None or not IS_FAST):
        assert (whole, error) == (expected, None)
    # And back: what is compressed comes out again, whatever it is.
    deflater = Deflater(terms, Role.SERVER)
    for message in (payload, payload[:100]):
        inflater = Inflater(terms, Role.CLIENT) if terms.server_no_context_takeover else None
        if inflater is not None:
            assert inflater.inflate(deflater.finish(message), ALL, is_last=True) == message
