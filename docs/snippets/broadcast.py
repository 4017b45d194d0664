"""A room: what one client says, all get. Who is too slow has to leave."""

import functools

import trio

from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    WebSocketRequest,
    serve_websocket,
)


class Room:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.members: set[WebSocketConnection] = set()

    async def handle(self, request: WebSocketRequest) -> None:
        ws = await request.accept()
        self.members.add(ws)
        try:
            async for message in ws:
                self.broadcast(message)
        finally:
            self.members.discard(ws)

    def broadcast(self, message: str | bytes) -> None:
        for ws in list(self.members):
            self.send(ws, message)

    def send(self, ws: WebSocketConnection, message: str | bytes) -> None:
        try:
            ws.send_message_nowait(message)
        except trio.WouldBlock:
            self.members.discard(ws)
            self.nursery.start_soon(ws.aclose, 1008, "too slow")
        except ConnectionClosed:
            self.members.discard(ws)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        room = Room(nursery)
        serve = functools.partial(
            serve_websocket,
            room.handle,
            "127.0.0.1",
            8000,
            ssl_context=None,
            write_backlog=2**20,  # how far a client may lag behind, in bytes
            disconnect_timeout=5,  # how long its close may take
        )
        await serve()


if __name__ == "__main__":
    trio.run(main)
