"""A server that serves so many clients at once, and no more."""

import trio

from trio_websocket import WebSocketRequest, serve_websocket

MAX_CLIENTS = 100
places = trio.Semaphore(MAX_CLIENTS)


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    async for message in ws:
        await ws.send_message(message)


async def echo_if_there_is_a_place(request: WebSocketRequest) -> None:
    try:
        places.acquire_nowait()
    except trio.WouldBlock:
        await request.reject(
            503,
            extra_headers=[(b"Retry-After", b"10")],
            body=b"All places are taken.\n",
        )
        return
    try:
        await echo(request)
    finally:
        places.release()


async def main() -> None:
    await serve_websocket(
        echo_if_there_is_a_place,
        "127.0.0.1",
        8000,
        None,
        max_message_size=64 * 1024,
    )


if __name__ == "__main__":
    trio.run(main)
