"""A network in memory for clients that come back: each connection is played by the next of several scripts."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
import trio.testing
from support import CLOSE, PING, PONG, TEXT, RawPeer, StreamPair, response_head

from trio_websocket import Backoff, ReconnectingWebSocket, open_reconnecting_websocket_url

URL = "ws://127.0.0.1:8000/"

# Waits of 1, 2, 4, ... seconds.
PLAIN = Backoff(initial=1, factor=2, maximum=60, jitter=0, reset_after=10)

Script = Callable[[RawPeer], Awaitable[object]]


class Net:
    """What a client finds: one script after another, and after them nobody who listens.

    Attributes:
        dialled_at: When it connected, or tried to, since the beginning.
        received: The texts that came, by connection.
        make_pair: Makes the two ends of a connection.
    """

    def __init__(self, scripts: tuple[Script | Exception, ...], nursery: trio.Nursery) -> None:
        self.scripts = list(scripts)
        self.dialled_at: list[float] = []
        self.received: list[list[str]] = []
        self.make_pair: Callable[[], StreamPair] = trio.testing.memory_stream_pair
        self._nursery = nursery
        self._start = trio.current_time()

    async def open_tcp_stream(self, host: str, port: int, **_: object) -> trio.abc.Stream:
        """Takes the place of Trio's."""
        await trio.lowlevel.checkpoint()
        self.dialled_at.append(round(trio.current_time() - self._start, 3))
        script = self.scripts.pop(0) if self.scripts else OSError(errno.ECONNREFUSED, "refused")
        if isinstance(script, Exception):
            raise script
        ours, theirs = self.make_pair()
        self._nursery.start_soon(self._play, script, RawPeer(theirs, is_client=False))
        return ours

    async def _play(self, script: Script, peer: RawPeer) -> None:
        try:
            await script(peer)
        except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(peer.stream)

    def serving_until(self, event: trio.Event) -> Script:
        """A script: as `serve`, but then end the connection without a close frame."""

        async def script(peer: RawPeer) -> None:
            async with trio.open_nursery() as nursery:

                async def serve() -> None:
                    with suppress(EOFError, trio.BrokenResourceError):
                        await self.serve(peer)
                    nursery.cancel_scope.cancel()

                nursery.start_soon(serve)
                await event.wait()
                nursery.cancel_scope.cancel()

        return script

    async def serve(self, peer: RawPeer) -> None:
        """A script: note all texts, answer pings, and answer a close."""
        await shake_hands(peer)
        texts: list[str] = []
        self.received.append(texts)
        while True:
            frame = await peer.read_frame()
            if frame.opcode == TEXT:
                texts.append(frame.payload.decode())
            elif frame.opcode == PING:
                await peer.send_frame(PONG, frame.payload)
            elif frame.opcode == CLOSE:
                await peer.send_frame(CLOSE, frame.payload)
                return


@asynccontextmanager
async def network(monkeypatch: pytest.MonkeyPatch, *scripts: Script | Exception) -> AsyncIterator[Net]:
    """The network for the length of a block; at its end every script is over."""
    async with trio.open_nursery() as nursery:
        net = Net(scripts, nursery)
        monkeypatch.setattr(trio, "open_tcp_stream", net.open_tcp_stream)
        yield net
        with trio.fail_after(10):
            while nursery.child_tasks:
                await trio.testing.wait_all_tasks_blocked()
                await trio.sleep(1)


@asynccontextmanager
async def client(
    monkeypatch: pytest.MonkeyPatch, *scripts: Script | Exception | str, **options: Any
) -> AsyncIterator[tuple[ReconnectingWebSocket, Net]]:
    """A client in a network of scripts; "serve" stands for `Net.serve`."""
    async with network(monkeypatch) as net:
        net.scripts = [net.serve if isinstance(script, str) else script for script in scripts]
        async with open_reconnecting_websocket_url(URL, **{"backoff": PLAIN, **options}) as ws:
            yield ws, net


async def shake_hands(peer: RawPeer) -> None:
    """Accept."""
    await peer.stream.send_all(response_head(await peer.read_head()))


def answering(head: bytes) -> Script:
    """A script: answer with this."""

    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        await peer.stream.send_all(head)
        await peer.stream.aclose()

    return script


def rejecting(status: int, *lines: str) -> Script:
    """A script: answer with another status, and further header lines."""
    head = "\r\n".join([f"HTTP/1.1 {status} No", "Content-Length: 0", *lines]) + "\r\n\r\n"
    return answering(head.encode())


def closing(code: int, *texts: str, after: float = 0) -> Script:
    """A script: send these texts, and close."""

    async def script(peer: RawPeer) -> None:
        await shake_hands(peer)
        for text in texts:
            await peer.send_frame(TEXT, text.encode())
        await trio.sleep(after)
        await peer.send_close(code)
        while (await peer.read_frame()).opcode != CLOSE:
            pass

    return script


def hanging_up(*texts: str, after: float = 0) -> Script:
    """A script: send these texts, and end the connection without a close frame."""

    async def script(peer: RawPeer) -> None:
        await shake_hands(peer)
        for text in texts:
            await peer.send_frame(TEXT, text.encode())
        await trio.sleep(after)

    return script


async def say_nothing(peer: RawPeer) -> None:
    """A script: take the request, and never answer."""
    await peer.read_to_end()
