"""`trio-websocket bench`."""

from __future__ import annotations

import re
import signal

import pytest
import trio
from cli_support import console, program, read_all, run_cli
from support import connected_pair, serving, url_of

from trio_websocket import WebSocketRequest
from trio_websocket._cli._bench import _Bench
from trio_websocket._cli._options import Target


async def be_silent(request: WebSocketRequest) -> None:
    await (await request.accept()).wait_closed()


async def test_closed_loop_tells_rate_percentiles_and_histogram() -> None:
    async with serving() as server:
        url = url_of(server)
        ended = await run_cli("bench", url, "--connections", "2", "-t", "0.1", "--size", "10")
    assert (ended.code, ended.errors) == (0, "")
    head, counts, latency, *rest = ended.lines
    assert head == f"{url}: 2 connections, 10 bytes a message, as fast as they come back"
    assert re.fullmatch(r"[\d,]+ messages in \S+ s: [\d,]+ messages/s, \S+ MB/s each way", counts)
    assert latency.startswith("latency min/avg/max = ")
    assert [line.split()[0] for line in rest[:5]] == ["p50", "p90", "p99", "p99.9", "p99.99"]
    sent = int(counts.split()[0].replace(",", ""))
    rows = [line for line in rest if "█" in line or " - " in line]
    assert sum(int(row.split()[-1].replace(",", "")) for row in rows) == sent > 0


async def test_rate_is_kept_over_all_connections() -> None:
    received = 0

    async def echo(request: WebSocketRequest) -> None:
        nonlocal received
        ws = await request.accept()
        async for message in ws:
            received += 1
            await ws.send_message(message)

    async with serving(echo) as server:
        ended = await run_cli("bench", url_of(server), "--connections", "3", "-t", "0.2", "--rate", "200")
    assert ended.code == 0
    assert received == 40
    assert ended.lines[0].endswith("200 messages/s asked for")
    assert ended.lines[1].startswith("40 messages in ")


@pytest.mark.slow
async def test_rate_may_be_beyond_anything() -> None:
    """There is no list of what is to be sent; and from a server that answers, all that was sent may be back at the end."""
    async with serving(be_silent) as server:
        # The timeout is the opening's, too, and a busy machine opens in its own time.
        ended = await run_cli("bench", url_of(server), "-t", "0.05", "--rate", "1e12", "--timeout", "1")
    assert ended.code == 1
    assert ended.lines[1].endswith("messages did not come back")


async def test_stall_is_charged_to_all_that_were_due_meanwhile(mock_clock: trio.testing.MockClock) -> None:
    """Ten messages a second; the server sleeps through the first five seconds of ten."""

    async def stall(ws: object) -> None:
        await trio.sleep(5)
        async for message in pair.server:
            await pair.server.send_message(message)

    with console() as (its_console, _, __):
        bench = _Bench(its_console, Target("ws://x"), 1, 10, b"x")
        async with connected_pair(message_queue_size=1000) as pair, trio.open_nursery() as nursery:
            nursery.start_soon(stall, pair.server)
            bench._start, bench._end = trio.current_time(), trio.current_time() + 10
            await bench._send_when_due(pair.client, 10, 0)
            nursery.cancel_scope.cancel()
    times = bench._times
    assert times.count == 100
    assert times.maximum == pytest.approx(5)
    # Every other message was due during the stall, and they waited for half of it on average.
    assert times.mean == pytest.approx(5 * 0.5 * 0.51, rel=0.01)
    assert times.percentile(50) < 0.1
    assert times.percentile(90) == pytest.approx(4, rel=0.02)


async def test_server_that_answers_something_else_is_no_echo_server() -> None:
    async def answer(request: WebSocketRequest) -> None:
        ws = await request.accept()
        async for _ in ws:
            await ws.send_message(b"no")

    async with serving(answer) as server:
        ended = await run_cli("bench", url_of(server), "--size", "9", "--connections", "1")
    assert ended.code == 1
    assert ended.errors == "trio-websocket: no echo server: 9 bytes came back as 2 others\n"


@pytest.mark.slow
async def test_messages_that_do_not_come_back_are_told() -> None:
    async with serving(be_silent) as server:
        ended = await run_cli("bench", url_of(server), "-t", "0.05", "--connections", "2", "--timeout", "1")
    assert ended.code == 1
    assert ended.lines[1] == "2 of 2 messages did not come back"


async def test_no_server_is_told_without_a_report() -> None:
    async with serving() as server:
        url = url_of(server)
    ended = await run_cli("bench", url)
    assert (ended.code, ended.output, ended.errors.count("\n")) == (1, b"", 1)


@pytest.mark.slow
async def test_ctrl_c_reports_what_there_is() -> None:
    is_running = trio.Event()

    async def echo(request: WebSocketRequest) -> None:
        ws = await request.accept()
        async for message in ws:
            await ws.send_message(message)
            is_running.set()

    async with serving(echo) as server, program("bench", url_of(server)) as process:
        await is_running.wait()
        process.send_signal(signal.SIGINT)
        assert "messages/s" in await read_all(process.stdout)
        assert await read_all(process.stderr) == ""
        assert await process.wait() == 130
