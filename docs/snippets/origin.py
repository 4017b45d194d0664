"""A server that serves its own pages, and programs that are no browsers, but no other pages."""

import trio

from trio_websocket import WebSocketRequest, serve_websocket

OUR_PAGES = {b"https://chat.example.org", b"https://www.example.org"}


async def echo(request: WebSocketRequest) -> None:
    origins = [value for name, value in request.headers if name == b"origin"]
    if not OUR_PAGES.issuperset(origins):
        await request.reject(403, body=b"Not from this page.\n")
        return
    ws = await request.accept()
    async for message in ws:
        await ws.send_message(message)


async def main() -> None:
    await serve_websocket(echo, "127.0.0.1", 8000, None)


if __name__ == "__main__":
    trio.run(main)
