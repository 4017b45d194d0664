"""A server that asks for a token, and speaks two versions of a protocol."""

import secrets

import trio

from trio_websocket import WebSocketRequest, serve_websocket

TOKEN = b"Bearer correct-horse-battery-staple"
SPOKEN = ["chat.v2", "chat.v1"]  # the best first


async def handle(request: WebSocketRequest) -> None:
    given = dict(request.headers).get(b"authorization", b"")
    if not secrets.compare_digest(given, TOKEN):
        await request.reject(
            401,
            extra_headers=[(b"WWW-Authenticate", b"Bearer")],
            body=b"Who are you?\n",
        )
        return
    common = [name for name in SPOKEN if name in request.proposed_subprotocols]
    ws = await request.accept(subprotocol=common[0] if common else None)
    await ws.send_message(f"welcome to {ws.subprotocol or 'plain text'}")


async def main() -> None:
    await serve_websocket(handle, "127.0.0.1", 8000, ssl_context=None)


if __name__ == "__main__":
    trio.run(main)
