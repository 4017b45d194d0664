"""What is measured: the rows of the table, and the kinds of servers and clients that take turns in each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

# What all others are compared with: the fastest that there is in Python, on any event loop.
BASELINE: Final = "picows+uvloop"
KIB: Final = 1024


@dataclass(frozen=True)
class Kind:
    """A library with its event loop.

    Args:
        label: What the table and the plot call it.
        home: "ours": runs with our package; "rivals": in the rivals' environment; "C": a program of its own;
            "Node": with the packages of the interop tests.
        environment: Variables that choose a part of ours.
    """

    label: str
    home: str = "rivals"
    environment: dict[str, str] = field(default_factory=dict)


KINDS: Final = {
    "ours": Kind("this library", "ours"),
    "ours-plain": Kind("this library, plain kernel", "ours", {"TRIO_WEBSOCKET_KERNEL": "plain"}),
    "ours-fast": Kind("this library, level 1", "ours"),
    "ours-stdlib": Kind("this library, zlib of Python", "ours"),
    "ours-streams": Kind("this library, over streams", "ours"),
    "picows+uvloop": Kind("picows + uvloop"),
    "aiohttp+uvloop": Kind("aiohttp + uvloop"),
    "websockets+uvloop": Kind("websockets + uvloop"),
    "websockets": Kind("websockets, asyncio"),
    "websockets.trio": Kind("websockets, trio"),
    "trio-websocket": Kind("trio-websocket 0.12.2"),
    "trio": Kind("trio streams, no WebSocket"),
    "node-ws": Kind("ws on Node", "Node"),
    "floor": Kind("C with epoll", "C"),
}


# Who compresses; in the other rows, some would say the same once more.
_ONLY_DEFLATED: Final = frozenset({"ours-fast", "ours-stdlib", "node-ws"})
_DEFLATED: Final = _ONLY_DEFLATED | {
    "ours",
    "ours-plain",
    "aiohttp+uvloop",
    "websockets+uvloop",
    "websockets",
}


@dataclass(frozen=True)
class Row:
    """One measurement, made with every kind.

    Args:
        text: What it is, for people.
        task: "echo", "broadcast", "handshakes" or "memory".
        connections: How many there are.
        size: The bytes of a message.
        in_flight: Messages that a connection has on the way.
        role: Which end is the library; the other one is written in C.
        is_tls: wss: instead of ws:; the other end is written in Python then.
        is_deflated: With compression, by those that have it; the other end is written in Python then.
        is_slow: Takes long to set up: fewer rounds, and none if it has to be quick.
    """

    text: str
    task: str = "echo"
    connections: int = 1
    size: int = 32
    in_flight: int = 1
    role: str = "server"
    is_tls: bool = False
    is_deflated: bool = False
    is_slow: bool = False

    @property
    def unit(self) -> str:
        """What a figure counts."""
        if self.task == "memory":
            return "KB for an idle connection"
        return f"µs of CPU a {'handshake' if self.task == 'handshakes' else 'message'}"

    def is_for(self, kind: str) -> bool:
        """Whether the kind can do this at all."""
        if self.is_deflated or kind in _ONLY_DEFLATED:
            return self.is_deflated and kind in _DEFLATED
        return kind != "floor" or not (self.is_tls or self.task == "broadcast")


ROWS: Final = {
    "echo-1": Row("1 connection, 32 bytes"),
    "echo-64": Row("64 connections, 32 bytes", connections=64),
    "echo-1000": Row("1,000 connections, 32 bytes", connections=1000),
    "echo-10000": Row("10,000 connections, 32 bytes", connections=10_000, is_slow=True),
    "pipelined": Row("4 connections, 64 in flight", connections=4, in_flight=64),
    "4-KiB": Row("16 connections, 4 KiB", connections=16, size=4 * KIB),
    "64-KiB": Row("4 connections, 64 KiB", connections=4, size=64 * KIB),
    "1-MB": Row("1 connection, 1 MB", size=1_000_000),
    "broadcast": Row("broadcast to 1,000 connections", "broadcast", 1000),
    "handshakes": Row("handshakes", "handshakes"),
    "memory": Row("memory of an idle connection", "memory", 1000),
    "wss-64": Row("wss, 64 connections, 32 bytes", connections=64, is_tls=True),
    "wss-64-KiB": Row("wss, 1 connection, 64 KiB", size=64 * KIB, is_tls=True),
    "json-1-KiB": Row("compressed JSON, 16 connections, 1 KiB", connections=16, size=KIB, is_deflated=True),
    "json-16-KiB": Row(
        "compressed JSON, 16 connections, 16 KiB", connections=16, size=16 * KIB, is_deflated=True
    ),
    "client-1": Row("client, 1 connection, 32 bytes", role="client"),
    "client-64": Row("client, 64 connections, 32 bytes", role="client", connections=64),
    "client-pipelined": Row(
        "client, 4 connections, 64 in flight", role="client", connections=4, in_flight=64
    ),
    "client-1-MB": Row("client, 1 connection, 1 MB", role="client", size=1_000_000),
    "client-handshakes": Row("client, opening and closing", "handshakes", role="client"),
}
