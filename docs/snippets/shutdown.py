"""A server that lets its clients finish before it ends."""

import functools
import signal

import trio

from trio_websocket import WebSocketRequest, serve_websocket

PATIENCE = 30  # seconds that clients may go on after the signal


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    async for message in ws:
        await ws.send_message(message)


async def wait_for_signal() -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            return


async def main() -> None:
    async with trio.open_nursery() as handlers:
        serve = functools.partial(
            serve_websocket,
            echo,
            "127.0.0.1",
            8000,
            None,
            handler_nursery=handlers,
        )
        async with trio.open_nursery() as listening:
            await listening.start(serve)
            await wait_for_signal()
            # Closes the port. The handlers go on, in the other nursery.
            listening.cancel_scope.cancel()
        # Whoever is still there then is told with 1001.
        handlers.cancel_scope.deadline = trio.current_time() + PATIENCE


if __name__ == "__main__":
    trio.run(main)
