"""A proxy's URL, and the proxies of an environment."""

from __future__ import annotations

import os
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_websocket.protocol._proxies import ProxyURL, find_proxy, parse_proxy
from trio_websocket.protocol._url import parse_url

WS, WSS = parse_url("ws://example.org/"), parse_url("wss://example.org/")


def found(environ: dict[str, str], url: str = "ws://example.org/") -> str | None:
    proxy = find_proxy(parse_url(url), environ)
    return None if proxy is None else str(proxy)


# ------------------------------------------------------------------------------------------------------ a proxy's URL


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://proxy.test:3128", ("http", "proxy.test", 3128, None)),
        ("HTTP://Proxy.Test/", ("http", "proxy.test", 80, None)),
        ("https://proxy.test", ("https", "proxy.test", 443, None)),
        ("socks4://u@127.0.0.1", ("socks4", "127.0.0.1", 1080, ("u", ""))),
        ("socks4a://proxy.test", ("socks4a", "proxy.test", 1080, None)),
        ("socks5://u:p@[::1]:1", ("socks5", "::1", 1, ("u", "p"))),
        ("socks5h://M%C3%BCller.test", ("socks5h", "xn--mller-kva.test", 1080, None)),
        ("http://a%40b:c%3Ad%C3%A9@proxy.test", ("http", "proxy.test", 80, ("a@b", "c:dé"))),
    ],
)
def test_proxy_url_is_taken_apart(url: str, expected: tuple[str, str, int, tuple[str, str] | None]) -> None:
    proxy = parse_proxy(url)
    assert (proxy.scheme, proxy.host, proxy.port, proxy.user_info) == expected


def test_user_and_password_are_in_no_text_of_it() -> None:
    proxy = parse_proxy("http://somebody:secret@[::1]:3128/")
    assert str(proxy) == "http://[::1]:3128"
    assert repr(proxy) == "ProxyURL(scheme='http', host='::1', port=3128)"
    assert str(parse_proxy("socks5://h")) == "socks5://h:1080"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("proxy.test:3128", "must begin with one of http://, https://, socks4://"),
        ("secret@proxy.test", "must begin with one of"),
        ("secret:x@proxy.test:1", "must begin with one of"),
        ("", "must begin with one of"),
        ("ftp://secret@proxy.test", "must begin with one of .*, not ftp://"),
        ("http://", "the URL has no host"),
        ("http://u:secret@proxy.test:secret", "bad port: it is not"),
        ("http://u:secret@proxy.test:0", "bad port: '0' is not"),
        ("http://u:secret@pro xy.test", "position 19"),
        ("http://u:secret@proxy.test/path", "no path, query or fragment"),
        ("http://u:secret@proxy.test?query", "no path, query or fragment"),
        ("http://u:secret@proxy.test#fragment", "no path, query or fragment"),
        ("http://u%3A:secret@proxy.test", "must not have a colon"),
        ("http://u:secret%0A@proxy.test", "control character"),
        ("socks5://u:secret%C3%A9@proxy.test", "must be ASCII"),
        ("socks4://u%C3%A9:secret@proxy.test", "must be ASCII"),
        ("http://:secret@proxy.test", "the password of a proxy needs a user name"),
        ("socks5h://secret@proxy.test", "must have 1 to 255 characters each"),
        (f"socks5://u:{'secret' * 50}@proxy.test", "must have 1 to 255 characters each"),
        ("socks5://:secret@proxy.test", "must have 1 to 255 characters each"),
        (f"socks5://{'secret' * 50}:p@proxy.test", "must have 1 to 255 characters each"),
    ],
)
def test_what_is_no_proxy_url_says_why_and_keeps_its_secrets(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_proxy(url)
    assert "secret" not in str(caught.value)


# --------------------------------------------------------------------------------------------------- the environment


@pytest.mark.parametrize(
    ("environ", "for_ws", "for_wss"),
    [
        ({}, None, None),
        ({"ws_proxy": "http://a:1"}, "http://a:1", None),
        ({"wss_proxy": "http://a:1"}, None, "http://a:1"),
        ({"http_proxy": "http://a:1"}, "http://a:1", None),
        ({"https_proxy": "http://a:1"}, None, "http://a:1"),
        ({"all_proxy": "socks5://a:1"}, "socks5://a:1", "socks5://a:1"),
        (
            {"ws_proxy": "http://a:1", "http_proxy": "http://b:1", "all_proxy": "http://c:1"},
            "http://a:1",
            "http://c:1",
        ),
        ({"wss_proxy": "http://a:1", "https_proxy": "http://b:1"}, None, "http://a:1"),
        ({"http_proxy": "http://b:1", "all_proxy": "http://c:1"}, "http://b:1", "http://c:1"),
        ({"WS_PROXY": "http://a:1", "ALL_PROXY": "http://c:1"}, "http://a:1", "http://c:1"),
        ({"ws_proxy": "http://a:1", "WS_PROXY": "http://b:1"}, "http://a:1", None),
        # An empty value is none, and turns off what is in capitals.
        ({"ws_proxy": " ", "WS_PROXY": "http://b:1", "all_proxy": "http://c:1"}, "http://c:1", "http://c:1"),
        # Many have it without a scheme.
        (
            {"all_proxy": " user:password@proxy.test:3128 "},
            "http://proxy.test:3128",
            "http://proxy.test:3128",
        ),
    ],
)
def test_first_variable_that_is_set_counts(
    environ: dict[str, str], for_ws: str | None, for_wss: str | None
) -> None:
    assert found(environ) == for_ws
    assert found(environ, "wss://example.org/") == for_wss


def test_http_proxy_in_capitals_is_not_taken_from_a_cgi_request() -> None:
    cgi = {"REQUEST_METHOD": "GET", "HTTP_PROXY": "http://attacker:1"}
    assert found(cgi) is None
    assert found({**cgi, "http_proxy": "http://a:1"}) == "http://a:1"
    assert found({"HTTP_PROXY": "http://a:1"}) == "http://a:1"
    assert found({**cgi, "HTTPS_PROXY": "http://a:1"}, "wss://h/") == "http://a:1"


def test_variable_that_is_no_url_is_named_without_its_secrets() -> None:
    with pytest.raises(ValueError, match=r"^https_proxy in the environment: .*begin with") as caught:
        found({"https_proxy": "gopher://u:secret@h"}, "wss://h/")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_excepted"),
    [
        ("", "ws://example.org/", False),
        ("*", "ws://example.org/", True),
        ("other.test, *", "ws://[::1]/", True),
        ("example.org", "ws://example.org/", True),
        ("EXAMPLE.org.", "ws://Example.ORG./", True),
        ("example.org", "ws://www.example.org/", True),
        (".example.org", "ws://www.example.org/", True),
        (".example.org", "ws://example.org/", True),
        ("*.example.org", "ws://www.example.org/", True),
        ("example.org", "ws://notexample.org/", False),
        ("www.example.org", "ws://example.org/", False),
        ("org", "ws://example.org/", True),
        ("a.test,example.org", "ws://example.org/", True),
        ("a.test example.org", "ws://example.org/", True),
        (" , ,. ,:80", "ws://example.org/", False),
        ("example.org:80", "ws://example.org/", True),
        ("example.org:80", "wss://example.org/", False),
        ("example.org:8080", "ws://www.example.org:8080/", True),
        ("müller.test", "ws://xn--mller-kva.test/", True),
        ("127.0.0.1", "ws://127.0.0.1/", True),
        ("127.0.0.1:80", "ws://127.0.0.1:81/", False),
        ("127.0.0.0/8", "ws://127.1.2.3/", True),
        ("127.0.0.5/8", "ws://127.1.2.3/", True),
        ("10.0.0.0/8", "ws://127.1.2.3/", False),
        ("10.0.0.0/8", "ws://[::1]/", False),
        ("10.0.0.0/8", "ws://example.org/", False),
        ("0.0.1", "ws://127.0.0.1/", False),
        ("localhost", "ws://127.0.0.1/", False),
        ("::1", "ws://[::1]:81/", True),
        ("[::1]", "ws://[::1]:81/", True),
        ("[0:0::1]:81", "ws://[::1]:81/", True),
        ("[::1]:81", "ws://[::1]:82/", False),
        ("fe80::/10", "ws://[fe80::1%25eth0]/", True),
        ("[fe80::/10]", "ws://[fe80::1]/", True),
    ],
)
def test_no_proxy_excepts_hosts_domains_addresses_and_networks(
    no_proxy: str, url: str, is_excepted: bool
) -> None:
    environ = {"all_proxy": "http://proxy.test:1", "no_proxy": no_proxy}
    assert found(environ, url) == (None if is_excepted else "http://proxy.test:1")


_NAMES = ["ws_proxy", "wss_proxy", "http_proxy", "https_proxy", "all_proxy", "no_proxy"]


@given(
    st.dictionaries(
        st.sampled_from([*_NAMES, *(name.upper() for name in _NAMES), "REQUEST_METHOD"]),
        st.sampled_from(["", "a.test", "http://b.test:2", "example.org", "*", ".org, x", "example.org:80"]),
    )
)
def test_urllib_finds_the_same_where_it_knows_the_rules(environ: dict[str, str]) -> None:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environ)
    try:
        proxies = urllib.request.getproxies_environment()
        if urllib.request.proxy_bypass_environment("example.org:80"):  # type: ignore[attr-defined]
            value = ""
        else:
            value = proxies.get("ws") or proxies.get("http") or proxies.get("all") or ""
    finally:
        os.environ.clear()
        os.environ.update(before)
    expected: ProxyURL | None
    try:
        expected = parse_proxy(value if "://" in value else "http://" + value) if value else None
    except ValueError:
        with pytest.raises(ValueError, match="in the environment"):
            find_proxy(WS, environ)
    else:
        assert find_proxy(WS, environ) == expected
