"""What a jar of `http.cookiejar` gets to see, and what it gives."""

from __future__ import annotations

import urllib.request
from email.message import Message
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import SimpleNamespace
from typing import Any, cast

import pytest

from trio_websocket._dial import cookie_value, keep_cookies
from trio_websocket.protocol import Headers
from trio_websocket.protocol._url import parse_url


def keep(jar: CookieJar, url: str, *cookies: bytes) -> None:
    headers: Headers = ((b"upgrade", b"websocket"), *((b"set-cookie", each) for each in cookies))
    keep_cookies(jar, parse_url(url), headers)


def sent(jar: CookieJar, url: str) -> bytes | None:
    return cookie_value(jar, parse_url(url))


def test_what_was_set_is_sent_to_the_same_server() -> None:
    jar = CookieJar()
    keep(jar, "ws://a.test/", b"one=1", b"two=2; Path=/x; HttpOnly")
    assert {cookie.name for cookie in jar} == {"one", "two"}
    assert sent(jar, "ws://a.test/") == b"one=1"
    assert sent(jar, "ws://a.test:81/y") == b"one=1"
    assert sent(jar, "wss://a.test/x/y") == b"two=2; one=1"
    assert sent(jar, "ws://b.test/") is None


def test_response_without_cookies_sets_none() -> None:
    jar = CookieJar()
    keep(jar, "ws://a.test/")
    assert list(jar) == []
    assert sent(jar, "ws://a.test/") is None


def test_secure_cookie_goes_over_wss_only() -> None:
    jar = CookieJar()
    keep(jar, "wss://a.test/", b"one=1; Secure")
    assert sent(jar, "ws://a.test/") is None
    assert sent(jar, "wss://a.test/") == b"one=1"


def test_cookie_of_a_domain_goes_to_its_hosts_and_no_server_sets_it_for_another() -> None:
    jar = CookieJar()
    keep(jar, "ws://www.a.test/", b"one=1; Domain=a.test", b"two=2; Domain=b.test")
    assert sent(jar, "ws://chat.a.test/") == b"one=1"
    assert sent(jar, "ws://b.test/") is None


def test_policy_of_the_jar_decides_what_it_takes() -> None:
    jar = CookieJar(DefaultCookiePolicy(strict_ns_set_path=True, blocked_domains=["bad.test"]))
    keep(jar, "ws://a.test/x", b"one=1; Path=/y")
    keep(jar, "ws://bad.test/", b"two=2")
    assert list(jar) == []


def test_header_of_an_old_standard_is_left_out() -> None:
    jar = CookieJar(DefaultCookiePolicy(rfc2965=True))
    keep(jar, "ws://a.test/", b"one=1")
    # The jar would have Cookie2 sent as well.
    assert sent(jar, "ws://a.test/") == b"one=1"


def test_cookie_may_expire() -> None:
    jar = CookieJar()
    keep(jar, "ws://a.test/", b"one=1; Max-Age=100")
    assert sent(jar, "ws://a.test/") == b"one=1"
    keep(jar, "ws://a.test/", b"one=1; Max-Age=0")
    assert sent(jar, "ws://a.test/") is None


def test_bytes_of_a_value_stay_as_they_are() -> None:
    jar = CookieJar()
    keep(jar, "ws://a.test/", b"one=\xc3\xa9\xff")
    assert sent(jar, "ws://a.test/") == b"one=\xc3\xa9\xff"


def test_cookie_that_no_header_can_carry_is_a_caller_s_mistake() -> None:
    jar = CookieJar()
    keep(jar, "ws://a.test/", b"one=1")
    for cookie in jar:
        cookie.value = "日本"
    with pytest.raises(ValueError, match="latin-1"):
        sent(jar, "ws://a.test/")


@pytest.mark.parametrize(
    "junk", [b"", b";", b"=", b"=1", b";;=;", b"a" * 9000, b"a=" + b'"' * 99, b"a=1; Max-Age=x"]
)
def test_whatever_a_server_sets_does_no_harm(junk: bytes) -> None:
    jar = CookieJar()
    keep(jar, "ws://a.test/", junk, b"one=1")
    value = sent(jar, "ws://a.test/")
    assert value is not None
    assert b"one=1" in value


@pytest.mark.parametrize("host", ["a.test", "A.test:8080", "localhost", "127.0.0.1:80", "[::1]", "[::1]:81"])
@pytest.mark.parametrize(
    "cookie", ["one=1", "one=1; Secure; Path=/p", "one=1; Domain=.a.test", 'one="1"; Version=1']
)
@pytest.mark.parametrize("is_secure", [False, True])
def test_jar_does_as_with_urllib(host: str, cookie: str, is_secure: bool) -> None:
    ours, theirs = CookieJar(), CookieJar()
    url = f"{'wss' if is_secure else 'ws'}://{host}/p/q?r"
    request = urllib.request.Request(url.replace("ws", "http", 1))
    message = Message()
    message["Set-Cookie"] = cookie
    theirs.extract_cookies(cast("Any", SimpleNamespace(info=lambda: message)), request)
    theirs.add_cookie_header(request)
    keep(ours, url, cookie.encode())
    value = sent(ours, url)
    assert (None if value is None else value.decode()) == request.get_header("Cookie")
    assert [vars(each) for each in ours] == [vars(each) for each in theirs]
