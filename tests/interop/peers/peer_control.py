"""What the asyncio peers share: the commands of the test on stdin and stdout, and the life of one connection.

The language, the same for `ws_peer.mjs`, is JSON, one object a line.

- On start the peer prints `{"ws": PORT, "wss": PORT}`: it serves on both.
- `{"do": "connect", "url": URL, "subprotocols": [...]}` makes it a client of that URL; it answers `{}` once it tries.
- `{"do": "outcome", "path": PATH}` is answered with `{"code": CODE, "reason": REASON}` as the connection of that path
  ends, or with `{"error": TEXT}` if it could not be opened.
- The end of stdin ends the peer.

On a connection, in either role, the peer sends back what it gets, but for text that starts with `!`: a JSON object
follows, and the peer does what it says.

- `{"do": "subprotocol"}`: sends the name that was negotiated, or "none".
- `{"do": "ping", "payload": TEXT}`: pings, waits for the pong, and sends "pong TEXT".
- `{"do": "fragments", "parts": [...], "binary": BOOL}`: sends one message, each part in a frame of its own.
- `{"do": "close", "code": CODE, "reason": TEXT}`: closes.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

SUBPROTOCOLS = ("chat.v2", "chat.v1")


class Channel(ABC):
    """One open connection, as the library under test has it."""

    @abstractmethod
    def messages(self) -> AsyncIterator[str | bytes]:
        """What arrives, until the connection ends."""

    @abstractmethod
    def subprotocol(self) -> str | None: ...

    @abstractmethod
    async def send(self, message: str | bytes) -> None: ...

    @abstractmethod
    async def send_fragments(self, parts: list[str] | list[bytes]) -> None: ...

    @abstractmethod
    async def ping(self, payload: bytes) -> None:
        """Ping, and wait for the pong."""

    @abstractmethod
    async def close(self, code: int, reason: str) -> None: ...

    @abstractmethod
    def outcome(self) -> tuple[int | None, str]:
        """The close code and reason that came from the other side."""


class Peer(ABC):
    """A server and a client of one library, at the command of the test."""

    def __init__(self) -> None:
        self._outcomes: defaultdict[str, asyncio.Future[dict[str, Any]]] = defaultdict(
            lambda: asyncio.get_running_loop().create_future()
        )
        self._tasks: set[asyncio.Task[None]] = set()

    @abstractmethod
    async def serve(self, context: ssl.SSLContext | None) -> int:
        """Start to serve on a port of the loopback, and return it."""

    @abstractmethod
    async def connect(self, url: str, context: ssl.SSLContext | None, subprotocols: list[str]) -> None:
        """Open a connection and `play` on it."""

    async def play(self, path: str, channel: Channel) -> None:
        """Live through one connection, and note how it ended."""
        async for message in channel.messages():
            if isinstance(message, str) and message.startswith("!"):
                await _obey(channel, json.loads(message[1:]))
            else:
                await channel.send(message)
        code, reason = channel.outcome()
        self._outcomes[path].set_result({"code": code, "reason": reason})

    async def run(self) -> None:
        """Serve, and obey stdin until it ends. Arguments of the program: CA, certificate and key as PEM files."""
        ca, certificate, key = sys.argv[1:]
        server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server_context.load_cert_chain(certificate, key)
        client_context = ssl.create_default_context(cafile=ca)
        _print({"ws": await self.serve(None), "wss": await self.serve(server_context)})
        async for command in _commands():
            if command["do"] == "connect":
                task = asyncio.create_task(self._connect(command, client_context))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                _print({})
            else:
                _print(await self._outcomes[command["path"]])

    async def _connect(self, command: dict[str, Any], context: ssl.SSLContext) -> None:
        url: str = command["url"]
        try:
            await self.connect(url, context if url.startswith("wss:") else None, command["subprotocols"])
        except Exception as exc:  # whatever the library raises is the answer
            future = self._outcomes["/" + url.rpartition("/")[2]]
            if not future.done():
                future.set_result({"error": repr(exc)})


async def _obey(channel: Channel, command: dict[str, Any]) -> None:
    if command["do"] == "subprotocol":
        await channel.send(channel.subprotocol() or "none")
    elif command["do"] == "ping":
        await channel.ping(command["payload"].encode())
        await channel.send("pong " + command["payload"])
    elif command["do"] == "fragments":
        parts: list[str] = command["parts"]
        await channel.send_fragments([part.encode() for part in parts] if command["binary"] else parts)
    elif command["do"] == "close":
        await channel.close(command["code"], command["reason"])


async def _commands() -> AsyncIterator[dict[str, Any]]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while line := await reader.readline():
        yield json.loads(line)


def _print(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)
