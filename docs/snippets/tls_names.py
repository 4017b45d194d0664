"""One port, several names, a certificate for each."""

import ssl

import trio

from trio_websocket import WebSocketRequest, serve_websocket


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    async for message in ws:
        await ws.send_message(message)


def load(name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(f"{name}.pem", f"{name}.key")
    return context


async def main() -> None:
    default = load("server")
    others = {"other.test": load("other")}

    def choose(
        connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext
    ) -> None:
        if name in others:
            connection.context = others[name]

    default.sni_callback = choose
    await serve_websocket(echo, "localhost", 8443, ssl_context=default)


if __name__ == "__main__":
    trio.run(main)
