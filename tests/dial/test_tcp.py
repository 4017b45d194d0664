"""A TCP connection, and what is said when there is none."""

from __future__ import annotations

import sys

import pytest
import trio

from trio_websocket import ConnectionFailed, HandshakeError
from trio_websocket._dial import open_tcp

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

HOST = "127.0.0.1"


def port_of(listener: trio.SocketListener) -> int:
    port = listener.socket.getsockname()[1]
    assert isinstance(port, int)
    return port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_connects_to_a_host(host: str) -> None:
    [listener, *others] = await trio.open_tcp_listeners(0, host="127.0.0.1" if host == "localhost" else host)
    assert others == []
    async with (
        listener,
        await open_tcp(host, port_of(listener)) as stream,
        await listener.accept() as peer,
    ):
        assert isinstance(stream, trio.SocketStream)
        await stream.send_all(b"x")
        assert await peer.receive_some() == b"x"


async def unused_port() -> int:
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    port = port_of(listener)
    await listener.aclose()
    return port


async def test_refused_connection_says_so() -> None:
    port = await unused_port()
    with pytest.raises(ConnectionFailed, match=f"cannot connect to {HOST} port {port}: .*refused") as caught:
        await open_tcp(HOST, port)
    assert isinstance(caught.value.__cause__, OSError)
    # Who knows sockets and who knows WebSockets may both expect it.
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value, HandshakeError)


async def test_all_addresses_are_named_that_did_not_work() -> None:
    port = await unused_port()
    with pytest.raises(HandshakeError, match=f"cannot connect to localhost port {port}: .*refused") as caught:
        await open_tcp("localhost", port)
    # The same reason is not told twice.
    assert str(caught.value).count("refused") <= 2


async def test_unknown_host_says_so() -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: object, **options: object) -> list[object]:  # type: ignore[override]
            raise trio.socket.gaierror(-2, "Name or service not known")

        async def getnameinfo(self, *args: object) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    with pytest.raises(ConnectionFailed, match=r"cannot connect to nowhere\.test port 80: .*not known"):
        await open_tcp("nowhere.test", 80)


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test"])
async def test_host_that_dns_cannot_ask_for_says_so(host: str) -> None:
    with pytest.raises(ConnectionFailed, match=f"cannot (look up|connect to) '?{host[:3]}"):
        await open_tcp(host, 80)


async def test_happy_eyeballs_tries_the_next_address() -> None:
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    port = port_of(listener)
    stream_socket = trio.socket.SOCK_STREAM

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: object, **options: object) -> list[object]:  # type: ignore[override]
            return [
                (trio.socket.AF_INET6, stream_socket, 6, "", ("::1", port, 0, 0)),
                (trio.socket.AF_INET, stream_socket, 6, "", (HOST, port)),
            ]

        async def getnameinfo(self, *args: object) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    async with listener, await open_tcp("both.test", port) as stream:
        assert isinstance(stream, trio.SocketStream)
        assert stream.socket.getpeername() == (HOST, port)


async def test_failed_race_raises_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    async def race(host: str, port: int) -> trio.SocketStream:
        raise ExceptionGroup("race", [ExceptionGroup("nested", [OSError("no route")])])

    monkeypatch.setattr(trio, "open_tcp_stream", race)
    with pytest.raises(HandshakeError, match="cannot connect to test port 1: no route"):
        await open_tcp("test", 1)


async def test_cancelled_race_is_cancelled_and_no_more() -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: object, **options: object) -> list[object]:  # type: ignore[override]
            scope.cancel()
            return [(trio.socket.AF_INET, trio.socket.SOCK_STREAM, 6, "", (HOST, 1))]

        async def getnameinfo(self, *args: object) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())
    caught: list[BaseException] = []
    with trio.CancelScope() as scope:
        try:
            await open_tcp("slow.test", 1)
        except BaseException as error:
            caught.append(error)
            raise
    assert scope.cancelled_caught
    assert [type(error) for error in caught] == [trio.Cancelled]
