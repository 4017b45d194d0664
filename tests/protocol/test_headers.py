"""Header fields: the peer's lists, the caller's fields, Basic authentication."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_websocket._exceptions import RemoteProtocolError
from trio_websocket.protocol._headers import (
    basic_auth,
    build_headers,
    check_subprotocols,
    parse_extensions,
    parse_tokens,
    shown,
    split_list,
    values_by_name,
)

RESERVED = frozenset({b"host"})
TOKENS = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"abc", "'abc'"),
        (bytearray(b"a\xff\r\n"), r"'a\xff\r\n'"),
        ("ü", r"'\xfc'"),
        (b"x" * 61, repr("x" * 60) + "..."),
        ("x" * 60, repr("x" * 60)),
    ],
)
def test_shown_escapes_and_bounds(value: bytes | bytearray | str, expected: str) -> None:
    assert shown(value) == expected


def test_several_fields_of_a_name_are_one_list() -> None:
    headers = ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"a", b"0"))
    assert values_by_name(headers) == {b"a": b"1, 3, 0", b"b": b"2"}
    assert values_by_name(headers[:2]) == {b"a": b"1", b"b": b"2"}
    assert values_by_name(()) == {}


def test_split_list_ignores_empty_elements_and_white_space() -> None:
    assert split_list(b" a,, \tb\t,,c\xff") == [b"a", b"b", b"c\xff"]
    assert split_list(b"") == []


def test_parse_tokens_gives_text() -> None:
    assert parse_tokens(b"a, b,,c", "X") == ["a", "b", "c"]


@pytest.mark.parametrize("value", [b"a b", b"a/b", b"caf\xc3\xa9", b"\xff", b'"a"', b"a\n"])
def test_parse_tokens_refuses_what_is_no_token(value: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"the X-Y header has '.*', which is not a token") as caught:
        parse_tokens(b"ok, " + value, "X-Y")
    assert caught.value.status_code == 400


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", []),
        (b" , ,", []),
        (b"foo", [("foo", [])]),
        (b"foo, bar, foo", [("foo", []), ("bar", []), ("foo", [])]),
        (
            b' ,foo ; a ; b=1;c = "2" ,, bar;d,',
            [("foo", [("a", None), ("b", "1"), ("c", "2")]), ("bar", [("d", None)])],
        ),
        (b'foo; a="b\\c"', [("foo", [("a", "bc")])]),
        (
            b"permessage-deflate; client_max_window_bits; server_max_window_bits=10",
            [("permessage-deflate", [("client_max_window_bits", None), ("server_max_window_bits", "10")])],
        ),
    ],
)
def test_extensions_are_parsed(value: bytes, expected: list[Any]) -> None:
    assert parse_extensions(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        b"foo bar",
        b"foo;",
        b"foo;;a",
        b"foo; a=",
        b'foo; a="',
        b'foo; a="b',
        b'foo; a=""',
        b'foo; a="b c"',
        b'foo; a="b\\"c"',
        b'foo; a="b\\',
        b"foo; a=b c",
        b"foo\xff",
        b"\xff",
        b"foo; a=\xff",
        b'foo; a="\xff"',
        b"foo, ;a",
        b"=",
    ],
)
def test_malformed_extensions_are_refused(value: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="Sec-WebSocket-Extensions header is malformed") as caught:
        parse_extensions(value)
    assert caught.value.status_code == 400


@given(
    value=st.one_of(
        st.binary(max_size=60),
        st.text('ab;,="\\ \t\xff', max_size=60).map(lambda text: text.encode("latin-1")),
    )
)
def test_any_bytes_are_extensions_or_a_protocol_error(value: bytes) -> None:
    try:
        extensions = parse_extensions(value)
    except RemoteProtocolError:
        return
    assert all(name.isascii() and name for name, _ in extensions)


@given(
    extensions=st.lists(
        st.tuples(TOKENS, st.lists(st.tuples(TOKENS, st.none() | TOKENS), max_size=3)), max_size=3
    ),
    is_quoted=st.booleans(),
)
def test_extensions_that_were_written_are_read_again(
    extensions: list[tuple[str, list[tuple[str, str | None]]]], is_quoted: bool
) -> None:
    quote = '"' if is_quoted else ""
    text = ", ".join(
        "; ".join(
            [name] + [key if value is None else f"{key}={quote}{value}{quote}" for key, value in parameters]
        )
        for name, parameters in extensions
    )
    assert parse_extensions(text.encode("ascii")) == extensions


def test_a_long_hostile_extension_list_takes_linear_time() -> None:
    for value in (b"a;" * 100_000 + b"\xff", b'a;b="' + b"\\a" * 100_000, b"a" + b" " * 100_000 + b"\xff"):
        with pytest.raises(RemoteProtocolError):
            parse_extensions(value)


def test_headers_are_given_as_bytes_or_ascii_text() -> None:
    built = build_headers([(b"X-A", b"\xff a\t"), ("X-B", "b"), (b"x-c", b"")], RESERVED)
    assert built == [(b"X-A", b"\xff a"), (b"X-B", b"b"), (b"x-c", b"")]


@pytest.mark.parametrize("value", [b"a\r\nB: c", b"a\n", b"\x00", b"a\x7f", "a\rb"])
def test_a_header_value_cannot_end_its_line(value: bytes | str) -> None:
    with pytest.raises(ValueError, match="the value of the header 'X-A' has a control character"):
        build_headers([(b"X-A", value)], RESERVED)


@pytest.mark.parametrize("name", [b"", b"X A", b"X:", b"X\r\n", b"X\xff", "X\n"])
def test_a_header_name_must_be_a_token(name: bytes | str) -> None:
    with pytest.raises(ValueError, match="is not a header name"):
        build_headers([(name, b"a")], RESERVED)


@pytest.mark.parametrize("name", [b"host", b"Host", "HOST"])
def test_a_header_of_the_handshake_itself_is_refused(name: bytes | str) -> None:
    with pytest.raises(ValueError, match="is set by the handshake itself"):
        build_headers([(name, b"a")], RESERVED)


def test_text_in_a_header_must_be_ascii() -> None:
    with pytest.raises(ValueError, match="must be ASCII"):
        build_headers([("X-A", "ü")], RESERVED)


@pytest.mark.parametrize("field", [(b"a",), (b"a", b"b", b"c"), b"ab", "ab", None, (b"a", None), (1, b"b")])
def test_a_header_must_be_a_pair_of_bytes(field: Any) -> None:
    with pytest.raises(TypeError, match="header must be"):
        build_headers([field], RESERVED)


def test_subprotocols_may_come_from_any_iterable() -> None:
    assert check_subprotocols(iter(["chat", "super.chat"])) == ("chat", "super.chat")
    assert check_subprotocols(()) == ()


@pytest.mark.parametrize(
    ("name", "error"),
    [("", "not a token"), ("a b", "not a token"), ("ü", "not a token"), ("a,b", "not a token")],
)
def test_a_subprotocol_must_be_a_token(name: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        check_subprotocols(["ok", name])


def test_a_subprotocol_is_offered_once() -> None:
    with pytest.raises(ValueError, match="'chat' is offered twice"):
        check_subprotocols(["chat", "x", "chat"])


@pytest.mark.parametrize("subprotocols", ["chat", b"chat", [b"chat"], [1]])
def test_subprotocols_must_be_an_iterable_of_str(subprotocols: Any) -> None:
    with pytest.raises(TypeError, match="str"):
        check_subprotocols(subprotocols)


def test_basic_auth_is_that_of_the_rfc() -> None:
    # RFC 7617 §2 and §2.1.
    assert basic_auth("Aladdin", "open sesame") == b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert basic_auth("test", "123£") == b"Basic dGVzdDoxMjPCow=="


def test_basic_auth_keeps_bytes_that_are_no_utf8() -> None:
    assert base64.b64decode(basic_auth("u", "\udcff:").removeprefix(b"Basic ")) == b"u:\xff:"


@pytest.mark.parametrize(
    ("user", "password", "error"),
    [("a:b", "c", "colon"), ("a\n", "c", "control"), ("a", "c\t", "control"), ("a", "\ud800", "Unicode")],
)
def test_basic_auth_refuses_what_it_cannot_say(user: str, password: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        basic_auth(user, password)
