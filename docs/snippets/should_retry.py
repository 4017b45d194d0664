"""A client that comes back with a close code of the server's own as well."""

import trio

from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    is_worth_retrying,
    run_websocket_url,
)


def should_retry(error: HandshakeError | ConnectionClosed) -> bool:
    if isinstance(error, ConnectionClosed) and error.reason is not None:
        # 4005 is our server's "please come back".
        return error.reason.code == 4005 or is_worth_retrying(error)
    return is_worth_retrying(error)


async def receive_one(ws: WebSocketConnection) -> str | bytes:
    return await ws.get_message()


async def main() -> None:
    message = await run_websocket_url(
        receive_one, "ws://127.0.0.1:8000/", should_retry=should_retry
    )
    print(message)


if __name__ == "__main__":
    trio.run(main)
