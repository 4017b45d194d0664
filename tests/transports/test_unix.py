"""Listening on a Unix socket: its file, and what may stand in its place."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from pathlib import Path

import pytest
import trio
import trio.testing

from trio_websocket._transports import check_unix_path, is_plain_listener, listening_on_unix

settle = trio.testing.wait_all_tasks_blocked


def leave_stale(path: Path) -> None:
    """A socket file as a server leaves it that is killed."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


async def check_connects(path: Path, listener: trio.SocketListener) -> None:
    async with await trio.open_unix_socket(path) as client, await listener.accept() as server:
        await client.send_all(b"x")
        assert await server.receive_some() == b"x"


@pytest.mark.parametrize("kind", [str, bytes, Path])
async def test_listens_while_the_block_lasts(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "socket"
    async with listening_on_unix(os.fsencode(path) if kind is bytes else kind(path), 0o600) as listener:
        assert is_plain_listener(listener)
        assert listener.socket.getsockname() == str(path)
        assert not listener.socket.get_inheritable()
        await check_connects(path, listener)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
async def test_file_has_just_that_mode(tmp_path: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        async with listening_on_unix(tmp_path / "socket", mode):
            assert stat.S_IMODE((tmp_path / "socket").stat().st_mode) == mode
            assert os.umask(umask) == umask
    finally:
        os.umask(before)


@pytest.mark.parametrize("has_fchmod", [True, False])
async def test_nobody_connects_before_the_mode_is_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_fchmod: bool
) -> None:
    path = tmp_path / "socket"
    refused: list[int] = []
    chmod = os.chmod

    def look(name: str, mode: int) -> None:
        refused.append(stat.S_IMODE(path.stat().st_mode))
        with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
            client.connect(str(path))
        chmod(name, mode)

    def fail(descriptor: int, mode: int) -> None:
        raise OSError(errno.EINVAL, "not for sockets")

    monkeypatch.setattr(os, "chmod", look)
    if not has_fchmod:
        monkeypatch.setattr(os, "fchmod", fail)
    async with listening_on_unix(path, 0o600) as listener:
        await check_connects(path, listener)
    assert len(refused) == 1
    if has_fchmod and os.uname().sysname == "Linux":
        assert refused == [0o600]


async def test_stale_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    leave_stale(path)
    async with listening_on_unix(path, 0o600) as listener:
        await check_connects(path, listener)
    assert not path.exists()


@pytest.mark.parametrize("has_room", [True, False])
async def test_file_of_a_server_that_lives_is_left_alone(tmp_path: Path, has_room: bool) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(path))
        server.listen(5 if has_room else 0)
        if not has_room:
            client.connect(str(path))
        with pytest.raises(OSError, match=f"a server listens there already: '{path}'") as caught:
            async with listening_on_unix(path, 0o600):
                pytest.fail("it listens")
        assert caught.value.errno == errno.EADDRINUSE
        with socket.socket(socket.AF_UNIX) as other:
            if has_room:
                other.connect(str(path))


async def test_server_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        with pytest.raises(OSError, match=f"cannot tell whether a server listens there: .*'{path}'"):
            async with listening_on_unix(path, 0o600):
                pytest.fail("it listens")
    assert path.is_socket()


@pytest.mark.parametrize("what", ["file", "folder", "link to a stale socket", "link to nothing"])
async def test_what_is_no_socket_is_never_removed(tmp_path: Path, what: str) -> None:
    path = tmp_path / "socket"
    if what == "file":
        path.write_text("precious")
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "other")
        if what == "link to a stale socket":
            leave_stale(tmp_path / "other")
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(FileExistsError, match=f"there is a file that is no socket: '{path}'"):
        async with listening_on_unix(path, 0o600):
            pytest.fail("it listens")
    assert sorted(os.listdir(tmp_path)) == before


async def test_file_that_is_another_servers_by_now_stays(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with listening_on_unix(path, 0o600) as old:
        # As when the old server has only its last handlers to wait for.
        await old.aclose()
        async with listening_on_unix(path, 0o600) as new:
            async with listening_on_unix(tmp_path / "other", 0o600):
                pass
            await check_connects(path, new)
            path.rename(tmp_path / "kept")
            leave_stale(path)
        assert path.is_socket()
    assert path.is_socket()


async def test_file_that_has_gone_is_not_missed(tmp_path: Path) -> None:
    async with listening_on_unix(tmp_path / "socket", 0o600):
        (tmp_path / "socket").unlink()


@pytest.mark.parametrize("error", [KeyError, trio.Cancelled])
async def test_block_that_raises_leaves_no_file(tmp_path: Path, error: type[BaseException]) -> None:
    with trio.CancelScope() as scope:
        try:
            async with listening_on_unix(tmp_path / "socket", 0o600):
                if error is KeyError:
                    raise KeyError
                scope.cancel()
                await trio.lowlevel.checkpoint()
        except KeyError:
            pass
    assert os.listdir(tmp_path) == []


async def test_program_may_change_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    async with listening_on_unix("socket", 0o600), listening_on_unix("folder/socket", 0o600):
        monkeypatch.chdir("/")
        assert (tmp_path / "socket").is_socket()
    assert not (tmp_path / "socket").exists()
    assert not (tmp_path / "folder" / "socket").exists()


async def test_servers_of_one_folder_start_one_after_the_other(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    leave_stale(tmp_path / "socket")
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    listening = trio.Event()

    async def listen() -> None:
        async with listening_on_unix(tmp_path / "socket", 0o600):
            listening.set()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        await trio.sleep(5)
        assert not listening.is_set()
        fcntl.flock(other, fcntl.LOCK_UN)
        with trio.fail_after(5):
            await listening.wait()
        # Who listens holds nobody up.
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        nursery.cancel_scope.cancel()
    os.close(other)
    # Nor is anybody waited for in the end: the file stays, and is replaced.
    assert (tmp_path / "socket").is_socket()
    async with listening_on_unix(tmp_path / "socket", 0o600):
        pass
    assert os.listdir(tmp_path) == []


async def test_one_of_two_that_start_at_once_gets_a_stale_file(tmp_path: Path) -> None:
    leave_stale(tmp_path / "socket")
    errors: list[OSError] = []

    async def listen(nursery: trio.Nursery) -> None:
        try:
            async with listening_on_unix(tmp_path / "socket", 0o600) as listener:
                await check_connects(tmp_path / "socket", listener)
                await trio.sleep_forever()
        except OSError as error:
            errors.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen, nursery)
        nursery.start_soon(listen, nursery)
    assert [error.errno for error in errors] == [errno.EADDRINUSE]


async def test_waiting_for_the_folder_can_be_cancelled(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    files = len(os.listdir("/dev/fd"))
    with trio.move_on_after(5) as scope:
        async with listening_on_unix(tmp_path / "socket", 0o600):
            pytest.fail("it listens")
    assert scope.cancelled_caught
    os.close(other)
    assert len(os.listdir("/dev/fd")) == files - 1
    assert os.listdir(tmp_path) == []


async def test_path_that_is_too_long_says_so(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 120)
    with pytest.raises(OSError, match=f"cannot listen on a Unix socket: .*too long: '{path}'") as caught:
        async with listening_on_unix(path, 0o600):
            pytest.fail("it listens")
    assert caught.value.errno == errno.ENAMETOOLONG
    assert os.listdir(tmp_path) == []


async def test_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        async with listening_on_unix(tmp_path / "nowhere" / "socket", 0o600):
            pytest.fail("it listens")


async def test_socket_that_cannot_listen_is_closed_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, mode: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", fail)
    with pytest.raises(PermissionError, match="cannot listen on a Unix socket: Operation not permitted"):
        async with listening_on_unix(tmp_path / "socket", 0o600):
            pytest.fail("it listens")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("mode", [-1, 0o1000])
async def test_mode_that_is_none_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ValueError, match=r"mode=.* is not between 0 and 0o777"):
        async with listening_on_unix(tmp_path / "socket", mode):
            pytest.fail("it listens")


@pytest.mark.parametrize("path", ["", "\0abstract", b"/run/a\0b"])
def test_path_that_is_none_is_refused(path: str | bytes) -> None:
    with pytest.raises(ValueError, match="no path of a Unix socket"):
        check_unix_path(path)


def test_platform_without_unix_sockets_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(RuntimeError, match="this platform has no Unix sockets"):
        check_unix_path("/run/app.sock")
