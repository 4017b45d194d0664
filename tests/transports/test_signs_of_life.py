"""What each transport takes for a sign of life: bytes that came, and what the peer took of a backlog."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from certificates import Certificates
from fakes import Owner, narrow_pair, over, over_socket
from support import make_pair
from tls_support import talking_tls

settle = trio.testing.wait_all_tasks_blocked


async def test_socket_tells_of_bytes_that_came_once() -> None:
    async with over_socket() as (transport, _, theirs):
        assert not transport.take_sign_of_life()
        theirs.send(b"x")
        await settle()
        assert transport.take_sign_of_life()
        assert not transport.take_sign_of_life()


class FillingOwner(Owner):
    """Takes all as the rest of a large message."""

    is_filling = True

    def fill(self, receive: object) -> int:
        assert callable(receive)
        size = receive(memoryview(bytearray(100)))
        assert isinstance(size, int)
        return size


async def test_socket_tells_of_bytes_that_went_straight_to_where_they_belong() -> None:
    owner = FillingOwner()
    async with over_socket(owner=owner) as (transport, _, theirs):
        transport._is_large = True
        theirs.send(b"x")
        await settle()
        assert transport.take_sign_of_life()
        assert owner.data == b""


async def test_socket_tells_of_what_the_peer_has_taken_only_if_it_had_to_wait() -> None:
    async with over_socket(narrow_pair) as (transport, _, theirs):
        for _ in range(3):
            # Also what is collected, and sent when the scheduler turns, needed no peer.
            transport.write(b"x")
        await settle()
        assert not transport.take_sign_of_life()
        transport.write(bytes(100_000))
        await settle()
        assert transport.backlog
        assert not transport.take_sign_of_life()
        theirs.recv(50_000)
        await settle()
        assert transport.take_sign_of_life()
        assert transport.backlog
        assert not transport.take_sign_of_life()


async def test_stream_tells_of_bytes_that_came_once() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    async with over(ours) as (transport, _):
        assert not transport.take_sign_of_life()
        await theirs.send_all(b"x")
        await settle()
        assert transport.take_sign_of_life()
        assert not transport.take_sign_of_life()


async def test_stream_tells_of_what_the_peer_has_taken_only_if_it_had_to_wait() -> None:
    ours, theirs = make_pair(is_tight=True)
    async with over(ours) as (transport, _):
        transport.write(b"x")
        await settle()
        # It waits, and nobody knows since when.
        assert not transport.take_sign_of_life()
        assert not transport.take_sign_of_life()
        await theirs.receive_some(1)
        await settle()
        assert transport.take_sign_of_life()
        assert not transport.take_sign_of_life()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(theirs.receive_some, 1)
            transport.write(b"x")
        await settle()
        assert not transport.take_sign_of_life()


async def test_tls_tells_of_bytes_that_are_no_whole_record_yet(certificates: Certificates) -> None:
    async with talking_tls(certificates) as (transport, _, peer, _):
        await settle()
        transport.take_sign_of_life()
        assert not transport.take_sign_of_life()
        record = peer.records(b"hello")
        await peer.stream.send_all(record[:3])
        await settle()
        assert transport.take_sign_of_life()
        assert not transport.take_sign_of_life()


@pytest.mark.parametrize("pause", [True, False])
async def test_transports_know_whether_they_are_paused(certificates: Certificates, pause: bool) -> None:
    ours, _ = trio.testing.memory_stream_pair()
    async with (
        over(ours) as (stream, _),
        over_socket() as (sock, _, _),
        talking_tls(certificates) as (tls, _, _, _),
    ):
        for transport in (stream, sock, tls):
            assert not transport.is_paused
            if pause:
                transport.pause_reading()
            assert transport.is_paused == pause
            transport.resume_reading()
            assert not transport.is_paused
