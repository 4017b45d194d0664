"""The header by which a server asks to be left alone for a while (RFC 9110 §10.2.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_websocket.protocol._retry_after import MAX_RETRY_AFTER, retry_after

# RFC 9110 §5.6.7: the three forms of one moment.
FORMS = [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"]
MOMENT = 784111777.0


def asked(value: bytes, *more: tuple[bytes, bytes], now: float = MOMENT - 100) -> float:
    return retry_after(((b"server", b"x"), (b"retry-after", value), *more), now=now)


@pytest.mark.parametrize(("value", "seconds"), [(b"0", 0), (b"120", 120), (b" 7 ", 7), (b"007", 7)])
def test_seconds_are_taken_as_they_are(value: bytes, seconds: float) -> None:
    assert asked(value) == seconds


@pytest.mark.parametrize("value", FORMS)
def test_date_is_a_time_from_now(value: bytes) -> None:
    assert asked(value) == 100


@pytest.mark.parametrize("value", FORMS)
def test_date_is_read_by_the_clock_of_the_server_if_it_tells(value: bytes) -> None:
    assert asked(value, (b"date", b"Sun, 06 Nov 1994 08:49:27 GMT"), now=0) == 10


def test_date_in_the_past_asks_for_nothing() -> None:
    assert asked(FORMS[0], now=MOMENT + 1) == 0


@pytest.mark.parametrize("value", [b"3601", b"9" * 5000, b"Sun, 06 Nov 2094 08:49:37 GMT"])
def test_what_is_asked_for_has_a_bound(value: bytes) -> None:
    assert asked(value) == MAX_RETRY_AFTER


@pytest.mark.parametrize(
    "value",
    [b"", b"-5", b"1.5", b"soon", b"5 seconds", b"\xff", b"Sun, 06 Nov 99999 08:49:37 GMT", "٣".encode()],
)
def test_what_is_neither_asks_for_nothing(value: bytes) -> None:
    assert asked(value) == 0


def test_no_header_asks_for_nothing() -> None:
    assert retry_after((), now=0) == 0


@given(st.one_of(st.binary(max_size=60), st.text("0123456789 :,-+SunNovGMT", max_size=40).map(str.encode)))
def test_whatever_a_server_says_is_a_number_within_the_bound(value: bytes) -> None:
    assert 0 <= asked(value, (b"date", value)) <= MAX_RETRY_AFTER
    assert 0 <= asked(value) <= MAX_RETRY_AFTER
