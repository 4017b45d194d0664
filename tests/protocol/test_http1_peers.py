"""What is expected of either peer, before its message is taken apart."""

from __future__ import annotations

import pytest

from trio_websocket.protocol._http1_peers import CLIENT, SERVER, Peer

REQUEST_LINE = b"GET /a?b HTTP/1.1\r\n"
STATUS_LINE = b"HTTP/1.1 101 Switching Protocols\r\n"


@pytest.mark.parametrize(("peer", "line"), [(CLIENT, REQUEST_LINE), (SERVER, STATUS_LINE)])
def test_a_line_is_right_from_its_first_byte_on(peer: Peer, line: bytes) -> None:
    assert all(peer.start.fullmatch(line[:size], 0, 7) for size in range(1, len(line)))
    assert peer.first_line.match(line)


@pytest.mark.parametrize(("peer", "line"), [(CLIENT, REQUEST_LINE), (SERVER, STATUS_LINE)])
def test_a_line_may_end_with_a_bare_lf(peer: Peer, line: bytes) -> None:
    assert peer.first_line.match(line.replace(b"\r\n", b"\n"))


@pytest.mark.parametrize("first", [b"\x16\x03\x01", b"\x81\x05", b" GET", b"\r\n"])
@pytest.mark.parametrize("peer", [CLIENT, SERVER])
def test_what_can_begin_no_line_is_told_at_once(peer: Peer, first: bytes) -> None:
    assert not peer.start.fullmatch(first[:1], 0, 7)


@pytest.mark.parametrize("line", [b"GET /\n", b"GET / HTTP/1.1", b"GET /a b HTTP/1.1\r\n", STATUS_LINE])
def test_a_request_has_a_method_a_target_and_a_version(line: bytes) -> None:
    assert not CLIENT.first_line.match(line)


@pytest.mark.parametrize(
    "line", [b"HTTP/2.0 101 x\r\n", b"HTTP/1.1 099 x\r\n", b"HTTP/1.1 1010\r\n", REQUEST_LINE]
)
def test_a_response_has_a_version_and_a_status(line: bytes) -> None:
    assert not SERVER.first_line.match(line)
