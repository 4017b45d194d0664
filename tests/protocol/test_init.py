"""The public names of the sans-I/O core."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any, get_origin

import pytest

from trio_websocket import protocol
from trio_websocket.protocol import (
    NEED_DATA,
    ClientHandshake,
    HandshakeCompleted,
    RequestReceived,
    Role,
    ServerHandshake,
    Session,
    TextReceived,
)

# Python 3.10 takes `tuple[int]` for a class.
CLASSES = [
    name
    for name in protocol.__all__
    if inspect.isclass(getattr(protocol, name)) and get_origin(getattr(protocol, name)) is None
]


def test_all_names_are_listed_and_no_other() -> None:
    public = {name for name, value in vars(protocol).items() if not name.startswith("_")}
    modules = {name for name, value in vars(protocol).items() if isinstance(value, ModuleType)}
    assert public - modules - {"annotations"} == set(protocol.__all__)
    assert len(protocol.__all__) == len(set(protocol.__all__))


def test_what_the_core_raises_and_gives_is_public_too() -> None:
    for module in (protocol._events, protocol._session):
        assert set(module.__all__) <= set(protocol.__all__)


@pytest.mark.parametrize("name", CLASSES)
def test_a_public_class_and_its_members_are_documented(name: str) -> None:
    documented: Any = getattr(protocol, name)
    # What a NamedTuple or a dataclass writes of its own begins with the class's name and its arguments.
    assert documented.__doc__ and not documented.__doc__.startswith(f"{name}(")
    for member, value in vars(documented).items():
        if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{member}"


def test_a_connection_can_be_made_without_io() -> None:
    client = ClientHandshake(host="example.org", resource="/chat")
    server = ServerHandshake()
    server.receive_data(client.data_to_send())
    assert isinstance(server.next_event(), RequestReceived)
    server.accept()
    # The server's first message comes together with its answer.
    server_session = Session(Role.SERVER)
    server_session.send_message("welcome")
    assert client.next_event() is NEED_DATA
    client.receive_data(server.data_to_send() + server_session.data_to_send())
    assert isinstance(client.next_event(), HandshakeCompleted)
    client_session = Session(Role.CLIENT)
    client_session.receive_data(client.trailing_data)
    event = client_session.next_event()
    assert isinstance(event, TextReceived)
    assert event.data == "welcome"
    assert client_session.next_event() is NEED_DATA
