"""A TCP connection, and what is said when there is none."""

from __future__ import annotations

import errno
import socket
import sys

import pytest
import trio
import trio.testing

from trio_websocket import ConnectionFailed, HandshakeError
from trio_websocket._dial import connect_tcp, look_up, open_tcp

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

HOST = "127.0.0.1"


def port_of(listener: trio.SocketListener) -> int:
    port = listener.socket.getsockname()[1]
    assert isinstance(port, int)
    return port


def answer_lookups(*answers: object) -> None:
    """Answer the name lookups of this run with these entries, or raise the one error."""

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: object, **options: object) -> list[object]:  # type: ignore[override]
            if isinstance(answers[0], BaseException):
                raise answers[0]
            return list(answers)

        async def getnameinfo(self, *args: object) -> tuple[str, str]:
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(Resolver())


def v4(address: str) -> object:
    return (trio.socket.AF_INET, trio.socket.SOCK_STREAM, 6, "", (address, 1))


def v6(address: str, scope: int = 0) -> object:
    return (trio.socket.AF_INET6, trio.socket.SOCK_STREAM, 6, "", (address, 1, 0, scope))


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


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "there is no such host (Name or service not known)",
        ),
        (
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
            "the name servers do not answer (Temporary failure in name resolution)",
        ),
        (socket.gaierror(-99, "Strange"), "Strange"),
        (OSError("no network"), "no network"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
async def test_host_that_cannot_be_looked_up_says_so(error: Exception, text: str) -> None:
    answer_lookups(error)
    with pytest.raises(ConnectionFailed) as caught:
        await open_tcp("nowhere.test", 80)
    assert str(caught.value) == f"cannot look up nowhere.test: {text}"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test"])
async def test_host_that_dns_cannot_ask_for_says_so(host: str) -> None:
    with pytest.raises(ConnectionFailed, match=f"cannot look up {host[:3]}"):
        await open_tcp(host, 80)


async def test_first_two_addresses_are_of_both_families() -> None:
    answer_lookups(v6("::1"), v6("::2"), v6("::1"), v4("192.0.2.1"), v4("192.0.2.2"))
    assert await look_up("both.test", 1) == ["::1", "192.0.2.1", "::2", "192.0.2.2"]
    answer_lookups(v4("192.0.2.1"), v6("::1"))
    assert await look_up("both.test", 1) == ["192.0.2.1", "::1"]


async def test_link_local_address_keeps_its_zone() -> None:
    answer_lookups(v6("fe80::1", 2), v6("fe80::2%3", 3))
    assert await look_up("near.test", 1) == ["fe80::1%2", "fe80::2%3"]


async def test_next_address_is_tried_when_one_fails() -> None:
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    port = port_of(listener)
    async with (
        listener,
        await connect_tcp("both.test", port, ["::1", HOST]) as stream,
        await listener.accept(),
    ):
        assert isinstance(stream, trio.SocketStream)
        assert stream.socket.getpeername() == (HOST, port)


class Attempts:
    """Takes the place of Trio's function; an address's name says what becomes of it.

    Its part behind the colon: the seconds that it takes, a number of an error or a negative number for none at all.
    """

    def __init__(self) -> None:
        self.begun: list[tuple[str, float]] = []
        self.streams: list[trio.abc.Stream] = []

    async def open(self, address: str, port: int) -> trio.abc.Stream:
        self.begun.append((address, trio.current_time()))
        delay, _, reason = address.partition(":")
        await trio.sleep(float(delay))
        if reason:
            raise OSError(int(reason), "refused") if int(reason) else OSError("odd")
        stream, _ = trio.testing.memory_stream_pair()
        self.streams.append(stream)
        return stream


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> Attempts:
    attempts = Attempts()
    monkeypatch.setattr(trio, "open_tcp_stream", attempts.open)
    return attempts


async def is_closed(stream: trio.abc.Stream) -> bool:
    try:
        await stream.send_all(b"")
    except trio.ClosedResourceError:
        return True
    return False


async def test_next_address_is_tried_when_one_takes_long(
    attempts: Attempts, mock_clock: trio.testing.MockClock
) -> None:
    await connect_tcp("test", 1, ["9", "0.1", "0"])
    # RFC 8305 §5: 250 ms, if nothing fails before.
    assert attempts.begun == [("9", 0), ("0.1", 0.25)]
    assert trio.current_time() == 0.35
    assert len(attempts.streams) == 1


async def test_attempt_that_took_long_may_win_in_the_end(
    attempts: Attempts, mock_clock: trio.testing.MockClock
) -> None:
    await connect_tcp("test", 1, ["5", f"0:{errno.ECONNREFUSED}"])
    assert trio.current_time() == 5


async def test_one_of_two_that_get_there_at_once_is_closed(
    monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    streams: list[trio.abc.Stream] = []
    together = trio.Event()

    async def open_stream(address: str, port: int) -> trio.abc.Stream:
        await together.wait()
        stream, _ = trio.testing.memory_stream_pair()
        streams.append(stream)
        return stream

    async def start() -> None:
        await trio.sleep(1)
        together.set()

    monkeypatch.setattr(trio, "open_tcp_stream", open_stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        winner = await connect_tcp("test", 1, ["::1", HOST])
    assert len(streams) == 2
    assert [await is_closed(stream) for stream in streams] == [stream is not winner for stream in streams]


async def test_each_reason_is_told_with_its_address(
    attempts: Attempts, mock_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        await connect_tcp("test", 1, [f"0:{errno.ECONNREFUSED}", f"1:{errno.ENETUNREACH}", "0:0"])
    assert str(caught.value) == (
        f"cannot connect to test port 1: 0:{errno.ECONNREFUSED}: Connection refused; 0:0: odd;"
        f" 1:{errno.ENETUNREACH}: Network is unreachable"
    )
    with pytest.raises(ConnectionFailed) as caught:
        await connect_tcp("test", 1, [f"0:{errno.ECONNREFUSED}", f"1:{errno.ECONNREFUSED}"])
    assert str(caught.value) == "cannot connect to test port 1: Connection refused"


@pytest.mark.parametrize("at", [0.1, 0.3, 0.35])
async def test_cancelled_race_leaves_nothing_open(
    attempts: Attempts, mock_clock: trio.testing.MockClock, at: float
) -> None:
    caught: list[BaseException] = []
    with trio.move_on_after(at) as scope:
        try:
            stream = await connect_tcp("test", 1, ["9", "0.1"])
            await stream.aclose()
        except BaseException as error:
            caught.append(error)
            raise
    assert [type(error) for error in caught] == [trio.Cancelled] * len(caught)
    assert scope.cancelled_caught or at == 0.35
    assert [await is_closed(stream) for stream in attempts.streams] == [True] * len(attempts.streams)


async def test_winner_of_a_race_that_is_cancelled_just_then_is_closed(
    attempts: Attempts, mock_clock: trio.testing.MockClock
) -> None:
    async def win(address: str, port: int) -> trio.abc.Stream:
        stream = await attempts.open(address, port)
        scope.cancel()
        return stream

    with pytest.MonkeyPatch.context() as patch, trio.CancelScope() as scope:
        patch.setattr(trio, "open_tcp_stream", win)
        await connect_tcp("test", 1, ["9", "0.1"])
        pytest.fail("it returned")
    assert scope.cancelled_caught
    assert [await is_closed(stream) for stream in attempts.streams] == [True]


@pytest.mark.parametrize("addresses", [["::1"], ["::1", HOST]])
async def test_failed_race_raises_no_group(monkeypatch: pytest.MonkeyPatch, addresses: list[str]) -> None:
    async def race(host: str, port: int) -> trio.SocketStream:
        raise ExceptionGroup("race", [ExceptionGroup("nested", [KeyError("a bug")])])

    monkeypatch.setattr(trio, "open_tcp_stream", race)
    with pytest.raises(KeyError, match="a bug"):
        await connect_tcp("test", 1, addresses)


async def test_reasons_of_trios_own_race_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    async def race(host: str, port: int) -> trio.SocketStream:
        error = OSError("all attempts failed")
        raise error from ExceptionGroup("all", [OSError(errno.EHOSTUNREACH, "Error connecting to it")])

    monkeypatch.setattr(trio, "open_tcp_stream", race)
    with pytest.raises(ConnectionFailed, match=r"cannot connect to test port 1: No route to host$"):
        await connect_tcp("test", 1, [HOST])


async def test_cancelled_lookup_is_cancelled_and_no_more() -> None:
    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, *args: object, **options: object) -> list[object]:  # type: ignore[override]
            scope.cancel()
            return [v4(HOST)]

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
