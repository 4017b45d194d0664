"""A server on the sockets that systemd has opened for it."""

import os
import socket

import trio

from trio_websocket import WebSocketRequest, WebSocketServer

FIRST = 3  # SD_LISTEN_FDS_START


def inherited_listeners() -> list[trio.SocketListener]:
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        raise SystemExit("to be started by systemd, with a socket unit")
    listeners = []
    for number in range(FIRST, FIRST + int(os.environ["LISTEN_FDS"])):
        os.set_inheritable(number, False)
        sock = trio.socket.from_stdlib_socket(socket.socket(fileno=number))
        listeners.append(trio.SocketListener(sock))
    return listeners


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    async for message in ws:
        await ws.send_message(message)


async def main() -> None:
    await WebSocketServer(echo, inherited_listeners()).run()


if __name__ == "__main__":
    trio.run(main)
