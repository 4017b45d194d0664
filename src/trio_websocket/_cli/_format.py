"""How a received message is written."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

from trio_websocket._cli._output import escape

__all__ = ["Formatter", "Message", "hex_dump", "json_line", "make_formatter", "prettify"]

Message = str | bytes

Formatter = Callable[[Message], bytes]

_DUMPED_AT_MOST = 4096


def hex_dump(data: bytes) -> Iterator[str]:
    """Lines of 16 bytes: offset, hexadecimal, ASCII; cut after 4096 bytes."""
    for start in range(0, min(len(data), _DUMPED_AT_MOST), 16):
        row = data[start : start + 16]
        shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"{start:08x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  |{shown}|"
    if len(data) > _DUMPED_AT_MOST:
        yield f"... and {len(data) - _DUMPED_AT_MOST:,} bytes more"


def prettify(text: str) -> str:
    """JSON, indented; anything else as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def json_line(message: Message, *, indent: int | None = None) -> bytes:
    """A message as a JSON object: `time`, `type`, `data`."""
    event = {
        "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "type": "text" if isinstance(message, str) else "binary",
        "data": message if isinstance(message, str) else base64.b64encode(message).decode("ascii"),
    }
    # ASCII alone, in which nothing acts on a terminal but DEL.
    return json.dumps(event, indent=indent).replace("\x7f", "\\u007f").encode() + b"\n"


def make_formatter(*, is_terminal: bool, is_json: bool = False, is_pretty: bool = False) -> Formatter:
    """Choose how to write messages.

    Args:
        is_terminal: Escape what acts on a terminal, and show binary messages as hex dumps; otherwise both are written raw.
        is_json: JSON objects, one a line.
        is_pretty: Indent JSON, `is_json`'s own or a text's.
    """

    def write_json(message: Message) -> bytes:
        return json_line(message, indent=2 if is_pretty else None)

    def write(message: Message) -> bytes:
        if isinstance(message, bytes):
            return "".join(f"{line}\n" for line in hex_dump(message)).encode() if is_terminal else message
        text = prettify(message) if is_pretty else message
        # What JSON escapes may hold half a surrogate pair, which has no UTF-8 form.
        return (escape(text) if is_terminal else text).encode("utf-8", "backslashreplace") + b"\n"

    return write_json if is_json else write
