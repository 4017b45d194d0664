"""Messages to compressed payloads and back, over each library that does it."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import random
import tracemalloc
import zlib

import pytest
from core_support import cut
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_websocket.protocol import PerMessageDeflate, RemoteProtocolError, Role
from trio_websocket.protocol import _deflate_streams as streams
from trio_websocket.protocol._deflate_streams import Deflater, Inflater

TAIL = b"\x00\x00\xff\xff"
LARGE = 2**30
ISAL = pytest.param("isal.isal_zlib", id="isal")


@pytest.fixture(params=[pytest.param("zlib", id="stdlib"), ISAL], autouse=True)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is used where there is a choice: the standard library, and the extra."""
    name: str = request.param
    module = None if name == "zlib" else pytest.importorskip(name, reason="the extra is not installed")
    monkeypatch.setattr(streams, "_fast", module)
    return name


def pair(terms: PerMessageDeflate | None = None, sender: Role = Role.SERVER) -> tuple[Deflater, Inflater]:
    """What one end compresses with, and the other decompresses with."""
    terms = terms or PerMessageDeflate()
    receiver = Role.CLIENT if sender is Role.SERVER else Role.SERVER
    return Deflater(terms, sender), Inflater(terms, receiver)


def inflated(inflater: Inflater, *parts: bytes, max_size: int = LARGE) -> bytes:
    """A whole message out of the parts of its payload."""
    message = b""
    for number, part in enumerate(parts, 1):
        message += inflater.inflate(part, max_size, is_last=number == len(parts))
        while inflater.has_more:
            message += inflater.go_on(max_size)
    return message


def hexed(text: str) -> bytes:
    return bytes.fromhex(text)


# ----------------------------------------------------------------------------------------------- RFC 7692, section 7.2.3


def test_a_message_is_the_one_of_the_rfc() -> None:
    deflater, inflater = pair()
    payload = deflater.finish(b"Hello")
    assert payload == hexed("f2 48 cd c9 c9 07 00")  # §7.2.3.1
    assert inflated(inflater, payload) == b"Hello"
    assert inflated(inflater, hexed("f2 48 cd"), hexed("c9 c9 07 00")) == b"Hello"


def test_the_window_is_shared_as_in_the_rfc() -> None:
    _, inflater = pair()
    assert inflated(inflater, hexed("f2 48 cd c9 c9 07 00")) == b"Hello"
    assert inflated(inflater, hexed("f2 00 11 00 00")) == b"Hello"  # §7.2.3.2


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param("00 05 00 fa ff 48 65 6c 6c 6f 00", id="§7.2.3.3, no compression"),
        pytest.param("f3 48 cd c9 c9 07 00 00", id="§7.2.3.4, BFINAL"),
        pytest.param("f2 48 05 00 00 00 ff ff ca c9 c9 07 00", id="§7.2.3.5, two blocks"),
        pytest.param("f2 48 cd c9 c9 07 00 00 00 ff ff 00", id="flushed before the end"),
    ],
)
def test_what_an_encoder_may_write_is_understood(payload: str) -> None:
    whole = hexed(payload)
    for size in (1, 2, 3, len(whole)):
        _, inflater = pair()
        for _ in range(2):
            assert inflated(inflater, *cut(whole, [size])) == b"Hello"


def test_an_empty_message_is_an_empty_block() -> None:
    deflater, inflater = pair()
    for message in (b"", b"x", b"", b"", b"x"):
        payload = deflater.finish(message)
        assert payload
        assert inflated(inflater, payload) == message
    # §7.2.3.6: what an endpoint may make by itself.
    assert inflated(inflater, hexed("00")) == b""
    assert inflated(inflater, hexed("f2 48 cd c9 c9 07 00 00 00 ff ff"), hexed("00")) == b"Hello"


# -------------------------------------------------------------------------------------------------------- round trips

TERMS = [
    PerMessageDeflate(takeover, takeover, bits, bits, level=level, memory_level=memory)
    for takeover in (False, True)
    for bits, level, memory in [
        (None, 2, 8),
        (15, 3, 9),
        (12, 1, 8),
        (9, -1, 1),
        (8, 9, 8),
        (8, 0, 1),
        (10, 0, 5),
    ]
]


@pytest.mark.slow
@settings(max_examples=50)
@given(
    messages=st.lists(st.binary(max_size=400) | st.text(max_size=200).map(str.encode), max_size=6),
    repeats=st.integers(1, 100),
    terms=st.sampled_from(TERMS),
    sender=st.sampled_from(list(Role)),
    sizes=st.lists(st.integers(10, 2000), max_size=3),
    max_size=st.integers(50, 5000) | st.just(LARGE),
)
def test_what_goes_in_comes_out_however_it_is_cut(
    messages: list[bytes],
    repeats: int,
    terms: PerMessageDeflate,
    sender: Role,
    sizes: list[int],
    max_size: int,
) -> None:
    deflater, inflater = pair(terms, sender)
    for message in [each * repeats for each in messages]:
        parts = list(cut(message, sizes)) or [b""]
        payload = b"".join(deflater.compress(part) for part in parts[:-1]) + deflater.finish(parts[-1])
        assert inflated(inflater, *cut(payload, sizes), max_size=max_size) == message


@pytest.mark.parametrize("terms", TERMS)
def test_the_standard_library_reads_it_in_the_agreed_window(terms: PerMessageDeflate) -> None:
    # Repeats from just within to far outside of any window.
    numbers = random.Random(1)
    block = numbers.randbytes(40_000)
    message = b"".join(block[at : at + 300] for at in (0, *numbers.choices(range(39_000), k=200), 0)) + block
    bits = terms.server_max_window_bits or 15
    deflater, _ = pair(terms)
    context = zlib.decompressobj(-bits)
    for _ in range(2):
        if terms.server_no_context_takeover:
            context = zlib.decompressobj(-bits)
        assert context.decompress(deflater.finish(message) + TAIL) == message


def test_a_window_of_256_bytes_is_not_overstepped() -> None:
    deflater, _ = pair(PerMessageDeflate(server_max_window_bits=8, threshold=0))
    for distance in range(200, 600):
        block = os.urandom(distance)
        payload = deflater.finish(block * 2) + TAIL
        # Nothing refers to anything that came before.
        assert zlib.decompressobj(-8).decompress(payload) == block * 2
        assert len(payload) >= 2 * distance


# ---------------------------------------------------------------------------------------------- contexts, and their ends


@pytest.mark.parametrize("sender", list(Role))
@pytest.mark.parametrize(("server", "client"), list(itertools.product([False, True], repeat=2)))
def test_each_end_takes_over_what_was_agreed_for_it(sender: Role, server: bool, client: bool) -> None:
    deflater, inflater = pair(PerMessageDeflate(server, client), sender)
    begins_anew = server if sender is Role.SERVER else client
    message = bytes(range(256))
    first, second = deflater.finish(message), deflater.finish(message)
    assert (second == first) is begins_anew
    assert begins_anew or len(second) < len(first) / 4
    assert [inflated(inflater, first), inflated(inflater, second)] == [message] * 2


def test_a_sender_without_takeover_is_held_to_it() -> None:
    kept, _ = pair()
    _, inflater = pair(PerMessageDeflate(server_no_context_takeover=True))
    message = bytes(range(256))
    assert inflated(inflater, kept.finish(message)) == message
    with pytest.raises(RemoteProtocolError, match="no DEFLATE data"):
        inflated(inflater, kept.finish(message))


def contexts(*ends: Deflater | Inflater) -> tuple[bool, ...]:
    """Whether each has a context."""
    return tuple(end._context is not None for end in ends)


def test_memory_is_taken_with_the_first_message_and_held_only_as_agreed() -> None:
    for takeover in (False, True):
        deflater, inflater = pair(PerMessageDeflate(takeover))
        assert contexts(deflater, inflater) == (False, False)
        deflater.compress(b"x")
        payload = deflater.finish(b"y")
        inflater.inflate(payload[:1], 9, is_last=False)
        assert contexts(deflater, inflater)[1]
        inflater.inflate(payload[1:], 9, is_last=True)
        assert contexts(deflater, inflater) == (not takeover, not takeover)


@pytest.mark.parametrize("takeover", [False, True])
def test_what_follows_a_final_block_is_read_on(takeover: bool) -> None:
    terms = PerMessageDeflate(takeover)
    _, inflater = pair(terms)
    deflater, _ = pair(terms)
    finished = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = finished.compress(b"first ") + finished.flush(zlib.Z_FINISH)
    for size, max_size in itertools.product((1, 3, LARGE), (1, 5, 6, 7, LARGE)):
        # Two final blocks, then ordinary ones, all in one message.
        payload = block + block + Deflater(terms, Role.SERVER).finish(b"second")
        assert inflated(inflater, *cut(payload, [size]), max_size=max_size) == b"first first second"
        assert inflated(inflater, block + b"\x00", max_size=max_size) == b"first "
        assert not inflater.has_more
    # It began anew with that, and so does whoever has sent it.
    assert inflated(inflater, deflater.finish(b"third")) == b"third"


def test_final_blocks_are_bounded_in_one_message() -> None:
    empty = zlib.compressobj(wbits=-15).flush(zlib.Z_FINISH)
    for _ in range(2):
        _, inflater = pair()
        for _ in range(3):
            assert inflated(inflater, empty * 1024 + b"\x00") == b""
        with pytest.raises(RemoteProtocolError, match="over 1024 final blocks") as caught:
            inflated(inflater, empty * 1024, empty + b"\x00")
        assert caught.value.code == 1009


# ------------------------------------------------------------------------------------------------------ hostile peers


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\x07", id="reserved type of block"),
        pytest.param(b"\x00\x05\x00\x00\x00Hello", id="length without its complement"),
        pytest.param(b"\xf2\x00\x11\x00\x00", id="nothing to refer to"),
        pytest.param(b"\xff" * 100, id="ones"),
    ],
)
def test_what_is_no_deflate_data_is_an_error(payload: bytes) -> None:
    _, inflater = pair()
    with pytest.raises(RemoteProtocolError, match="compressed message that is no DEFLATE data: ") as caught:
        inflated(inflater, payload)
    assert caught.value.code == 1007
    assert caught.value.__cause__ is None


@pytest.mark.slow
@given(st.binary(max_size=300), st.integers(1, 300))
def test_any_bytes_give_bytes_within_the_bound_or_that_error(data: bytes, max_size: int) -> None:
    _, inflater = pair()
    with contextlib.suppress(RemoteProtocolError):
        part = inflater.inflate(data, max_size, is_last=True)
        while inflater.has_more:
            assert len(part) == max_size
            part = inflater.go_on(max_size)
        assert len(part) <= max_size


def test_a_bomb_costs_no_more_than_what_is_taken_of_it() -> None:
    context = zlib.compressobj(9, zlib.DEFLATED, -15)
    # After a full flush, the next megabyte reads the same.
    bomb = (context.compress(bytes(2**20)) + context.flush(zlib.Z_FULL_FLUSH)) * 1000
    assert len(bomb) < 2**21
    _, inflater = pair()
    tracemalloc.start()
    try:
        part = inflater.inflate(bomb, 2**20, is_last=True)
        assert len(part) == 2**20
        assert inflater.has_more
        # Beside the input with its tail, and what is left of it.
        assert tracemalloc.get_traced_memory()[1] < 2 * len(bomb) + 4 * 2**20
    finally:
        tracemalloc.stop()
    assert len(inflater.go_on(5)) == 5


# ---------------------------------------------------------------------------------------------------- which is chosen


def used(terms: PerMessageDeflate) -> tuple[bool, bool]:
    """Whether what a server of these terms compresses with, and decompresses with, is the extra."""
    deflater, inflater = Deflater(terms, Role.SERVER), Inflater(terms, Role.SERVER)
    deflater.compress(b"")
    inflater.inflate(b"", 1, is_last=False)
    return tuple("isal" in type(each._context).__module__ for each in (deflater, inflater))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("terms", "deflates", "inflates"),
    [
        (PerMessageDeflate(), True, True),
        (PerMessageDeflate(level=1), True, True),
        (PerMessageDeflate(level=4, memory_level=9), True, True),
        # It has other levels than these, and one size of memory.
        (PerMessageDeflate(level=5), False, True),
        (PerMessageDeflate(level=0), False, True),
        (PerMessageDeflate(level=-1), False, True),
        (PerMessageDeflate(memory_level=7), False, True),
        (PerMessageDeflate(server_max_window_bits=8), False, True),
        (PerMessageDeflate(client_max_window_bits=14), True, False),
    ],
)
def test_the_extra_is_used_where_it_does_what_was_asked_for(
    backend: str, terms: PerMessageDeflate, deflates: bool, inflates: bool
) -> None:
    is_there = backend != "zlib"
    assert used(terms) == (deflates and is_there, inflates and is_there)


def test_the_extra_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def import_module(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", import_module)
    assert streams._find_fast() is None
    monkeypatch.setattr(importlib, "import_module", lambda name: name)
    assert streams._find_fast() == "isal.isal_zlib"  # type: ignore[comparison-overlap]
