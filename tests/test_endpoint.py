"""Addresses of the two ends of a connection."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path

import pytest
import trio
import trio.testing
from certificates import Certificates

from trio_websocket import Endpoint
from trio_websocket._endpoint import (
    endpoint_of_listener,
    endpoints_of_stream,
    name_of_unix,
    names_of_socket,
)

V4 = ipaddress.ip_address("192.0.2.1")
V6 = ipaddress.ip_address("2001:db8::1")


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        (Endpoint(V4, 8000, False), "ws://192.0.2.1:8000"),
        (Endpoint(V4, 80, False), "ws://192.0.2.1"),
        (Endpoint(V4, 443, True), "wss://192.0.2.1"),
        (Endpoint(V4, 443, False), "ws://192.0.2.1:443"),
        (Endpoint(V4, 80, True), "wss://192.0.2.1:80"),
        (Endpoint(V6, 8000, False), "ws://[2001:db8::1]:8000"),
        (Endpoint(V6, 443, True), "wss://[2001:db8::1]"),
    ],
)
def test_url_leaves_default_ports_out_and_brackets_ipv6(endpoint: Endpoint, url: str) -> None:
    assert endpoint.url == url
    assert str(endpoint) == url


def test_repr_names_the_fields() -> None:
    assert repr(Endpoint(V6, 8000, True)) == 'Endpoint(address="2001:db8::1", port=8000, is_ssl=True)'


def test_address_is_an_ipaddress_object_also_from_a_text() -> None:
    assert Endpoint("192.0.2.1", 1, False) == Endpoint(V4, 1, False)
    assert Endpoint("2001:db8::1", 1, False).address == V6
    with pytest.raises(ValueError, match="example"):
        Endpoint("example.org", 1, False)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_stream_over_tcp_has_both_ends(host: str) -> None:
    [listener] = await trio.open_tcp_listeners(0, host=host)
    where = endpoint_of_listener(listener)
    assert isinstance(where, Endpoint)
    assert (str(where.address), where.is_ssl) == (host, False)
    async with (
        listener,
        await trio.open_tcp_stream(host, where.port) as client,
        await listener.accept() as server,
    ):
        local, remote = endpoints_of_stream(client)
        assert remote == where
        assert endpoints_of_stream(server) == (remote, local)


async def test_tls_is_seen_on_streams_and_listeners(certificates: Certificates) -> None:
    [listener] = await trio.open_ssl_over_tcp_listeners(0, certificates.server_context(), host="127.0.0.1")
    where = endpoint_of_listener(listener)
    assert isinstance(where, Endpoint)
    assert where.url == f"wss://127.0.0.1:{where.port}"
    async with listener, await trio.open_tcp_stream("127.0.0.1", where.port) as client:
        tls = trio.SSLStream(client, ssl.create_default_context(), server_hostname="127.0.0.1")
        assert endpoints_of_stream(tls)[1] == where


async def test_stream_whose_peer_has_gone_still_has_ends() -> None:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        async with await listener.accept() as server:
            await trio.aclose_forcefully(client)
            local, remote = endpoints_of_stream(client)
            assert local == remote == repr(client)
            assert isinstance(endpoints_of_stream(server)[0], Endpoint)


async def test_ends_of_a_unix_socket_are_texts(tmp_path: Path) -> None:
    with trio.socket.socket(trio.socket.AF_UNIX) as sock:
        await sock.bind(str(tmp_path / "socket"))
        sock.listen()
        listener = trio.SocketListener(sock)
        where = f"unix:{tmp_path}/socket"
        assert endpoint_of_listener(listener) == where
        async with (
            await trio.open_unix_socket(str(tmp_path / "socket")) as stream,
            await listener.accept() as peer,
        ):
            assert endpoints_of_stream(stream) == ("unix:", where)
            assert endpoints_of_stream(peer) == (where, "unix:")
        assert endpoints_of_stream(stream) == (repr(stream), repr(stream))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("", "unix:"),
        ("/run/app.sock", "unix:/run/app.sock"),
        (Path("/run/app.sock"), "unix:/run/app.sock"),
        ("/a b:c?\n\x1b[31mü", "unix:/a%20b%3Ac%3F%0A%1B%5B31m%C3%BC"),
        ("/\udcff", "unix:/%FF"),
        (b"/\xff", "unix:/%FF"),
        (b"\0abstract\n", "unix:@abstract%0A"),
        ("\0abstract", "unix:@abstract"),
    ],
)
def test_name_of_a_unix_socket_is_encoded(path: str | bytes | Path, name: str) -> None:
    assert name_of_unix(path) == name


def test_socket_of_another_family_has_no_name() -> None:
    class Socket:
        family = -1

    sock = Socket()
    assert names_of_socket(sock) == (repr(sock), repr(sock))  # type: ignore[arg-type]


async def test_listener_that_has_no_address_is_a_text() -> None:
    class Socket:
        family = -1

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    real, listener.socket = listener.socket, Socket()  # type: ignore[assignment]
    assert endpoint_of_listener(listener) == repr(listener)
    listener.socket = real
    await listener.aclose()
    assert endpoint_of_listener(listener) == repr(listener)


async def test_ends_of_other_streams_and_listeners_are_texts() -> None:
    stream, _ = trio.testing.memory_stream_pair()
    assert endpoints_of_stream(stream) == (repr(stream), repr(stream))

    class Listener(trio.abc.Listener[trio.abc.Stream]):
        async def accept(self) -> trio.abc.Stream:
            raise NotImplementedError

        async def aclose(self) -> None:
            raise NotImplementedError

    listener = Listener()
    assert endpoint_of_listener(listener) == repr(listener)
