"""A client that trusts whom the operating system trusts."""

import ssl

import trio
import truststore

from trio_websocket import open_websocket_url


async def main() -> None:
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with open_websocket_url(
        "wss://localhost:8443/", ssl_context=context
    ) as ws:
        await ws.send_message("hello")
        print(await ws.get_message())


if __name__ == "__main__":
    trio.run(main)
