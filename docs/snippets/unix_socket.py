"""A server and a client on a Unix socket."""

import trio

from trio_websocket import WebSocketRequest, WebSocketServer, wrap_client_stream

PATH = trio.Path("echo.sock")


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    async for message in ws:
        await ws.send_message(message)


async def ask() -> str | bytes:
    stream = await trio.open_unix_socket(PATH)
    async with trio.open_nursery() as nursery:
        ws = await wrap_client_stream(
            nursery, stream, host="localhost", resource="/"
        )
        async with ws:
            await ws.send_message("hello")
            return await ws.get_message()


async def main() -> None:
    await PATH.unlink(missing_ok=True)  # Of a run that was killed.
    with trio.socket.socket(
        trio.socket.AF_UNIX, trio.socket.SOCK_STREAM
    ) as sock:
        await sock.bind(str(PATH))
        sock.listen()
        server = WebSocketServer(echo, [trio.SocketListener(sock)])
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            print(await ask())
            nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
