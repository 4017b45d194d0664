"""A client whose heartbeat notices when the server has gone silent."""

import trio

from trio_websocket import (
    ConnectionClosed,
    Heartbeat,
    PeerSilent,
    open_websocket_url,
)


async def main() -> None:
    heartbeat = Heartbeat(interval=20, timeout=10)
    url = "ws://127.0.0.1:8000/"
    async with open_websocket_url(url, heartbeat=heartbeat) as ws:
        try:
            async for message in ws:
                print(message, f"({ws.latency} s)")
        except ConnectionClosed as closed:
            if not isinstance(closed.__cause__, PeerSilent):
                raise
            print("the server is gone:", closed.__cause__)


if __name__ == "__main__":
    trio.run(main)
