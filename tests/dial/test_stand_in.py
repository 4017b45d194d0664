"""What stands in for the network does so in its block, and gives way to one inside of it."""

from __future__ import annotations

import trio

from trio_websocket._dial import find_stand_in, stand_in


async def connect(host: str, port: int) -> trio.abc.Stream:
    raise NotImplementedError


async def other(host: str, port: int) -> trio.abc.Stream:
    raise NotImplementedError


async def test_stand_in_counts_in_its_block_and_the_inner_one_first() -> None:
    assert find_stand_in() is None
    with stand_in(connect):
        assert find_stand_in() is connect
        with stand_in(other):
            assert find_stand_in() is other
        assert find_stand_in() is connect
    assert find_stand_in() is None


def test_other_runs_have_the_network() -> None:
    async def look() -> None:
        assert find_stand_in() is None

    async def stand() -> None:
        with stand_in(connect):
            await trio.to_thread.run_sync(trio.run, look)

    trio.run(stand)
