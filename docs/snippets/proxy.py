"""A client behind a proxy, which tells whose fault it is if it gets nowhere."""

import trio

from trio_websocket import HandshakeError, ProxyFailed, open_websocket_url


async def main() -> None:
    try:
        async with open_websocket_url(
            "ws://127.0.0.1:8000/", proxy="http://me:secret@127.0.0.1:8001"
        ) as ws:
            print(await ws.get_message())
    except ProxyFailed as error:
        if error.status_code == 407:
            print("The proxy wants another user name or password.")
        else:
            print("Look at the proxy:", error)
    except HandshakeError as error:
        print("The proxy works, the server does not:", error)


if __name__ == "__main__":
    trio.run(main)
