"""The kinds of frames."""

from __future__ import annotations

from trio_websocket.protocol._opcodes import Opcode


def test_opcodes_are_those_of_the_rfc() -> None:
    assert {opcode.name: opcode.value for opcode in Opcode} == {
        "CONTINUATION": 0,
        "TEXT": 1,
        "BINARY": 2,
        "CLOSE": 8,
        "PING": 9,
        "PONG": 10,
    }


def test_control_frames_are_those_with_the_highest_bit() -> None:
    assert [opcode.name for opcode in Opcode if opcode & 0x8] == ["CLOSE", "PING", "PONG"]
