"""Writes requirements/*.txt: the exact versions that `make` works with, chosen from what pyproject.toml asks for.

dev.txt     everything, for .venv
test.txt    the library's dependencies and what the tests need, for the clean environments that test the wheel
oldest.txt  the oldest dependencies that pyproject.toml allows, laid over test.txt
uv.txt      uv itself, the only file that is kept by hand

Each file holds for every Python that the library supports: where newer Pythons get newer tools, markers say so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).with_name("uv")


def compile_pins(name: str, *options: str) -> None:
    command = [str(UV), "pip", "compile", "--quiet", "--upgrade", "--no-annotate", "--python-version=3.10"]
    command += [*options, "pyproject.toml", "--output-file", f"requirements/{name}"]
    env = {**os.environ, "UV_CUSTOM_COMPILE_COMMAND": "make pins"}
    subprocess.run(command, cwd=ROOT, env=env, check=True)


def main() -> None:
    compile_pins("dev.txt", "--universal", "--group=dev")
    compile_pins("test.txt", "--universal", "--group=test")
    compile_pins("oldest.txt", "--resolution=lowest-direct", "--all-extras")


if __name__ == "__main__":
    main()
