"""A large message over a bad line: slow, in random pieces, and stalled for a while."""

import trio
import trio.testing

from trio_websocket import wrap_client_stream, wrap_server_stream
from trio_websocket.testing import FaultyStream, Slow, Split, Stall


async def main() -> None:
    client_end, server_end = trio.testing.memory_stream_pair()
    line = FaultyStream(
        client_end,
        send=[Slow(rate=10_000), Split(1000, seed=1), Stall(after=50_000)],
    )
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            request = await wrap_server_stream(nursery, server_end)
            async with await request.accept() as ws:
                message = await ws.get_message()
                print(f"{len(message)} bytes after {trio.current_time():.0f} s")

        nursery.start_soon(serve)
        async with await wrap_client_stream(nursery, line, "test", "/") as ws:
            await ws.send_message(bytes(100_000))
            await trio.sleep(60)
            print(f"stalled after {line.bytes_sent} bytes")
            line.clear()


if __name__ == "__main__":
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
