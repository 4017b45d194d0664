"""A server that compresses what it sends, but for what is secret."""

import json
import secrets

import trio

from trio_websocket import PerMessageDeflate, WebSocketRequest, serve_websocket

RECORDS = [{"id": number, "state": "open"} for number in range(200)]


async def handle(request: WebSocketRequest) -> None:
    ws = await request.accept()
    print("agreed" if ws.compression else "the client does not compress")
    await ws.send_message(json.dumps(RECORDS))
    token = secrets.token_hex(200)
    await ws.send_message(token, compress=False)


async def main() -> None:
    await serve_websocket(
        handle,
        "127.0.0.1",
        8000,
        None,
        compression=PerMessageDeflate(
            # 50 KB for a connection, in place of 256.
            server_max_window_bits=12,
            client_max_window_bits=12,
            memory_level=5,
        ),
    )


if __name__ == "__main__":
    trio.run(main)
