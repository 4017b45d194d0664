"""Lets atheris feed one target, with libFuzzer's options: python fuzz/drive.py TARGET [OPTION ...]; see `run_targets.py`."""

from __future__ import annotations

import importlib
import sys
from typing import Any


def main() -> None:
    # Has no types; is only in the environment that run_targets.py sets up.
    atheris: Any = importlib.import_module("atheris")
    target = sys.argv.pop(1)
    with atheris.instrument_imports(include=["trio_websocket", target]):
        check = importlib.import_module(target).check
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
