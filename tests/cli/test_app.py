"""`_cli._app` and `__main__`: the commands together."""

from __future__ import annotations

import importlib
import os
import runpy
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from cli_support import untouched_log

import trio_websocket
from trio_websocket import __main__, _cli


def run_main(*arguments: str) -> object:
    with pytest.raises(SystemExit) as caught, untouched_log():
        _cli.main(arguments)
    return caught.value.code


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main("--help") == 0
    output = capsys.readouterr().out
    assert output.startswith("Usage: trio-websocket [OPTIONS] COMMAND")
    assert all(f"\n  {name} " in output for name in ("bench", "connect", "listen", "ping", "send", "serve"))


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main("--version") == 0
    assert capsys.readouterr().out == f"trio-websocket {trio_websocket.__version__}\n"


def test_mistake_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main("nonsense") == 2
    assert capsys.readouterr().err.endswith("Error: No such command 'nonsense'.\n")


def test_exit_code_is_the_commands(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_main("listen", "ws://127.0.0.1:1/") == 1
    assert capfd.readouterr().err.startswith("trio-websocket: cannot connect to 127.0.0.1 port 1")


def test_descriptor_that_is_closed_goes_nowhere() -> None:
    """A socket would get its number, and what is for stdout would go to the server."""
    kept = os.dup(0)
    os.close(0)
    try:
        run_main("--version")
        assert os.fstat(0).st_rdev == os.stat(os.devnull).st_rdev
    finally:
        os.dup2(kept, 0)
        os.close(kept)


@pytest.mark.parametrize(
    ("shell", "words"),
    [("bash", "complete -o nosort -F"), ("zsh", "#compdef trio-websocket"), ("fish", "complete --no-files")],
)
def test_shell_gets_its_completion(
    shell: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # click asks bash for its version.
    monkeypatch.setattr("click.shell_completion.BashComplete._check_version", lambda self: None)
    monkeypatch.setenv("_TRIO_WEBSOCKET_COMPLETE", f"{shell}_source")
    assert run_main() == 0
    assert words in capsys.readouterr().out


def test_completion_knows_commands_and_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_TRIO_WEBSOCKET_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "trio-websocket listen --c")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert run_main() == 0
    assert capsys.readouterr().out.split() == ["plain,--compression", "plain,--ca", "plain,--count"]


# ------------------------------------------------------------------------------------------------------- __main__


def test_main_runs_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["trio-websocket", "--version"])
    with pytest.raises(SystemExit) as caught:
        __main__.main()
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("trio-websocket ")


def test_module_runs_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["trio-websocket", "--version"])
    with pytest.raises(SystemExit):
        runpy.run_path(__main__.__file__, run_name="__main__")
    assert capsys.readouterr().out.startswith("trio-websocket ")


@pytest.mark.parametrize("name", ["click", "prompt_toolkit"])
def test_missing_extra_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [each for each in sys.modules if each.startswith(("trio_websocket._cli", name))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not there
    with pytest.raises(SystemExit) as caught:
        __main__.main()
    assert caught.value.code == (
        f"trio-websocket: {name} is not installed: install trio-websocket with its extra [cli]"
    )


def test_other_missing_modules_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError("No module named 'x'", name="x")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ModuleNotFoundError):
        __main__.main()


def test_script_is_installed_with_the_package() -> None:
    scripts = [each.value for each in entry_points(group="console_scripts", name="trio-websocket")]
    assert scripts == ["trio_websocket.__main__:main"]


@pytest.mark.slow
def test_library_does_without_the_extra() -> None:
    code = "import sys, trio_websocket; sys.exit(bool({'click', 'prompt_toolkit'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
