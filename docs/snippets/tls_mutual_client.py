"""A client that shows a certificate."""

import ssl

import trio

from trio_websocket import open_websocket_url


async def main() -> None:
    context = ssl.create_default_context(cafile="ca.pem")
    context.load_cert_chain("client.pem", "client.key")
    async with open_websocket_url(
        "wss://localhost:8443/", ssl_context=context
    ) as ws:
        await ws.send_message("hello")
        print(await ws.get_message())


if __name__ == "__main__":
    trio.run(main)
