"""How Sphinx builds these pages: `make docs`. Warnings are errors, and so is a reference that leads nowhere."""

from __future__ import annotations

import sys
from http.cookiejar import CookieJar
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.ext.napoleon.docstring import GoogleDocstring

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from trio_websocket import __version__, _client

# The library imports it for type checkers only; Sphinx reads all annotations of a function or none.
_client.CookieJar = CookieJar

project = "trio-websocket"
author = "The trio-websocket contributors"
copyright = author
version = release = __version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "snippets"]
nitpicky = True
# What belongs to Python, Trio or nobody is not looked up on the net; the build needs none.
nitpick_ignore_regex = [
    ("py:.*", r"(?!trio_websocket)(trio|ssl|os|ipaddress|collections|contextlib|http|logging)\..*"),
    ("py:.*", r"trio_websocket\._server\._Stream"),
    # What `make_intake` and `set_up` are about is the kernel's own.
    ("py:class", r"trio_websocket\._kernel\..*\.(Intake|MessageQueue|Outlet)"),
    ("py:.*", r"(?:Iterable|AbstractAsyncContextManager|NoReturn|Awaitable|Callable|Headers|Message)"),
    ("py:.*", r"(?:ClientOptions|OnConnect|OnOutage|ShouldRetry|T|TypeAliasForwardRef)"),
    # In docstrings, `like this` is code, and a link where there is something to link to.
    ("py:obj", r".*"),
]
default_role = "py:obj"

# Docstrings are the one source of the reference.
autoclass_content = "class"
autodoc_class_signature = "mixed"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_type_aliases = {"Headers": "Headers", "Message": "Message"}
napoleon_numpy_docstring = False
napoleon_preprocess_types = False
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"trio-websocket {version}"
html_show_sourcelink = False
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["tables.css"]
pygments_style = "friendly"
pygments_dark_style = "monokai"


def read_property_docstring(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Keep napoleon from taking what stands before a colon for a property's type."""
    if what in ("property", "attribute", "data") and lines:
        lines[:] = GoogleDocstring(lines, app.config, app, "method", name, obj, options).lines()
        lines[0] = ":" + lines[0] if ":" in lines[0] else lines[0]


def name_functions(*event: str | None) -> tuple[str | None, str | None]:
    """Write a default that is a function as one writes it in a program."""
    signature, returns = event[-2:]
    return signature and signature.replace("<function token_bytes>", "secrets.token_bytes"), returns


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-signature", name_functions)
    # Before napoleon, which comes at 500.
    app.connect("autodoc-process-docstring", read_property_docstring, priority=400)
