"""What is played with every peer: our end of one connection. The peer's end only does what it is told over it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
import trio

from trio_websocket import CloseReason, ConnectionClosed, PerMessageDeflate, WebSocketConnection

LARGE = 16 * 2**20

COMPRESSED = PerMessageDeflate(threshold=0)
FORGETFUL = PerMessageDeflate(server_no_context_takeover=True, client_no_context_takeover=True, threshold=0)
NARROW = PerMessageDeflate(server_max_window_bits=9, threshold=0, level=6)


@dataclass(frozen=True)
class Scenario:
    """One thing that both sides must agree upon.

    Args:
        play: Our end; when it returns with the connection open, we close it with 1000.
        code: The close code that the peer must see in the end.
        reason: The reason that it must see with it.
        compression: What we offer, and agree to; all peers do, too.
        subprotocols: What the client offers. Both servers take `chat.v2` before `chat.v1`.
    """

    play: Callable[[WebSocketConnection], Awaitable[None]]
    code: int = 1000
    reason: str = ""
    subprotocols: tuple[str, ...] = ()
    compression: PerMessageDeflate | None = None

    def __str__(self) -> str:
        name = str(getattr(self.play, "__name__", self.play))
        return name if self.compression is None else f"{name}, compressed{_terms(self.compression)}"


def _terms(compression: PerMessageDeflate) -> str:
    if compression.server_no_context_takeover:
        return " anew"
    return "" if compression.server_max_window_bits is None else " in a narrow window"


async def _tell(ws: WebSocketConnection, do: str, **arguments: object) -> None:
    await ws.send_message("!" + json.dumps({"do": do, **arguments}))


async def _expect_echo(ws: WebSocketConnection, message: str | bytes) -> None:
    await ws.send_message(message)
    answer = await ws.get_message()
    # Not `assert answer == message`: pytest would take minutes to tell two large messages apart.
    same = type(answer) is type(message) and answer == message
    assert same, f"{len(message)} {type(message).__name__} came back as {len(answer)} {type(answer).__name__}"


async def text(ws: WebSocketConnection) -> None:
    for message in ("", "plain", "Grüße, 世界 \N{WAVING HAND SIGN}", "x" * 125, "é" * 63, "y" * 70_000):
        await _expect_echo(ws, message)


async def binary(ws: WebSocketConnection) -> None:
    # Both sides of each step in the length field of RFC 6455 §5.2.
    for length in (0, 1, 125, 126, 65_535, 65_536):
        await _expect_echo(ws, bytes(index * 7 % 256 for index in range(length)))


async def json_text(ws: WebSocketConnection) -> None:
    assert ws.compression is not None
    for number in range(50):
        await _expect_echo(
            ws, json.dumps([{"id": index, "name": "x" * number} for index in range(number * 3)])
        )


async def burst(ws: WebSocketConnection) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_send_burst, ws)
        for index in range(300):
            assert await ws.get_message() == "*" * index * 10


async def _send_burst(ws: WebSocketConnection) -> None:
    for index in range(300):
        await ws.send_message("*" * index * 10)


async def fragments(ws: WebSocketConnection) -> None:
    parts = ["Frag", "", "ments of ", "Grüße", " in one message"]
    await _tell(ws, "fragments", parts=parts, binary=False)
    assert await ws.get_message() == "".join(parts)
    await _tell(ws, "fragments", parts=parts, binary=True)
    assert await ws.get_message() == "".join(parts).encode()
    await _expect_echo(ws, "and the connection still works")


async def large(ws: WebSocketConnection) -> None:
    await _expect_echo(ws, bytes(range(256)) * (LARGE // 256))


async def our_ping(ws: WebSocketConnection) -> None:
    for payload in (b"", b"hello", bytes(range(125)), None):
        seconds = await ws.ping(payload)
        assert 0 <= seconds < 30
    assert ws.latency is not None


async def their_ping(ws: WebSocketConnection) -> None:
    for payload in ("a", "Grüße", "p" * 125):
        await _tell(ws, "ping", payload=payload)
        assert await ws.get_message() == "pong " + payload


async def our_close(ws: WebSocketConnection) -> None:
    await ws.aclose(4001, "Schluß, so long")
    assert ws.closed is not None
    with pytest.raises(ConnectionClosed) as caught:
        await ws.get_message()
    assert caught.value.sent == CloseReason(4001, "Schluß, so long")
    # RFC 6455 §5.5.1: an answer to a close frame typically echoes its code; aiohttp sends 1000.
    assert caught.value.received is not None
    assert caught.value.received.code in (4001, 1000)
    assert caught.value.initiator == "local"


async def their_close(ws: WebSocketConnection) -> None:
    await _tell(ws, "close", code=4002, reason="Schluß, they said")
    with pytest.raises(ConnectionClosed) as caught:
        await ws.get_message()
    assert caught.value.reason == CloseReason(4002, "Schluß, they said")
    assert caught.value.received == CloseReason(4002, "Schluß, they said")
    assert caught.value.initiator == "remote"


async def common_subprotocol(ws: WebSocketConnection) -> None:
    assert ws.subprotocol == "chat.v1"
    await _tell(ws, "subprotocol")
    assert await ws.get_message() == "chat.v1"


async def no_subprotocol(ws: WebSocketConnection) -> None:
    assert ws.subprotocol is None
    await _tell(ws, "subprotocol")
    assert await ws.get_message() == "none"


SCENARIOS = (
    Scenario(text),
    Scenario(binary),
    Scenario(burst),
    Scenario(fragments),
    Scenario(large),
    Scenario(our_ping),
    Scenario(their_ping),
    Scenario(our_close, 4001, "Schluß, so long"),
    Scenario(their_close, 4002),
    Scenario(common_subprotocol, subprotocols=("unknown", "chat.v1")),
    Scenario(no_subprotocol),
    *(Scenario(json_text, compression=terms) for terms in (COMPRESSED, FORGETFUL, NARROW)),
    *(Scenario(play, compression=COMPRESSED) for play in (text, binary, burst, fragments, large, their_ping)),
)
