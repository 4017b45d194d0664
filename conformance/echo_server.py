"""An echo server for the conformance tests: python echo_server.py [--streams] PORT.

With --streams, it runs over streams as another library may have them, in place of plain sockets.
"""

from __future__ import annotations

import sys

import trio

from trio_websocket import ConnectionClosed, PerMessageDeflate, WebSocketRequest, WebSocketServer

# Larger than any message of the suite (16 MiB), and more fragments than it cuts one into (65,536).
MAX_MESSAGE_SIZE = 2**25
MAX_FRAGMENTS = 2**17
# Everything is compressed where the suite asks for it, which it does in the cases 12.* and 13.*.
COMPRESSION = PerMessageDeflate(threshold=0)


async def echo(request: WebSocketRequest) -> None:
    ws = await request.accept()
    try:
        while True:
            await ws.send_message(await ws.get_message())
    except ConnectionClosed:
        pass


class StreamListener(trio.abc.Listener[trio.abc.Stream]):
    """Gives streams that are more than plain sockets, for all that the library knows."""

    def __init__(self, inner: trio.SocketListener) -> None:
        self._inner = inner

    async def accept(self) -> trio.abc.Stream:
        stream = await self._inner.accept()
        return trio.StapledStream(stream, stream)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def main(port: int, over_streams: bool) -> None:
    [tcp] = await trio.open_tcp_listeners(port, host="127.0.0.1")
    listener = StreamListener(tcp) if over_streams else tcp
    server = WebSocketServer(
        echo,
        [listener],
        max_message_size=MAX_MESSAGE_SIZE,
        max_fragments=MAX_FRAGMENTS,
        compression=COMPRESSION,
    )
    await server.run()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[-1]), "--streams" in sys.argv)
