"""What the tests of a session share."""

from __future__ import annotations

import pytest

from trio_websocket.protocol import Role, Session


@pytest.fixture(params=list(Role), ids=[role.value for role in Role])
def role(request: pytest.FixtureRequest) -> Role:
    """Which end of the connection is under test: both, one after the other."""
    role: Role = request.param
    return role


@pytest.fixture
def session(role: Role) -> Session:
    """A new session."""
    return Session(role)
