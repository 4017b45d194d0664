"""What a caller may set for a connection."""

from __future__ import annotations

import dataclasses
import math

import pytest

from trio_websocket import PerMessageDeflate
from trio_websocket._options import ConnectionOptions

NAMES = {field.name for field in dataclasses.fields(ConnectionOptions)}
NUMBERS = sorted(NAMES - {"compression", "heartbeat"})


def test_defaults_are_those_of_the_signatures() -> None:
    assert dataclasses.asdict(ConnectionOptions()) == {
        "message_queue_size": 1,
        "max_message_size": 2**20,
        "receive_buffer_size": 4096,
        "message_queue_bytes": 2**20,
        "write_backlog": 2**16,
        "max_fragments": 2**16,
        "max_streamed_size": None,
        "compression": None,
        "heartbeat": None,
        "connect_timeout": 60,
        "disconnect_timeout": 60,
    }


@pytest.mark.parametrize("value", [-1, -math.inf, math.nan])
@pytest.mark.parametrize("name", NUMBERS)
def test_limit_that_is_none_is_refused_by_its_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value!r} is not a number of at least 0"):
        ConnectionOptions(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted({*NUMBERS} - {"receive_buffer_size", "max_streamed_size"}))
def test_other_limits_may_not_be_none(name: str) -> None:
    with pytest.raises(TypeError):
        ConnectionOptions(**{name: None})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [4096.0, math.inf])
def test_receive_buffer_size_is_an_int(value: float) -> None:
    with pytest.raises(TypeError, match=f"receive_buffer_size={value} is not an int"):
        ConnectionOptions(receive_buffer_size=value)  # type: ignore[arg-type]


def test_receive_buffer_size_asks_for_something() -> None:
    with pytest.raises(ValueError, match="receive_buffer_size=0 asks for nothing"):
        ConnectionOptions(receive_buffer_size=0)


@pytest.mark.parametrize("value", [0, math.inf])
def test_zero_and_infinity_are_limits(value: float) -> None:
    assert ConnectionOptions(max_message_size=value, connect_timeout=value).max_message_size == value


@pytest.mark.parametrize(("given", "size"), [(4096, None), (None, None), (1, 1), (65536, 65536)])
def test_receive_size_is_the_librarys_choice_by_default(given: int | None, size: int | None) -> None:
    assert ConnectionOptions(receive_buffer_size=given).receive_size == size


def test_options_are_frozen() -> None:
    options = ConnectionOptions()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.write_backlog = 1  # type: ignore[misc]


def test_compression_is_checked_and_kept_as_offers() -> None:
    terms = PerMessageDeflate(level=9)
    assert ConnectionOptions(compression=False).compression is None
    assert ConnectionOptions(compression=True).compression == (PerMessageDeflate(),)
    assert ConnectionOptions(compression=terms).compression == (terms,)
    assert ConnectionOptions(compression=[terms, terms]).compression == (terms, terms)
    with pytest.raises(TypeError, match="compression must be a bool"):
        ConnectionOptions(compression=6)  # type: ignore[arg-type]


def test_heartbeat_is_checked() -> None:
    with pytest.raises(TypeError, match="heartbeat=20 is not a Heartbeat"):
        ConnectionOptions(heartbeat=20)  # type: ignore[arg-type]
