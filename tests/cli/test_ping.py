"""`trio-websocket ping`."""

from __future__ import annotations

import re
import signal

import pytest
from cli_support import program, read_all, read_until, run_cli
from support import CLOSE, PING, PONG, RawPeer, raw_server, serving, url_of

from trio_websocket import WebSocketRequest
from trio_websocket._cli import _ping
from trio_websocket._cli._run import INTERRUPTED, run


async def never_pong(peer: RawPeer) -> None:
    """Read until the client closes."""
    while (frame := await peer.read_frame()).opcode != CLOSE:
        pass
    await peer.send_frame(CLOSE, frame.payload)


async def test_each_ping_has_a_line_and_the_end_a_summary() -> None:
    async with serving() as server:
        url = url_of(server)
        ended = await run_cli("ping", url, "-c", "3", "-i", "0.001")
    first, *pongs, _, counts, times, percentiles = ended.lines
    assert re.fullmatch(rf"PING {url} \({url[:-1]}\): open after [\d.]+ ms", first)
    assert sorted(re.sub(r"[\d.]+ ms", "T", line) for line in pongs) == [
        f"pong from {url[:-1]}: seq={number} time=T" for number in (1, 2, 3)
    ]
    assert counts == "3 sent, 3 answered, 0 % lost"
    assert re.fullmatch(r"min/avg/max/mdev = [\d.]+/[\d.]+/[\d.]+/[\d.]+ ms", times)
    assert re.fullmatch(r"p50 = [\d.]+ ms, p90 = [\d.]+ ms, p99 = [\d.]+ ms", percentiles)
    assert (ended.code, ended.errors) == (0, "")


@pytest.mark.slow
async def test_no_answer_at_all_is_a_failure() -> None:
    async with raw_server(never_pong) as port:
        ended = await run_cli("ping", f"ws://127.0.0.1:{port}", "-c", "2", "-i", "0.001", "--timeout", "1")
    assert ended.code == 1
    assert sorted(ended.lines[1:3]) == ["no pong: seq=1 after 1 s", "no pong: seq=2 after 1 s"]
    assert ended.lines[-1] == "2 sent, 0 answered, 100 % lost"


@pytest.mark.slow
async def test_some_answers_are_enough() -> None:
    async def pong_once(peer: RawPeer) -> None:
        frame = await peer.read_frame()
        assert frame.opcode == PING
        await peer.send_frame(PONG, frame.payload)
        await never_pong(peer)

    async with raw_server(pong_once) as port:
        ended = await run_cli("ping", f"ws://127.0.0.1:{port}", "-c", "2", "-i", "0.05", "--timeout", "1")
    assert ended.code == 0
    assert "2 sent, 1 answered, 50 % lost" in ended.lines


async def test_pongs_come_through_what_the_server_sends() -> None:
    async def talk(request: WebSocketRequest) -> None:
        ws = await request.accept()
        while True:
            await ws.send_message("x" * 10_000)

    async with serving(talk) as server:
        ended = await run_cli("ping", url_of(server), "-c", "2", "-i", "0.01")
    assert "2 sent, 2 answered, 0 % lost" in ended.lines


async def test_close_of_the_server_is_told() -> None:
    async def close(request: WebSocketRequest) -> None:
        await (await request.accept()).aclose(4000, "no pings")

    async with serving(close) as server:
        ended = await run_cli("ping", url_of(server))
    assert ended.code == 1
    assert ended.errors == "trio-websocket: the connection was closed with 4000 PRIVATE_RESERVED: no pings\n"


async def test_no_server_is_told_without_a_summary() -> None:
    async with serving() as server:
        url = url_of(server)
    ended = await run_cli("ping", url)
    assert (ended.code, ended.output) == (1, b"")


@pytest.mark.slow
async def test_ctrl_c_sums_up() -> None:
    async with serving() as server, program("ping", url_of(server)) as process:
        await read_until(process.stdout, "seq=1")
        process.send_signal(signal.SIGINT)
        assert " 0 % lost" in await read_all(process.stdout)
        assert await read_all(process.stderr) == ""
        assert await process.wait() == 0


@pytest.mark.slow
async def test_ctrl_c_before_any_answer_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal would be the tests' own: it comes as what `run` makes of it."""
    monkeypatch.setattr(_ping, "run", lambda console, main: run(console, main) or INTERRUPTED)
    async with raw_server(never_pong) as port:
        ended = await run_cli("ping", f"ws://127.0.0.1:{port}", "-c", "1", "--timeout", "1")
    assert ended.code == 1
    assert " 100 % lost" in ended.output.decode()
