"""Accepting connections on a plain socket: all of them, whatever goes wrong with one."""

from __future__ import annotations

import errno
import logging
import socket
import sys

import pytest
import trio
import trio.testing
from fakes import Owner

from trio_websocket._transports import SocketTransport, _accept, _hub, accept_sockets, is_plain_listener
from trio_websocket._transports._hub import hub_of_this_run

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

HOST = "127.0.0.1"


async def listen() -> trio.SocketListener:
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    return listener


def name_of(listener: trio.SocketListener) -> tuple[str, int]:
    address, port = listener.socket.getsockname()
    return address, port


class Accepted:
    """What was accepted, each with an owner."""

    def __init__(self) -> None:
        self.transports: list[SocketTransport] = []
        self.came = trio.lowlevel.ParkingLot()

    def serve(self, transport: SocketTransport) -> None:
        transport.set_owner(Owner())
        self.transports.append(transport)
        self.came.unpark_all()

    async def wait(self, count: int) -> None:
        while len(self.transports) < count:
            await self.came.park()

    def close(self) -> None:
        for transport in self.transports:
            transport.abort()


class FailingListener(_accept._Listener):
    """A listening socket whose `accept` fails so often."""

    failures: list[OSError]

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            raise self.failures.pop()
        return super().accept()


async def accept_with(
    monkeypatch: pytest.MonkeyPatch, *failures: OSError, listening: type[socket.socket] = FailingListener
) -> Accepted:
    """Accept one connection after these failures."""
    FailingListener.failures = list(failures)
    monkeypatch.setattr(_accept, "_Listener", listening)
    accepted = Accepted()
    async with await listen() as listener, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: accept_sockets(listener, accepted.serve, receive_size=None))
        async with await trio.open_tcp_stream(*name_of(listener)):
            await accepted.wait(1)
            accepted.close()
        nursery.cancel_scope.cancel()
    return accepted


async def test_all_that_wait_are_accepted() -> None:
    accepted = Accepted()
    async with await listen() as listener:
        streams = [await trio.open_tcp_stream(*name_of(listener)) for _ in range(100)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: accept_sockets(listener, accepted.serve, receive_size=None))
            await accepted.wait(100)
            nursery.cancel_scope.cancel()
        remotes = {stream.socket.getsockname()[1] for stream in streams}
        assert {transport.remote.port for transport in accepted.transports} == remotes  # type: ignore[union-attr]
        accepted.close()
        for stream in streams:
            await stream.aclose()
        # The listener is its owner's still.
        assert listener.socket.fileno() != -1


async def test_the_hub_stays_as_long_as_somebody_listens() -> None:
    accepted = Accepted()
    async with await listen() as listener, trio.open_nursery() as nursery:
        nursery.start_soon(lambda: accept_sockets(listener, accepted.serve, receive_size=None))
        hubs = []
        for count in (1, 2):
            async with await trio.open_tcp_stream(*name_of(listener)):
                await accepted.wait(count)
                hubs.append(hub_of_this_run())
                accepted.close()
            await trio.testing.wait_all_tasks_blocked()
            assert hub_of_this_run() is hubs[0] is hubs[-1]
        nursery.cancel_scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert hub_of_this_run() is not hubs[0]


async def test_no_hub_is_needed_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(_hub, "make_poller", fail)
    lost: list[Exception | None] = []

    class Lost(Owner):
        def connection_lost(self, error: Exception | None) -> None:
            lost.append(error)

    async with await listen() as listener, trio.open_nursery() as nursery:
        nursery.start_soon(
            lambda: accept_sockets(listener, lambda transport: transport.set_owner(Lost()), receive_size=None)
        )
        for count in (1, 2):
            async with await trio.open_tcp_stream(*name_of(listener)) as stream:
                assert await stream.receive_some() == b""
            assert len(lost) == count
        nursery.cancel_scope.cancel()


async def test_a_listener_that_is_closed_already_is_told_so() -> None:
    listener = await listen()
    await listener.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await accept_sockets(listener, Accepted().serve, receive_size=None)


async def test_connection_that_has_gone_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accepted = await accept_with(monkeypatch, OSError(errno.ECONNABORTED, "gone"))
    assert len(accepted.transports) == 1
    assert caplog.records == []


@pytest.mark.parametrize("is_named", [False, True])
async def test_peer_that_has_gone_and_took_its_name_along_is_no_reason_to_stop(
    monkeypatch: pytest.MonkeyPatch, is_named: bool
) -> None:
    class Gone(socket.socket):
        """Has no options any more."""

        def setsockopt(self, *what: object) -> None:
            if what[1] == socket.TCP_NODELAY:
                raise OSError(errno.EINVAL, "gone")

    class Listener(_accept._Listener):
        """As macOS gives it: without an address, or without options."""

        def accept(self) -> tuple[socket.socket, object]:
            sock, remote = super().accept()
            return (Gone(fileno=sock.detach()), remote) if is_named else (sock, None)

    accepted = await accept_with(monkeypatch, listening=Listener)
    assert len(accepted.transports) == 1


async def test_exhausted_machine_is_given_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    naps: list[float] = []

    async def sleep(seconds: float) -> None:
        naps.append(seconds)

    monkeypatch.setattr(trio, "sleep", sleep)
    caplog.set_level(logging.ERROR, logger="trio-websocket")
    accepted = await accept_with(
        monkeypatch, OSError(errno.EMFILE, "too many"), OSError(errno.ENOBUFS, "no room")
    )
    assert len(accepted.transports) == 1
    assert len(naps) == 2
    assert ["cannot accept connections" in record.message for record in caplog.records] == [True, True]


async def test_listener_that_is_no_more_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await accept_with(monkeypatch, OSError(errno.EBADF, "closed"))
    assert caught.group_contains(OSError, match="closed")


async def test_default_timeout_of_python_does_not_stop_the_run() -> None:
    socket.setdefaulttimeout(60)
    try:
        accepted = Accepted()
        async with await listen() as listener, trio.open_nursery() as nursery:
            nursery.start_soon(lambda: accept_sockets(listener, accepted.serve, receive_size=None))
            async with await trio.open_tcp_stream(*name_of(listener)) as stream:
                # Two accepts: the second finds nothing, and has to come back at once.
                await accepted.wait(1)
                assert accepted.transports[0]._sock.gettimeout() == 0
                await stream.send_all(b"x")
                accepted.close()
            nursery.cancel_scope.cancel()
    finally:
        socket.setdefaulttimeout(None)


async def test_unix_socket_has_no_endpoint() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        transport = SocketTransport(ours)
        assert isinstance(transport.remote, str)
        assert transport.remote == transport.local


async def test_other_listeners_are_not_plain() -> None:
    listener = await listen()
    async with listener:
        assert is_plain_listener(listener)
        assert not is_plain_listener(trio.SSLListener(listener, object()))  # type: ignore[arg-type]
        assert not is_plain_listener(object())


async def test_listener_that_somebody_closes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = Accepted()
    listener = await listen()

    async def close_it(_: float) -> None:
        # As another task might, while the machine gets its rest; its number may be another listener's by now.
        await listener.aclose()

    monkeypatch.setattr(trio, "sleep", close_it)
    FailingListener.failures = [OSError(errno.EMFILE, "too many")]
    monkeypatch.setattr(_accept, "_Listener", FailingListener)
    async with await trio.open_tcp_stream(*name_of(listener)):
        with pytest.raises(trio.ClosedResourceError):
            await accept_sockets(listener, accepted.serve, receive_size=None)
    assert accepted.transports == []
