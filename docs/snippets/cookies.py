"""A client that is sent to the login at its first visit, and known later."""

from http.cookiejar import CookieJar

import trio

from trio_websocket import open_websocket_url


async def main() -> None:
    jar = CookieJar()
    for _ in range(2):
        async with open_websocket_url(
            "ws://127.0.0.1:8000/news", max_redirects=3, cookies=jar
        ) as ws:
            print(ws.path, "-", await ws.get_message())


if __name__ == "__main__":
    trio.run(main)
