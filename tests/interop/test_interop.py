"""Our client with their server, and their client with our server: `websockets`, aiohttp and Node's `ws`; ws and wss."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from certificates import CertificateFiles, Certificates
from interop_peer import ANSWER_TIMEOUT, PeerProcess, peer_command
from interop_scenarios import SCENARIOS, Scenario

from trio_websocket import WebSocketRequest, open_websocket_url, serve_websocket

pytestmark = [pytest.mark.interop, pytest.mark.slow]

PEERS = ["websockets", "aiohttp", pytest.param("node", marks=pytest.mark.external("node", "ws"))]
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=PEERS)
def peer(request: pytest.FixtureRequest, certificate_files: CertificateFiles) -> Iterator[PeerProcess]:
    process = PeerProcess(peer_command(request.param), certificate_files)
    yield process
    process.stop()


@pytest.fixture
def path() -> str:
    """A path of its own for each connection, so that a peer can tell them apart."""
    return f"/{next(_numbers)}"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_our_client_and_their_server_agree(
    peer: PeerProcess, scheme: str, scenario: Scenario, path: str, certificates: Certificates
) -> None:
    url = f"{scheme}://127.0.0.1:{peer.ports[scheme]}{path}"
    context = certificates.client_context() if scheme == "wss" else None
    with trio.fail_after(ANSWER_TIMEOUT):
        async with open_websocket_url(
            url,
            context,
            subprotocols=scenario.subprotocols,
            max_message_size=2**25,
            compression=scenario.compression,
        ) as ws:
            await scenario.play(ws)
        _check_outcome(scenario, await peer.outcome(path))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_our_server_and_their_client_agree(
    peer: PeerProcess, scheme: str, scenario: Scenario, path: str, certificates: Certificates
) -> None:
    played = trio.Event()
    failures: list[Exception] = []

    async def handle(request: WebSocketRequest) -> None:
        common = [name for name in ("chat.v2", "chat.v1") if name in request.proposed_subprotocols]
        ws = await request.accept(subprotocol=common[0] if common else None)
        try:
            await scenario.play(ws)
        except Exception as exc:
            failures.append(exc)
            raise
        finally:
            played.set()

    context = certificates.server_context() if scheme == "wss" else None
    limits: Any = {"max_message_size": 2**25, "compression": scenario.compression}
    serve = functools.partial(serve_websocket, handle, "127.0.0.1", 0, context, **limits)
    with trio.fail_after(ANSWER_TIMEOUT):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve)
            await peer.connect(f"{scheme}://127.0.0.1:{server.port}{path}", list(scenario.subprotocols))
            outcome = await peer.outcome(path)
            await played.wait()
            nursery.cancel_scope.cancel()
    for failure in failures:
        raise failure
    _check_outcome(scenario, outcome)


def _check_outcome(scenario: Scenario, outcome: dict[str, object]) -> None:
    assert outcome.get("code") == scenario.code, outcome
    if scenario.reason:
        assert outcome["reason"] == scenario.reason
