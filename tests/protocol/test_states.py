"""Roles and states: names that are part of the public interface."""

from __future__ import annotations

from trio_websocket.protocol._states import Role, SessionState


def test_each_role_has_a_name_for_logs() -> None:
    assert [role.value for role in Role] == ["client", "server"]


def test_states_follow_one_another() -> None:
    assert [state.value for state in SessionState] == ["open", "closing", "closed"]
