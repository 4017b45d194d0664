"""A client that tells what went wrong."""

import trio

from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    open_websocket_url,
)


async def main() -> None:
    try:
        async with open_websocket_url("ws://127.0.0.1:8000/") as ws:
            while True:
                print(await ws.get_message())
    except ConnectionRejected as error:
        print("HTTP status", error.status_code, error.body)
    except HandshakeError as error:
        print(error)
    except ConnectionClosed as error:
        if error.received is None:
            print("no goodbye:", error.__cause__)
        else:
            print(
                "closed with",
                error.received.code,
                error.received.name,
                error.received.reason,
            )


if __name__ == "__main__":
    trio.run(main)
