"""`examples/demo.py`, which `make demo` runs."""

from __future__ import annotations

import re

import demo
import pytest
from example_process import running

from trio_websocket import WebSocketConnection

pytestmark = pytest.mark.slow


async def test_demo_tells_that_the_heartbeat_noticed_the_failed_network() -> None:
    async with running("demo.py") as program:
        assert await program.exit_code() == 0, program.output + program.errors
        steps = re.findall(r"^\d", program.output, re.MULTILINE)
        assert steps == ["1", "2", "3", "4", "5"]
        noticed = re.search(r"The heartbeat noticed (\d+\.\d\d) s later", program.output)
        assert noticed is not None and float(noticed[1]) >= 1.0
        assert program.output.endswith("All went as it should.\n")
        assert program.errors == ""


def test_demo_fails_in_clear_words(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def changed_echo(ws: WebSocketConnection) -> None:
        demo.check(False, "The text came back changed.")

    monkeypatch.setattr(demo, "exchange", changed_echo)
    assert demo.main() == 1
    assert capfd.readouterr().err.endswith("The demo FAILED: DemoError: The text came back changed.\n")
