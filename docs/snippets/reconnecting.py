"""A client that stays connected, and knows what it may have missed."""

import trio

from trio_websocket import (
    Heartbeat,
    ReconnectingWebSocket,
    WebSocketConnection,
    open_reconnecting_websocket_url,
)


async def subscribe(connection: WebSocketConnection) -> None:
    await connection.send_message("subscribe")


async def report(ws: ReconnectingWebSocket) -> None:
    for number in range(3):
        await ws.send_message(f"report {number}")
        await trio.sleep(10)


async def main() -> None:
    async with open_reconnecting_websocket_url(
        "ws://127.0.0.1:8000/", on_connect=subscribe, heartbeat=Heartbeat()
    ) as ws:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(report, ws)
            async for message in ws:
                print(message)
        for outage in ws.outages:
            print(outage.unconfirmed, "may be lost:", outage.cause.reason)


if __name__ == "__main__":
    trio.run(main)
