"""URLs, host names, resource names."""

from __future__ import annotations

import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_websocket.protocol._url import (
    WebSocketURL,
    encode_host,
    encode_resource,
    make_host_header,
    parse_url,
)


class Stringly:
    """Anything that `str()` turns into a URL."""

    def __str__(self) -> str:
        return "ws://example.com/chat"


@pytest.mark.parametrize(
    ("url", "expected", "host_header"),
    [
        ("ws://example.com", (False, "example.com", 80, "/"), "example.com"),
        ("wss://example.com", (True, "example.com", 443, "/"), "example.com"),
        ("WsS://EXAMPLE.com:443/A", (True, "example.com", 443, "/A"), "example.com"),
        ("wss://example.com:80/", (True, "example.com", 80, "/"), "example.com:80"),
        ("ws://example.com:443/", (False, "example.com", 443, "/"), "example.com:443"),
        ("ws://example.com:/", (False, "example.com", 80, "/"), "example.com"),
        ("ws://example.com:0008080?a=b", (False, "example.com", 8080, "/?a=b"), "example.com:8080"),
        ("ws://h/a/../b?c=/?d#e?f", (False, "h", 80, "/a/../b?c=/?d"), "h"),
        ("ws://h#f", (False, "h", 80, "/"), "h"),
        ("ws://h?", (False, "h", 80, "/?"), "h"),
        ("ws://127.0.0.1:9/", (False, "127.0.0.1", 9, "/"), "127.0.0.1:9"),
        ("ws://[::1]", (False, "::1", 80, "/"), "[::1]"),
        ("ws://[2001:DB8::1]:81/x", (False, "2001:db8::1", 81, "/x"), "[2001:db8::1]:81"),
        ("ws://[fe80::1%25Eth0]/", (False, "fe80::1%Eth0", 80, "/"), "[fe80::1]"),
        ("ws://[fe80::1%eth0]:1/", (False, "fe80::1%eth0", 1, "/"), "[fe80::1]:1"),
        ("ws://[fe80::1%25]/", (False, "fe80::1%25", 80, "/"), "[fe80::1]"),
        ("ws://MÜLLER.example/", (False, "xn--mller-kva.example", 80, "/"), "xn--mller-kva.example"),
        ("ws://stra%C3%9Fe.example", (False, "xn--strae-oqa.example", 80, "/"), "xn--strae-oqa.example"),
        ("ws://日本。example", (False, "xn--wgv71a.example", 80, "/"), "xn--wgv71a.example"),
        ("ws://a_b.c-d.", (False, "a_b.c-d.", 80, "/"), "a_b.c-d."),
        ("ws://h/ä?ö=ü", (False, "h", 80, "/%C3%A4?%C3%B6=%C3%BC"), "h"),
    ],
)
def test_url_is_taken_apart(url: str, expected: tuple[bool, str, int, str], host_header: str) -> None:
    parsed = parse_url(url)
    assert (parsed.is_secure, parsed.host, parsed.port, parsed.resource) == expected
    assert parsed.host_header == host_header
    assert parsed.user_info is None


def test_anything_that_str_turns_into_a_url_will_do() -> None:
    assert parse_url(Stringly()) == WebSocketURL(False, "example.com", 80, "/chat")


@pytest.mark.parametrize(
    ("url", "user_info"),
    [
        ("ws://user:secret@h/", ("user", "secret")),
        ("ws://user@h/", ("user", "")),
        ("ws://:secret@h/", ("", "secret")),
        ("ws://@h/", None),
        ("ws://a%40b:p%3Aq%20:r%C3%BC@h/", ("a@b", "p:q :rü")),
        ("ws://a@b:c@h/", ("a@b", "c")),
        ("ws://u:%ff@h/", ("u", "\udcff")),
        ("ws://h/a@b", None),
    ],
)
def test_user_info_is_percent_decoded(url: str, user_info: tuple[str, str] | None) -> None:
    parsed = parse_url(url)
    assert (parsed.host, parsed.user_info) == ("h", user_info)


def test_a_password_is_not_in_the_repr() -> None:
    assert "secret" not in repr(parse_url("ws://user:secret@h/"))


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_url_shows_itself_without_user_info(scheme: str) -> None:
    assert str(parse_url(f"{scheme}://user:secret@h:8000/a?b#c")) == f"{scheme}://h:8000/a?b"


# ------------------------------------------------------------------------------------------------------- Unix sockets


@pytest.mark.parametrize(
    ("url", "path", "resource"),
    [
        ("ws+unix:///run/app.sock", "/run/app.sock", "/"),
        ("ws+unix:///run/app.sock:", "/run/app.sock", "/"),
        ("ws+unix:///run/app.sock:/chat?a=b", "/run/app.sock", "/chat?a=b"),
        ("WS+UNIX:/run/app.sock:/chat#part", "/run/app.sock", "/chat"),
        ("ws+unix:/run/app.sock:chat", "/run/app.sock", "/chat"),
        ("ws+unix:/run/app.sock?a:b", "/run/app.sock", "/?a:b"),
        ("ws+unix:/run/app.sock:/a:b", "/run/app.sock", "/a:b"),
        ("ws+unix:/a%20b%3Ac%3F%23%25:/%20", "/a b:c?#%", "/%20"),
        ("ws+unix:/ü%C3%BC%ff", "/üü\udcff", "/"),
        ("ws+unix:////run/app.sock", "//run/app.sock", "/"),
    ],
)
def test_url_of_a_unix_socket_has_a_path_and_a_resource(url: str, path: str, resource: str) -> None:
    parsed = parse_url(url)
    assert parsed == WebSocketURL(False, "localhost", 80, resource, unix_path=path)
    assert parsed.host_header == "localhost"
    # What it shows leads there again.
    assert parse_url(parsed) == parsed


def test_url_of_a_unix_socket_shows_itself_encoded() -> None:
    assert str(parse_url("ws+unix:/a%20b%3Ac%ff:/x?y")) == "ws+unix:///a%20b%3Ac%FF:/x?y"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("ws+unix:", "no absolute path, as ws\\+unix:///run/app.sock has: ''"),
        ("ws+unix:app.sock", "no absolute path, .*: 'app.sock'"),
        ("ws+unix://host/app.sock", "no absolute path, .*: 'host/app.sock'"),
        ("ws+unix://:/resource", "no absolute path"),
        ("ws+unix:%2Frun", "no absolute path"),
        ("ws+unix:/a%00b", r"null byte: '/a\\x00b'"),
        ("ws+unix:/a b", "white space"),
        ("ws+unix:/\ud800", "lone surrogate at position 1"),
        ("ws+unix:/a:/\ud800", "lone surrogate at position 1"),
        ("wss+unix:/run/app.sock", "no TLS over Unix sockets"),
    ],
)
def test_bad_url_of_a_unix_socket_is_a_value_error_that_says_why(url: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        parse_url(url)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("", "its scheme is ''"),
        ("http://h/", "its scheme is 'http'"),
        ("//h/", "must begin with ws:// or wss://"),
        ("h:80/", "its scheme is 'h'"),
        ("ws:h", "no host"),
        ("ws:/h", "no host"),
        ("ws://", "no host"),
        ("ws:///a", "no host"),
        ("ws://:80/", "no host"),
        ("ws://user@/", "no host"),
        ("ws://::1/", "no host"),
        ("ws://h:x/", "bad port: it is not a number"),
        ("ws://h:80:81/", "bad port"),
        ("ws://h:-1/", "bad port"),
        ("ws://h:٣/", "bad port"),
        ("ws://h:0/", "bad port: '0'"),
        ("ws://h:65536/", "bad port: '65536'"),
        ("ws://h:" + "9" * 5000, "bad port"),
        ("ws://user:secret/x@h/", "bad port"),
        ("ws://[::1/", "malformed IPv6 address"),
        ("ws://[::1]80/", "malformed IPv6 address"),
        ("ws://[]/", "'' is not an IPv6 address"),
        ("ws://[v1.a]/", "is not an IPv6 address"),
        ("ws://[1.2.3.4]/", "is not an IPv6 address"),
        ("ws://[::1%25/]/", "malformed IPv6 address"),
        ("ws://[fe80::1%]/", "'' is not an IPv6 zone"),
        ("ws://[fe80::1%25a%20b]/", "'a b' is not an IPv6 zone"),
        ("ws://h\\@evil/", "backslash"),
        ("ws://" + "a" * 256 + "/", "has 256 characters, which exceeds 255"),
        ("ws://a%00b/", "is not a host name"),
        ("ws://a%2Fb/", "is not a host name"),
        ("ws://a|b/", "is not a host name"),
        ("ws://%ff/", "cannot be IDNA-encoded"),
        ("ws://ab\u3000c/", "cannot be IDNA-encoded|is not a host name"),
        ("ws://u%3Av:secret@h/", "colon"),
        ("ws://u%0D%0A:secret@h/", "control character"),
        ("ws://h/\ud800", "lone surrogate at position 1"),
    ],
)
def test_a_bad_url_is_a_value_error_that_says_why(url: str, error: str) -> None:
    with pytest.raises(ValueError, match=error) as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("character", [" ", "\r", "\n", "\t", "\0", "\x1f", "\x7f"])
@pytest.mark.parametrize(
    "place", ["{}ws://h/", "w{}s://h/", "ws://h{}/", "ws://h/a{}b", "ws://h/{}", "ws://h/#{}"]
)
def test_control_characters_and_white_space_are_refused(character: str, place: str) -> None:
    with pytest.raises(
        ValueError, match=f"at position {place.index('{')}: control characters and white space"
    ):
        parse_url(place.format(character))


@given(
    text=st.text(max_size=40),
    prefix=st.sampled_from(["", "ws://", "ws://h", "wss://h:1/", "ws://[", "ws://u:p@"]),
)
def test_any_text_is_a_url_or_a_value_error(text: str, prefix: str) -> None:
    try:
        parsed = parse_url(prefix + text)
    except ValueError:
        return
    assert parsed.host
    for part in (parsed.host_header, parsed.resource):
        assert part.isascii()
        assert part.isprintable()
        assert " " not in part


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("LOCALHOST", "localhost"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("FE80::1%Eth0", "fe80::1%Eth0"),
        ("[fe80::1%2]", "fe80::1%2"),
        ("ÜÖ.example", "xn--ndal.example"),
    ],
)
def test_a_host_is_given_its_ascii_form(host: str, expected: str) -> None:
    assert encode_host(host) == expected


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a\r\nb", "[", "[::1", "h:80", "a@b", "ü" * 70])
def test_what_is_no_host_is_a_value_error(host: str) -> None:
    with pytest.raises(ValueError, match=r"host|IPv6"):
        encode_host(host)


@pytest.mark.parametrize(
    ("host", "port", "is_secure", "expected"),
    [
        ("h", 80, False, "h"),
        ("h", 443, True, "h"),
        ("h", 443, False, "h:443"),
        ("h", 80, True, "h:80"),
        ("::1", 80, False, "[::1]"),
        ("[::1]", 8000, False, "[::1]:8000"),
        ("fe80::1%eth0", 8000, False, "[fe80::1]:8000"),
        ("ü.example", 80, True, "xn--tda.example:80"),
    ],
)
def test_host_header_leaves_out_only_the_default_port(
    host: str, port: int, is_secure: bool, expected: str
) -> None:
    assert make_host_header(host, port, is_secure) == expected


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("", "/"),
        ("/", "/"),
        ("a", "/a"),
        ("?q", "/?q"),
        ("#f", "/"),
        ("/a#b", "/a"),
        ("/a b", "/a%20b"),
        ("/é€😀", "/%C3%A9%E2%82%AC%F0%9F%98%80"),
        ("/%C3%A9%2f", "/%C3%A9%2f"),
        ("/%", "/%25"),
        ("/%zz%4", "/%25zz%254"),
        ("/\udcff", "/%FF"),
        ('/"<>\\^`{}', "/%22%3C%3E%5C%5E%60%7B%7D"),
        ("/-._~:@!$&'()*+,;=[]|?a[]=b", "/-._~:@!$&'()*+,;=[]|?a[]=b"),
        ("/\x80\u2028", "/%C2%80%E2%80%A8"),
    ],
)
def test_a_resource_is_made_ready_for_a_request_line(resource: str, expected: str) -> None:
    assert encode_resource(resource) == expected


@pytest.mark.parametrize("resource", ["/a\r\nHost: b", "/\0", "/a\tb", "/\x7f", "/#\n"])
def test_a_resource_with_a_control_character_is_refused(resource: str) -> None:
    with pytest.raises(ValueError, match=r"control character .* at position"):
        encode_resource(resource)


@given(resource=st.text(st.characters(exclude_categories=["Cc", "Cs"])))
def test_an_encoded_resource_says_the_same_and_stays_as_it_is(resource: str) -> None:
    encoded = encode_resource(resource)
    assert encode_resource(encoded) == encoded
    expected = urllib.parse.unquote(resource.partition("#")[0])
    assert urllib.parse.unquote(encoded) == (expected if resource.startswith("/") else "/" + expected)
