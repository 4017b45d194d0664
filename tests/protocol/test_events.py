"""Events are frozen facts."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from trio_websocket.protocol import _events
from trio_websocket.protocol._events import (
    NEED_DATA,
    BinaryReceived,
    CloseReceived,
    HandshakeCompleted,
    NeedData,
    PartReceived,
    PingReceived,
    PongReceived,
    RequestReceived,
    ResponseRejected,
    TextReceived,
)

EVENTS: list[tuple[Any, dict[str, Any]]] = [
    (TextReceived, {"data": "text"}),
    (BinaryReceived, {"data": b"bytes"}),
    (PartReceived, {"data": "text", "is_final": False}),
    (PingReceived, {"payload": b"ping"}),
    (PongReceived, {"payload": b"pong"}),
    (CloseReceived, {"code": 1000, "reason": "bye"}),
    (RequestReceived, {"path": "/?q", "headers": ((b"a", b"b"),), "subprotocols": ("x",)}),
    (HandshakeCompleted, {"subprotocol": None, "headers": (), "compression": None}),
    (ResponseRejected, {"status_code": 404, "headers": (), "body": b"no"}),
]
IDS = [kind.__name__ for kind, _ in EVENTS]


@pytest.mark.parametrize(("kind", "fields"), EVENTS, ids=IDS)
def test_an_event_takes_its_fields_by_place_or_name(kind: Any, fields: dict[str, Any]) -> None:
    event = kind(*fields.values())
    assert event == kind(**fields)
    assert {name: getattr(event, name) for name in fields} == fields


@pytest.mark.parametrize(("kind", "fields"), EVENTS, ids=IDS)
def test_an_event_is_frozen_and_hashable(kind: Any, fields: dict[str, Any]) -> None:
    event = kind(**fields)
    assert len({event, kind(**fields)}) == 1
    for name in fields:
        with pytest.raises(AttributeError):
            setattr(event, name, 1)


def test_events_of_different_kinds_differ_whatever_they_carry() -> None:
    ping: object = PingReceived(b"x")
    assert ping != PongReceived(b"x")


@pytest.mark.parametrize(("kind", "fields"), EVENTS, ids=IDS)
def test_an_event_shows_its_name_and_fields(kind: Any, fields: dict[str, Any]) -> None:
    shown = ", ".join(f"{name}={value!r}" for name, value in fields.items())
    assert repr(kind(**fields)) == f"{kind.__name__}({shown})"


def test_every_event_is_tested_here() -> None:
    assert {*IDS, "NEED_DATA", "NeedData", "Headers"} == set(_events.__all__)


def test_need_data_is_one_thing_wherever_it_goes() -> None:
    assert NEED_DATA is NeedData.NEED_DATA
    assert repr(NEED_DATA) == "NEED_DATA"
    assert copy.deepcopy(NEED_DATA) is NEED_DATA
    assert pickle.loads(pickle.dumps(NEED_DATA)) is NEED_DATA
