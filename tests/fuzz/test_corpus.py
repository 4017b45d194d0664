"""The fuzz targets keep their promises on their seeds, without the fuzzer. What a fuzzer has once found belongs there, too."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

SEEDS = Path(__file__).parents[2] / "fuzz" / "corpus"

pytest.importorskip(
    "trio_websocket._kernel._cy", reason="the targets hold the compiled kernel against the plain one"
)


@pytest.mark.parametrize(
    "seed", sorted(SEEDS.glob("*/*")), ids=lambda seed: f"{seed.parent.name}-{seed.name}"
)
def test_a_seed_breaks_no_promise(seed: Path) -> None:
    importlib.import_module(seed.parent.name).check(seed.read_bytes())


@pytest.mark.parametrize("target", sorted(path.name for path in SEEDS.iterdir()))
@pytest.mark.parametrize("data", [b"", b"\x00", b"\xff", b"\x3f" + bytes(63)])
def test_a_target_takes_any_bytes(target: str, data: bytes) -> None:
    importlib.import_module(target).check(data)


def test_twins_that_differ_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    twins = importlib.import_module("twins")
    monkeypatch.setattr(twins.PLAIN.FrameDecoder, "unread", 0)
    with pytest.raises(AssertionError):
        twins.check((SEEDS / "twins" / "messages").read_bytes())


def test_a_session_that_raises_anything_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    target = importlib.import_module("session")
    monkeypatch.setattr(target.Session, "next_event", lambda session: {}[session])
    with pytest.raises(AssertionError, match="KeyError"):
        target.check((SEEDS / "session" / "server-messages").read_bytes())


@pytest.mark.parametrize(
    ("target", "seed", "name", "broken"),
    [
        ("handshake", "server-plain-http", "KNOWN", set()),
        ("frames", "small", "read", lambda kernel, data, sizes: []),
        ("pair", "plain", "End.step", lambda end, step: end.sent.append("never sent")),
        ("negotiation", "offer-1", "agreed", id),
        ("inflate", "text", "with_zlib", lambda terms, payload: b"something else"),
    ],
)
def test_broken_promise_is_found(
    target: str, seed: str, name: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(target)
    monkeypatch.setattr(f"{target}.{name}", broken)
    with pytest.raises(AssertionError):
        module.check((SEEDS / target / seed).read_bytes())
