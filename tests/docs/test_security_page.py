"""Each answer of docs/security.rst to an attempt names the tests that show it, and these are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
PAGE = (HERE.parent / "docs" / "security.rst").read_text("utf-8")
ROWS = re.findall(
    r"^   \* - (.*?)\n     - (.*?)\n     - (.*?)(?=\n   \* - |\n\n|\Z)", PAGE, re.MULTILINE | re.DOTALL
)
TESTS = {
    name
    for path in HERE.rglob("test_*.py")
    if "node_modules" not in path.parts
    for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
}


def test_page_has_its_tables() -> None:
    assert len([row for row in ROWS if row[0] != "attempt"]) == PAGE.count("\n   * - ") - PAGE.count(
        "* - attempt"
    )
    assert PAGE.count("* - attempt") == 4


@pytest.mark.parametrize("row", [row for row in ROWS if row[0] != "attempt"], ids=lambda row: row[0][:60])
def test_attempt_has_an_answer_and_a_test_that_shows_it(row: tuple[str, str, str]) -> None:
    _, answer, shown = row
    assert answer
    names = re.findall(r"``(\w+)``", shown)
    assert names
    assert set(names) <= TESTS
