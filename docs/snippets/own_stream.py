"""Both ends of a connection in memory, as a test may want them."""

import trio
import trio.testing

from trio_websocket import wrap_client_stream, wrap_server_stream


async def serve(stream: trio.abc.Stream) -> None:
    async with trio.open_nursery() as nursery:
        request = await wrap_server_stream(nursery, stream)
        async with await request.accept() as ws:
            await ws.send_message(f"you asked for {ws.path}")


async def main() -> None:
    client_stream, server_stream = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, server_stream)
        async with await wrap_client_stream(
            nursery, client_stream, "test", "/news"
        ) as ws:
            print(await ws.get_message())


if __name__ == "__main__":
    trio.run(main)
