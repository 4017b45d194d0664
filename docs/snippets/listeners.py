"""One server on two ports: plain on one, TLS on the other."""

import ssl

import trio

from trio_websocket import WebSocketRequest, WebSocketServer


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    async for message in ws:
        await ws.send_message(message)


async def main() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain("server.pem", "server.key")
    plain = await trio.open_tcp_listeners(8000, host="127.0.0.1")
    tls = await trio.open_ssl_over_tcp_listeners(
        8443, context, host="127.0.0.1", https_compatible=True
    )
    server = WebSocketServer(echo, [*plain, *tls])
    await server.run()


if __name__ == "__main__":
    trio.run(main)
