"""Checks what ruff does not know: the size of files and functions, and that every public name has a docstring.

A file has one noun, a function has one verb, both within limits: CONTRIBUTING.md has the rules. A name is public if it stands in the `__all__`
of one of PUBLIC_MODULES; a class's methods and properties are public unless their names begin with an underscore.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "trio_websocket"
PUBLIC_MODULES = ["trio_websocket", "trio_websocket.protocol", "trio_websocket.testing"]
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 40


def function_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function's body, without its signature and its docstring."""
    body = function.body
    first, last = body[0], body[-1]
    if ast.get_docstring(function) is not None:
        if len(body) == 1:
            return 0
        first = body[1]
    return (last.end_lineno or last.lineno) - first.lineno + 1


def oversized() -> Iterator[str]:
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(ROOT)
        text = path.read_text(encoding="utf-8")
        lines = len(text.splitlines())
        if lines > MAX_FILE_LINES:
            yield f"{name}: {lines} lines; at most {MAX_FILE_LINES}"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = function_lines(node)
                if lines > MAX_FUNCTION_LINES:
                    yield f"{name}:{node.lineno}: {node.name} has {lines} lines; at most {MAX_FUNCTION_LINES}"


def public_objects(module_name: str) -> Iterator[tuple[str, object]]:
    module = importlib.import_module(module_name)
    yield module_name, module
    for name in getattr(module, "__all__", []):
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            yield f"{module_name}.{name}", value
        if inspect.isclass(value):
            for member, attribute in vars(value).items():
                if not member.startswith("_") and (
                    inspect.isroutine(attribute) or isinstance(attribute, property)
                ):
                    yield f"{module_name}.{name}.{member}", attribute


def undocumented() -> Iterator[str]:
    for module_name in PUBLIC_MODULES:
        for name, value in public_objects(module_name):
            if not (inspect.getdoc(value) or "").strip():
                yield f"{name}: no docstring"


def main() -> int:
    errors = [*oversized(), *undocumented()]
    for error in errors:
        print(error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
