"""The program for systemd in the docs, in a process that is handed its sockets as systemd does it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from support import HOST, check_echo

from trio_websocket import open_websocket_url

PROGRAM = Path(__file__).resolve().parents[2] / "docs" / "snippets" / "systemd.py"

# sd_listen_fds(3): the sockets begin at 3, and LISTEN_PID is the process that they are meant for. So it takes a program that
# becomes the server.
LAUNCHER = """
import fcntl, os, sys
program, *numbers = sys.argv[1:]
kept = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in numbers]
for place, number in enumerate(kept, 3):
    os.dup2(number, place, inheritable=True)
    os.close(number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(kept)))
os.execv(sys.executable, [sys.executable, program])
"""


@pytest.mark.slow
async def test_program_serves_on_the_sockets_that_it_is_handed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind((HOST, 0))
        unix.bind(str(path))
        for sock in (tcp, unix):
            sock.listen()
        numbers = [tcp.fileno(), unix.fileno()]
        port = tcp.getsockname()[1]
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", LAUNCHER, str(PROGRAM), *map(str, numbers)],
            pass_fds=numbers,
            stderr=subprocess.PIPE,
        )
        # A client that comes early waits.
        try:
            with trio.fail_after(15):
                for url in (f"ws://{HOST}:{port}/", f"ws+unix:{path}", f"ws://{HOST}:{port}/"):
                    async with open_websocket_url(url) as ws:
                        await check_echo(ws)
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()
                assert process.stderr is not None
                print(await process.stderr.receive_some(65536))
                await process.stderr.aclose()
        # The socket is systemd's, and waits for the next one.
        assert os.path.exists(path)
        assert unix.fileno() != -1


async def test_program_takes_nothing_that_is_meant_for_another_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "1")
    # Its own pid is another.
    result = await trio.run_process([sys.executable, str(PROGRAM)], check=False, capture_stderr=True)
    assert result.returncode == 1
    assert b"to be started by systemd" in result.stderr
