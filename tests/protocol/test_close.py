"""What a close frame may say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_websocket._exceptions import CloseReason, RemoteProtocolError
from trio_websocket.protocol._close import (
    ABNORMAL,
    decode_close,
    describable_close,
    encode_close,
    is_sendable,
    no_close_frame,
    truncate_reason,
)

SENDABLE = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
UNSENDABLE = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 65535]


def test_sendable_codes_are_those_that_the_rfc_allows() -> None:
    assert {code for code in range(-1, 2**16 + 1) if is_sendable(code)} == SENDABLE


@pytest.mark.parametrize("code", [1000, 1014, 3000, 4999])
@pytest.mark.parametrize("reason", [None, "", "bye", "größer 😀", "x" * 123, "é" * 61])
def test_a_code_and_a_reason_are_written_and_read(code: int, reason: str | None) -> None:
    payload = encode_close(code, reason)
    assert payload == code.to_bytes(2, "big") + (reason or "").encode()
    assert decode_close(payload) == CloseReason(code, reason or None)


@pytest.mark.parametrize("reason", [None, ""])
def test_no_code_is_no_payload(reason: str | None) -> None:
    assert encode_close(1005, reason) == b""
    assert decode_close(b"") == CloseReason(1005, None)


@pytest.mark.parametrize("code", [*UNSENDABLE, -1, 65536])
def test_a_code_that_must_not_be_sent_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match=rf"close code {code} must not be sent"):
        encode_close(code, "reason")


@pytest.mark.parametrize(
    ("reason", "size"), [("x" * 124, 124), ("é" * 62, 124), ("😀" * 31, 124), ("x" * 999, 999)]
)
def test_a_reason_is_refused_when_its_bytes_do_not_fit(reason: str, size: int) -> None:
    with pytest.raises(ValueError, match=f"close reason of {size} bytes exceeds 123"):
        encode_close(1000, reason)


def test_a_reason_that_is_no_text_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        encode_close(1000, "\ud800")


@pytest.mark.parametrize("payload", [b"\x03", b"\x00", b"\xff"])
def test_half_a_code_is_an_error(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="half a close code") as caught:
        decode_close(payload)
    assert caught.value.code == 1002


@pytest.mark.parametrize("code", UNSENDABLE)
def test_a_code_that_must_not_be_sent_is_an_error(code: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"close frame with code {code}") as caught:
        decode_close(code.to_bytes(2, "big") + b"bye")
    assert caught.value.code == 1002


@pytest.mark.parametrize(
    "reason", [b"\x80", b"ok\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"cut \xe2\x82"]
)
def test_a_reason_that_is_not_utf8_is_an_error(reason: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="not UTF-8") as caught:
        decode_close(b"\x03\xe8" + reason)
    assert caught.value.code == 1007


@pytest.mark.parametrize("reason", [None, "größer", "x" * 123])
@pytest.mark.parametrize("code", sorted(SENDABLE & {*range(1016), 3000, 3999, 4000, 4999}))
def test_what_can_be_sent_is_described_as_it_is(code: int, reason: str | None) -> None:
    assert describable_close(code, reason) == (code, reason)


@pytest.mark.parametrize("reason", [None, ""])
@pytest.mark.parametrize(("code", "described"), [(1000, 1000), (1005, 1005), (1006, 1000), (1015, 1000)])
def test_no_reason_and_an_empty_one_are_described_alike(
    code: int, reason: str | None, described: int
) -> None:
    assert describable_close(code, reason) == (described, None)


@pytest.mark.parametrize("code", [1005, 1006, 1015])
def test_a_code_that_stands_for_what_happened_becomes_1000_with_its_reason(code: int) -> None:
    assert describable_close(code, "because") == (1000, "because")


@pytest.mark.parametrize("code", [1000, 1006, 4999])
def test_a_reason_is_cut_where_it_does_not_fit(code: int) -> None:
    described, reason = describable_close(code, "é" * 200)
    assert reason == "é" * 61
    assert len(encode_close(described, reason)) == 124


@pytest.mark.parametrize("code", [*sorted({*UNSENDABLE} - {1005, 1006, 1015}), 9999, -1, 65536])
def test_a_code_without_a_meaning_is_refused(code: int) -> None:
    with pytest.raises(ValueError, match=rf"close code {code} must not be sent"):
        describable_close(code, None)


@pytest.mark.slow
@given(st.integers(-1, 2**16) | st.sampled_from(sorted({1004, 1005, 1006, 1015})), st.none() | st.text())
def test_whatever_is_described_can_be_sent(code: int, reason: str | None) -> None:
    try:
        described = describable_close(code, reason)
    except ValueError:
        assert not is_sendable(code)
    else:
        assert decode_close(encode_close(*described)) == CloseReason(*described)


@pytest.mark.slow
@given(st.text() | st.text("aé€😀", min_size=25, max_size=150))
def test_a_truncated_reason_fits_and_is_the_longest_beginning_that_does(reason: str) -> None:
    short = truncate_reason(reason)
    encode_close(1000, short)
    assert reason.startswith(short)
    if short != reason:
        with pytest.raises(ValueError, match="exceeds 123"):
            encode_close(1000, reason[: len(short) + 1])


def test_an_end_without_a_close_frame_is_abnormal() -> None:
    assert no_close_frame().code == ABNORMAL == 1006
    assert no_close_frame() is not no_close_frame()
