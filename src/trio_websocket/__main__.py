"""`trio-websocket` and `python -m trio_websocket`: the command line, if the extra `[cli]` is installed."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line; the exit code says how it went."""
    try:
        app = importlib.import_module("trio_websocket._cli")
    except ModuleNotFoundError as error:
        # Another name is missing when an installation is broken: that is for the traceback to tell.
        if error.name not in {"click", "prompt_toolkit"}:
            raise
        sys.exit(
            f"trio-websocket: {error.name} is not installed: install trio-websocket with its extra [cli]"
        )
    app.main()
    raise AssertionError("the command line returned")


if __name__ == "__main__":
    main()
