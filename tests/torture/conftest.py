"""What the tests under torture share."""

from __future__ import annotations

import pytest


@pytest.fixture(params=[True, False], ids=["client", "server"])
def is_client(request: pytest.FixtureRequest) -> bool:
    """Which end is under test."""
    return bool(request.param)
