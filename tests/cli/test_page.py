"""`docs/cli.rst` tells of every option that there is, and of no other."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import click
import pytest

from trio_websocket._cli import app

PAGE = Path(__file__).parents[2] / "docs" / "cli.rst"
SHARED = "trio-websocket-client"


def documented() -> dict[str, set[str]]:
    """The flags of each program on the page."""
    flags: dict[str, set[str]] = defaultdict(set)
    program = ""
    for directive, text in re.findall(
        r"^\.\. (program|option):: (.*)$", PAGE.read_text("utf-8"), re.MULTILINE
    ):
        if directive == "program":
            program = text
        else:
            flags[program].update(re.findall(r"(?<!\S)--?[\w-]+", text))
    return flags


def flags_of(command: click.Command) -> set[str]:
    context = click.Context(command, info_name="x", **app.context_settings)
    options = [each for each in command.get_params(context) if isinstance(each, click.Option)]
    return {flag for option in options for flag in option.opts}


@pytest.mark.parametrize("name", app.commands)
def test_page_has_all_options_of_a_command_and_no_other(name: str) -> None:
    command = app.commands[name]
    shared = documented()[SHARED] if any(each.name == "url" for each in command.params) else set()
    assert flags_of(command) == documented()[f"trio-websocket-{name}"] | shared


def test_page_has_the_options_of_the_program() -> None:
    assert flags_of(app) == documented()["trio-websocket"]


def test_page_has_a_chapter_and_a_synopsis_for_each_command_and_no_other() -> None:
    text = PAGE.read_text("utf-8")
    assert re.findall(r"^([a-z]+)\n-+\n", text, re.MULTILINE) == list(app.commands)
    assert re.findall(r"trio-websocket \[-v\] (\w+) ", text) == list(app.commands)


def test_page_names_each_exit_code() -> None:
    codes = re.findall(r"^   \* - (\d+)$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert codes == ["0", "1", "2", "130", "141", "143"]
