"""Ways to be a bad peer: resets, networks in memory, and what is left of a server afterwards."""

from __future__ import annotations

import os
import socket
import struct

import pytest
import trio
import trio.testing

import trio_websocket._dialling
from trio_websocket import WebSocketConnection

MemoryStream = trio.StapledStream[trio.testing.MemorySendStream, trio.testing.MemoryReceiveStream]


def reset(stream: trio.abc.Stream) -> None:
    """Drop a TCP connection so that the other end sees a reset."""
    assert isinstance(stream, trio.SocketStream)
    # Lingering for no time at all: the kernel forgets what was not sent, and sends RST instead of FIN.
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


def count_open_files() -> int:
    """How many files and sockets this process has open."""
    return len(os.listdir("/proc/self/fd"))


async def exchange(ws: WebSocketConnection, message: str = "are you there?") -> None:
    """Prove that an echoing server answers."""
    await ws.send_message(message)
    assert await ws.get_message() == message


async def drain(ws: WebSocketConnection, received: list[str | bytes] | None = None) -> None:
    """Receive until the connection closes, which raises ConnectionClosed."""
    while True:
        message = await ws.get_message()
        if received is not None:
            received.append(message)


def dial_in_memory(monkeypatch: pytest.MonkeyPatch) -> MemoryStream:
    """Let the client's next connection lead to the stream that is returned, whatever its address, and without TLS."""
    ours, theirs = trio.testing.memory_stream_pair()

    async def connect(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return ours

    monkeypatch.setattr(trio_websocket._dialling, "find_stand_in", lambda: connect)
    return theirs


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """A listener without a network, for servers under a mock clock."""

    def __init__(self) -> None:
        self._put, self._get = trio.open_memory_channel[MemoryStream](100)

    async def accept(self) -> MemoryStream:
        return await self._get.receive()

    async def aclose(self) -> None:
        await self._get.aclose()

    def connect(self) -> MemoryStream:
        """A new connection's client end."""
        theirs, ours = trio.testing.memory_stream_pair()
        self._put.send_nowait(ours)
        return theirs
