"""A server for clients with a certificate of our own authority."""

import ssl

import trio

from trio_websocket import WebSocketRequest, serve_websocket


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    async for message in ws:
        await ws.send_message(message)


async def main() -> None:
    context = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile="ca.pem"
    )
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain("server.pem", "server.key")
    await serve_websocket(echo, "localhost", 8443, ssl_context=context)


if __name__ == "__main__":
    trio.run(main)
