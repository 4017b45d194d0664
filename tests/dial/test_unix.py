"""A connection to a Unix socket, and what is said when there is none."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_websocket import ConnectionFailed
from trio_websocket._dial import open_unix
from trio_websocket._transports import SocketTransport, open_transport

settle = trio.testing.wait_all_tasks_blocked


def listen(path: Path, backlog: int = 10) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(backlog)
    return sock


async def fail(path: object) -> str:
    """What is said; nothing is left open."""
    files = len(os.listdir("/dev/fd"))
    with pytest.raises(ConnectionFailed) as caught:
        await open_unix(str(path))
    assert isinstance(caught.value.__cause__, OSError | RuntimeError)
    assert len(os.listdir("/dev/fd")) == files
    return str(caught.value)


async def test_connects(tmp_path: Path) -> None:
    path = tmp_path / "a socket"
    with listen(path) as server:
        stream = await open_unix(str(path))
        peer, _ = server.accept()
        with peer:
            assert peer.recv(0) == b""
            transport = open_transport(stream, None)
            assert isinstance(transport, SocketTransport)
            assert (transport.local, transport.remote) == ("unix:", f"unix:{tmp_path}/a%20socket")
            transport.abort()


async def test_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    assert await fail(path) == f"cannot connect to unix:{path}: there is no such file"


async def test_stale_socket_says_so(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listen(path).close()
    assert await fail(path) == f"cannot connect to unix:{path}: nobody listens on it"


async def test_file_that_is_no_socket_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert await fail(tmp_path / "file") == f"cannot connect to unix:{tmp_path}/file: it is no socket"


async def test_file_that_goes_meanwhile_was_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "socket"
    listen(path).close()

    class Socket(socket.socket):
        def connect(self, address: object) -> None:
            try:
                super().connect(address)  # type: ignore[arg-type]
            finally:
                path.unlink()

    monkeypatch.setattr(socket, "socket", Socket)
    assert (await fail(path)).endswith("nobody listens on it")


async def test_missing_permission_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket(socket.socket):
        def connect(self, address: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "socket", Socket)
    assert await fail(tmp_path) == f"cannot connect to unix:{tmp_path}: permission denied"


async def test_socket_of_another_kind_says_so(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        assert (await fail(path)).endswith(f"{os.strerror(errno.EPROTOTYPE)}")


async def test_path_that_is_too_long_says_so() -> None:
    assert (await fail("/" + "x" * 120)).endswith("too long")


async def test_platform_without_unix_sockets_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    text = "cannot connect to unix:/run/app.sock: this platform has no Unix sockets"
    assert await fail("/run/app.sock") == text


async def test_server_whose_queue_is_full_is_waited_for(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    with listen(tmp_path / "socket", 0) as server:
        first = await open_unix(str(tmp_path / "socket"))
        streams: list[trio.SocketStream] = []

        async def connect() -> None:
            streams.append(await open_unix(str(tmp_path / "socket")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(connect)
            await trio.sleep(5)
            assert streams == []
            server.accept()[0].close()
        server.accept()[0].close()
        assert await streams[0].receive_some() == b""
        await streams[0].aclose()
        await first.aclose()


async def test_waiting_for_a_full_queue_can_be_cancelled(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    with listen(tmp_path / "socket", 0):
        async with await open_unix(str(tmp_path / "socket")):
            files = len(os.listdir("/dev/fd"))
            with trio.move_on_after(5) as scope:
                await open_unix(str(tmp_path / "socket"))
            assert scope.cancelled_caught
            assert len(os.listdir("/dev/fd")) == files
