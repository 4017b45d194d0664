"""The command line, which needs the extra `[cli]`: one module for each command, on the public API alone."""

from __future__ import annotations

from trio_websocket._cli._app import app, main

__all__ = ["app", "main"]
