"""What is asked of permessage-deflate."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from trio_websocket.protocol import PerMessageDeflate
from trio_websocket.protocol._deflate import offers_of

PLAIN = PerMessageDeflate()
SMALL = PerMessageDeflate(server_max_window_bits=9, memory_level=1)


def test_terms_are_frozen_and_equal_if_they_say_the_same() -> None:
    assert PerMessageDeflate(level=3) == PerMessageDeflate(level=3) != PLAIN
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAIN.level = 9  # type: ignore[misc]


@pytest.mark.parametrize(
    "right",
    [
        {"server_max_window_bits": 8, "client_max_window_bits": 15},
        {"server_max_window_bits": None, "client_max_window_bits": None},
        {"level": -1, "memory_level": 1, "threshold": 0},
        {"level": 9, "memory_level": 9, "threshold": 10**9},
    ],
)
def test_numbers_at_their_bounds_are_right(right: dict[str, Any]) -> None:
    assert {name: getattr(PerMessageDeflate(**right), name) for name in right} == right


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"server_max_window_bits": 7}, "server_max_window_bits=7 is not a whole number from 8 to 15"),
        ({"client_max_window_bits": 16}, "client_max_window_bits=16 is not a whole number from 8 to 15"),
        ({"client_max_window_bits": "12"}, "client_max_window_bits='12' is not a whole number"),
        ({"level": 10}, "level=10 is not a whole number from -1 to 9"),
        ({"level": 1.5}, "level=1.5 is not a whole number"),
        ({"memory_level": 0}, "memory_level=0 is not a whole number from 1 to 9"),
        ({"threshold": -1}, "threshold=-1 is not a number of at least 0"),
    ],
)
def test_other_numbers_are_refused_by_their_names(wrong: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        PerMessageDeflate(**wrong)


@pytest.mark.parametrize(
    ("compression", "offers"),
    [
        (None, ()),
        (False, ()),
        ([], ()),
        (True, (PLAIN,)),
        (SMALL, (SMALL,)),
        ([SMALL, PLAIN], (SMALL, PLAIN)),
        ((PLAIN,), (PLAIN,)),
    ],
)
def test_compression_is_asked_for_in_several_ways(compression: object, offers: object) -> None:
    assert offers_of(compression) == offers


@pytest.mark.parametrize("compression", [1, "deflate", [True], {"level": 1}, {PLAIN}])
def test_anything_else_is_refused(compression: object) -> None:
    with pytest.raises(TypeError, match="compression must be a bool, a PerMessageDeflate or several"):
        offers_of(compression)
