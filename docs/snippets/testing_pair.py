"""Tests of code that is given a connection."""

import trio
import trio.testing

from trio_websocket import ConnectionClosed, WebSocketConnection
from trio_websocket.testing import Reset, Stall, open_websocket_pair


async def ask(ws: WebSocketConnection, question: str) -> str | bytes | None:
    """The code under test: None if there is no answer within ten seconds."""
    with trio.move_on_after(10):
        await ws.send_message(question)
        return await ws.get_message()
    return None


async def test_answer_is_returned() -> None:
    async with open_websocket_pair() as (client, server):
        await server.send_message("42")
        assert await ask(client, "what is it?") == "42"
        assert await server.get_message() == "what is it?"


async def test_silent_server_is_not_waited_for() -> None:
    async with open_websocket_pair() as pair:
        await pair.client_stream.inject(receive=[Stall()])
        await pair.server.send_message("42")
        assert await ask(pair.client, "what is it?") is None


async def test_lost_connection_is_reported() -> None:
    async with open_websocket_pair() as pair:
        await pair.client_stream.inject(receive=[Reset()])
        try:
            await ask(pair.client, "what is it?")
        except ConnectionClosed as error:
            print("lost:", error.__cause__)


async def main() -> None:
    # A plugin such as pytest-trio does this for you.
    await test_answer_is_returned()
    await test_silent_server_is_not_waited_for()
    await test_lost_connection_is_reported()


if __name__ == "__main__":
    # The ten seconds pass at once.
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
