"""Builds the compiled kernel; everything else about the package stands in pyproject.toml.

The library works without it, only slower: where there is no C compiler, the installation says so and goes on. With
TRIO_WEBSOCKET_SKIP_EXTENSION set to anything, nothing is compiled, and the wheel fits every Python.
"""

from __future__ import annotations

import os
import platform
import sys

from setuptools import Extension, setup

# PyPy runs the plain kernel faster than it calls a compiled one.
IS_WANTED = (
    not os.environ.get("TRIO_WEBSOCKET_SKIP_EXTENSION") and platform.python_implementation() == "CPython"
)

kernel = Extension(
    "trio_websocket._kernel._cy",
    ["src/trio_websocket/_kernel/_cy.pyx"],
    depends=[f"src/trio_websocket/_kernel/_cy_{part}.pxi" for part in ("inlet", "outlet", "heads")],
    optional=True,
    # Masks are vectors' work, and debugging symbols would be most of the wheel.
    extra_compile_args=[] if sys.platform == "win32" else ["-O3", "-g0"],
)

setup(ext_modules=[kernel] if IS_WANTED else [])
