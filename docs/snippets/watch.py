"""A client that notices when its server has gone silent."""

import contextlib

import trio

from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    open_websocket_url,
)

REST = 20  # seconds between an answer and the next ping
PATIENCE = 10  # seconds that an answer may take


async def watch(ws: WebSocketConnection, scope: trio.CancelScope) -> None:
    """Ping for as long as the peer answers; cancel `scope` when it does not."""
    # A closed connection is news for whoever receives on it, not for us.
    with contextlib.suppress(ConnectionClosed):
        while not scope.cancel_called:
            with trio.move_on_after(PATIENCE) as waiting:
                await ws.ping()
            if waiting.cancelled_caught:
                scope.cancel()
            await trio.sleep(REST)


async def main() -> None:
    with trio.CancelScope() as scope:
        async with (
            open_websocket_url("ws://127.0.0.1:8000/") as ws,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(watch, ws, scope)
            async for message in ws:
                print(message)
            nursery.cancel_scope.cancel()
    if scope.cancelled_caught:
        print("the server does not answer any more")


if __name__ == "__main__":
    trio.run(main)
