"""Proxies to test with: real ones in processes of their own, and one in this process that does as it is told."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import trio
from support import HOST, RawPeer

USER, PASSWORD = "somebody", "topsecret"

# Seconds for a program to start; far above what any takes.
_START_TIMEOUT = 20


async def free_port() -> int:
    """A port where nobody listens: programs can't tell which one they were given."""
    [listener] = await trio.open_tcp_listeners(0, host=HOST)
    async with listener:
        port = listener.socket.getsockname()[1]
    assert isinstance(port, int)
    return port


@asynccontextmanager
async def _running(port: int, *command: str) -> AsyncIterator[int]:
    program = shutil.which(command[0]) or f"/usr/sbin/{command[0]}"
    process = await trio.lowlevel.open_process(
        [program, *command[1:]],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        with trio.fail_after(_START_TIMEOUT):
            await _wait_for_listener(process, port)
        yield port
    finally:
        # With all its children; tinyproxy may miss a SIGTERM that comes while it is about to wait.
        os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True):
            await process.wait()


async def _wait_for_listener(process: trio.Process, port: int) -> None:
    while not await _listens(port):
        assert process.poll() is None, f"the proxy ended with status {process.returncode}"
        # It says in no other way that it is ready.
        await trio.sleep(0.01)


async def _listens(port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream(HOST, port)
    except OSError:
        return False
    await stream.aclose()
    return True


@asynccontextmanager
async def tinyproxy(folder: Path, *, password: bool = False) -> AsyncIterator[int]:
    """An HTTP proxy, which wants user and password or not; gives its port."""
    port = await free_port()
    lines = [f"Port {port}", f"Listen {HOST}", "MaxClients 10", "Timeout 60", "LogLevel Critical"]
    if password:
        lines.append(f"BasicAuth {USER} {PASSWORD}")
    file = folder / "tinyproxy.conf"
    file.write_text("\n".join(lines) + "\n", encoding="ascii")
    async with _running(port, "tinyproxy", "-d", "-c", str(file)):
        yield port


@asynccontextmanager
async def microsocks(*, password: bool = False) -> AsyncIterator[int]:
    """A SOCKS5 proxy, which wants user and password or not; gives its port."""
    port = await free_port()
    options = ["-u", USER, "-P", PASSWORD] if password else []
    async with _running(port, "microsocks", "-i", HOST, "-p", str(port), *options):
        yield port


@asynccontextmanager
async def dante(folder: Path) -> AsyncIterator[int]:
    """A proxy for SOCKS4, 4a and 5; gives its port."""
    port = await free_port()
    file = folder / "danted.conf"
    file.write_text(
        f"internal: {HOST} port = {port}\nexternal: {HOST}\nclientmethod: none\nsocksmethod: none\n"
        "client pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }\nsocks pass { from: 127.0.0.0/8 to: 0.0.0.0/0 }\n",
        encoding="ascii",
    )
    async with _running(port, "danted", "-f", str(file), "-p", str(folder / "danted.pid")):
        yield port


# ------------------------------------------------------------------------------------------------- in this process


@asynccontextmanager
async def proxy_server(
    handler: Callable[[RawPeer], Awaitable[None]], context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """A proxy whose connections `handler` gets, over TLS if there is a context; gives its port."""

    async def serve(stream: trio.abc.Stream) -> None:
        async with stream:
            try:
                await handler(RawPeer(stream, is_client=False))
            except (trio.BrokenResourceError, trio.ClosedResourceError, EOFError):
                pass

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host=HOST)
        served: trio.abc.Listener[trio.abc.Stream] = listener
        if context is not None:
            served = trio.SSLListener(listener, context, https_compatible=True)
        nursery.start_soon(partial(trio.serve_listeners, serve, [served]))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


class Relay:
    """A proxy that does as CONNECT says, and notes what it is asked.

    Args:
        answer: What it answers, when it has connected.
        leads_to: A port of this machine to which it connects, whatever it is asked; None for what it is asked.
    """

    def __init__(
        self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n", *, leads_to: int | None = None
    ) -> None:
        self.heads: list[bytes] = []
        self._answer = answer
        self._leads_to = leads_to

    async def __call__(self, peer: RawPeer) -> None:
        """Serve one connection."""
        head = await peer.read_head()
        self.heads.append(head)
        host, _, port = head.split()[1].decode().rpartition(":")
        where = (HOST, self._leads_to) if self._leads_to else (host.strip("[]"), int(port))
        await _relay(peer, where, self._answer)


async def relay_socks5(peer: RawPeer) -> None:
    """A proxy that does as SOCKS5 says, for IPv4 addresses and without a password (RFC 1928)."""
    assert await peer.read(3) == b"\x05\x01\x00"
    await peer.stream.send_all(b"\x05\x00")
    assert await peer.read(4) == b"\x05\x01\x00\x01"
    address, port = await peer.read(4), await peer.read(2)
    where = (".".join(map(str, address)), int.from_bytes(port, "big"))
    await _relay(peer, where, b"\x05\x00\x00\x01" + bytes(6))


async def _relay(peer: RawPeer, where: tuple[str, int], answer: bytes) -> None:
    async with await trio.open_tcp_stream(*where) as target, trio.open_nursery() as nursery:
        await peer.stream.send_all(answer)
        nursery.start_soon(_pump, target, peer.stream, nursery)
        await _pump(peer.stream, target, nursery)


async def _pump(source: trio.abc.Stream, sink: trio.abc.Stream, nursery: trio.Nursery) -> None:
    try:
        while data := await source.receive_some(65536):
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    nursery.cancel_scope.cancel()
