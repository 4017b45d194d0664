"""`_cli._format`."""

from __future__ import annotations

import base64
import json
from datetime import datetime

import pytest

from trio_websocket._cli._format import hex_dump, json_line, make_formatter, prettify


def test_hex_dump_shows_offset_hexadecimal_and_ascii() -> None:
    assert list(hex_dump(bytes(range(0x3A, 0x4C)) + b"\x1b\xff")) == [
        "00000000  3a 3b 3c 3d 3e 3f 40 41  42 43 44 45 46 47 48 49  |:;<=>?@ABCDEFGHI|",
        "00000010  4a 4b 1b ff                                       |JK..|",
    ]


def test_hex_dump_is_cut() -> None:
    lines = list(hex_dump(bytes(10_000)))
    assert len(lines) == 257
    assert lines[-1] == "... and 5,904 bytes more"


def test_hex_dump_of_nothing_is_empty() -> None:
    assert list(hex_dump(b"")) == []


@pytest.mark.parametrize(
    ("text", "pretty"),
    [
        ('{"a":[1,"☃"]}', '{\n  "a": [\n    1,\n    "☃"\n  ]\n}'),
        ("no JSON {", "no JSON {"),
        ("[" * 10**6, "[" * 10**6),
    ],
    ids=["JSON", "text", "deep"],
)
def test_prettify_indents_json_and_leaves_all_else(text: str, pretty: str) -> None:
    assert prettify(text) == pretty


def test_json_line_has_time_type_and_data() -> None:
    event = json.loads(json_line("hello"))
    assert datetime.fromisoformat(event.pop("time")).utcoffset() is not None
    assert event == {"type": "text", "data": "hello"}


def test_json_line_has_binary_in_base64() -> None:
    event = json.loads(json_line(b"\x00\xff"))
    assert event["type"] == "binary"
    assert base64.b64decode(event["data"]) == b"\x00\xff"


def test_json_line_is_printable_ascii_in_one_line() -> None:
    text = "".join(map(chr, range(0x2100))) + "\u2028\U000e0001"
    line = json_line(text)
    assert line.endswith(b"\n")
    assert line[:-1].decode("ascii").isprintable()
    assert json.loads(line)["data"] == text


def test_pipe_gets_messages_as_they_are() -> None:
    write = make_formatter(is_terminal=False)
    assert write("\x1b[31m☃") == "\x1b[31m☃\n".encode()
    assert write(b"\x1b\x00") == b"\x1b\x00"


def test_terminal_gets_escaped_text_and_hex_dumps() -> None:
    write = make_formatter(is_terminal=True)
    assert write("\x1b[31m☃") == "\\x1b[31m☃\n".encode()
    assert write(b"\x1b") == b"00000000  1b" + b" " * 48 + b"|.|\n"


def test_terminal_gets_escaped_text_out_of_pretty_json() -> None:
    write = make_formatter(is_terminal=True, is_pretty=True)
    assert write('["\\u001b\\u202e"]') == b'[\n  "\\u001b\\u202e"\n]\n'


def test_half_a_surrogate_pair_in_json_is_escaped() -> None:
    write = make_formatter(is_terminal=False, is_pretty=True)
    assert write('["\\ud800"]') == b'[\n  "\\ud800"\n]\n'


def test_json_is_indented_if_pretty() -> None:
    lines = make_formatter(is_terminal=False, is_json=True, is_pretty=True)("x").splitlines()
    assert [lines[0], lines[2], lines[-1]] == [b"{", b'  "type": "text",', b"}"]
