"""Finds the Pythons on this machine that the library supports: one executable for each minor version.

A name on PATH proves nothing: pyenv puts shims there for versions that are not switched on. So each candidate is run,
and the file that ran is what counts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SUPPORTED = ["3.10", "3.11", "3.12", "3.13"]
ASK = "import os, sys; print('%d.%d' % sys.version_info[:2], os.path.realpath(sys.executable))"


def candidates(version: str) -> list[str]:
    """Where a Python of that version may be, the likeliest first."""
    on_path = shutil.which(f"python{version}")
    roots = [os.environ.get("PYENV_ROOT"), str(Path.home() / ".pyenv")]
    versions = [Path(root) / "versions" for root in roots if root]
    pyenv = [
        str(path)
        for folder in versions
        for path in sorted(folder.glob(f"{version}.*/bin/python"), reverse=True)
    ]
    return [*([on_path] if on_path else []), *pyenv, sys.executable]


def real(candidate: str, version: str) -> Path | None:
    """The executable behind a candidate, or None if it does not run or is of another version."""
    done = subprocess.run([candidate, "-c", ASK], text=True, capture_output=True, check=False)
    found, _, path = done.stdout.strip().partition(" ")
    return Path(path) if done.returncode == 0 and found == version else None


def find() -> dict[str, Path]:
    """The Pythons that are there, oldest first."""
    found = {}
    for version in SUPPORTED:
        paths = (real(candidate, version) for candidate in candidates(version))
        if path := next((path for path in paths if path), None):
            found[version] = path
    return found


if __name__ == "__main__":
    for version, path in find().items():
        print(version, path)
