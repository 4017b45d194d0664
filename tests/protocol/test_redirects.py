"""Where redirects lead, and what goes along."""

from __future__ import annotations

from urllib.parse import urljoin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_websocket.protocol._redirects import is_same_origin, redirect_of, without_credentials
from trio_websocket.protocol._url import WebSocketURL, parse_url


def follow(url: str, location: str | bytes, status_code: int = 302) -> WebSocketURL | None:
    value = location if isinstance(location, bytes) else location.encode()
    return redirect_of(parse_url(url), status_code, ((b"x", b"y"), (b"location", value)))


@pytest.mark.parametrize("status_code", [301, 302, 303, 307, 308])
def test_redirect_leads_to_its_location(status_code: int) -> None:
    assert follow("ws://a.test/", "wss://b.test/x", status_code) == WebSocketURL(True, "b.test", 443, "/x")


@pytest.mark.parametrize("status_code", [101, 200, 300, 304, 305, 306, 401, 503])
def test_other_statuses_are_no_redirects(status_code: int) -> None:
    assert follow("ws://a.test/", "ws://b.test/", status_code) is None


def test_redirect_without_a_location_is_none() -> None:
    assert redirect_of(parse_url("ws://a.test/"), 302, ()) is None


def test_the_same_location_twice_will_do_but_not_two() -> None:
    url = parse_url("ws://a.test/")
    one, other = (b"location", b"/x"), (b"location", b"/y")
    target = redirect_of(url, 302, (one, one))
    assert target is not None
    assert target.resource == "/x"
    with pytest.raises(ValueError, match="it has 2 Location headers"):
        redirect_of(url, 302, (one, other))


@pytest.mark.parametrize(
    ("url", "location", "expected"),
    [
        ("ws://a.test/", "http://b.test/x", "ws://b.test/x"),
        ("ws://a.test/", "https://b.test/x", "wss://b.test/x"),
        ("ws://a.test/", "HTTPS://b.test:8443", "wss://b.test:8443/"),
        ("wss://a.test/", "https://b.test/x", "wss://b.test/x"),
        ("ws://a.test/", "//b.test/x", "ws://b.test/x"),
        ("wss://a.test/", "//b.test:1/x", "wss://b.test:1/x"),
        ("ws://a.test:81/p/q?r", "/x", "ws://a.test:81/x"),
        ("ws://a.test/p/q?r", "x?s#fragment", "ws://a.test/p/x?s"),
        ("ws://a.test/p/q?r", "?s", "ws://a.test/p/q?s"),
        ("ws://a.test/p/q?r", "?", "ws://a.test/p/q?"),
        ("ws://a.test/p/q?r", "", "ws://a.test/p/q?r"),
        ("ws://a.test/p/q?r", "#f", "ws://a.test/p/q?r"),
        ("ws://a.test/p/q/r", "../x", "ws://a.test/p/x"),
        ("ws://a.test/p/q/r", "..", "ws://a.test/p/"),
        ("ws://a.test/p/q/r", "./", "ws://a.test/p/q/"),
        ("ws://a.test/p/q/r", ".", "ws://a.test/p/q/"),
        ("ws://a.test/p", "../../x/./y", "ws://a.test/x/y"),
        ("ws://a.test/p", "/../x", "ws://a.test/x"),
        ("ws://a.test/p/q", "x?a:b=/../c", "ws://a.test/p/x?a:b=/../c"),
        ("ws://a.test/p", "/ü", "ws://a.test/%C3%BC"),
        # What looks like a host to some is a path.
        ("ws://a.test/p", "/\\b.test/x", "ws://a.test/%5Cb.test/x"),
        ("ws://a.test/p", "..//b.test", "ws://a.test//b.test"),
        ("ws://a.test//p/q", "x", "ws://a.test//p/x"),
        ("ws://[fe80::1%25eth0]/p", "x", "ws://[fe80::1]/x"),
        ("ws+unix:///run/x.sock:/p", "x", "ws+unix:///run/x.sock:/x"),
        ("ws+unix:///run/x.sock:/p", "//b.test/", "ws://b.test/"),
    ],
)
def test_location_may_lack_what_the_url_has(url: str, location: str, expected: str) -> None:
    assert str(follow(url, location)) == expected


# Without empty ones, which urllib drops.
_PATHS = st.lists(st.sampled_from(["a", "b", ".", "..", "c.d"]), min_size=1).map("/".join)


@given(_PATHS, st.sampled_from(["", "/"]), _PATHS, st.sampled_from(["", "/"]))
def test_paths_are_resolved_as_urllib_does_it(base: str, start: str, path: str, end: str) -> None:
    target = follow(f"ws://a.test/{base}", start + path + end)
    assert target is not None
    assert f"http://a.test{target.resource}" == urljoin(f"http://a.test/{base}", start + path + end)


@pytest.mark.parametrize(
    ("url", "location", "reason"),
    [
        (
            "wss://a.test/",
            "ws://a.test/",
            "it leads to 'ws://a.test/': a connection that began with wss: never",
        ),
        ("wss://a.test/", "http://b.test/", "never goes on with ws:"),
        ("ws://a.test/", "ftp://b.test/", "the scheme 'ftp' is not that of a WebSocket"),
        ("ws://a.test/", "ws+unix:///run/x.sock:/", r"the scheme 'ws\+unix' is not"),
        ("ws://a.test/", "file:///etc/passwd", "the scheme 'file' is not"),
        ("ws://a.test/", "javascript:alert(1)", "the scheme 'javascript' is not"),
        ("ws://a.test/", "ws:b.test", "the URL has no host"),
        ("ws://a.test/", "ws:///x", "the URL has no host"),
        ("ws://a.test/", "//", "the URL has no host"),
        ("ws://a.test/", "ws://b.test:99999/", "bad port"),
        ("ws://a.test/", "ws://b.test\\@c.test/", "a backslash before its path"),
        ("ws://a.test/", "/a b", "the URL has ' ' at position 2"),
        ("ws://a.test/", "/a\tb", "the URL has"),
        ("ws://a.test/", b"/\xff", r"it leads to '/\\xff': it is not UTF-8"),
        ("ws://a.test/", "ws://[::1/" + "x" * 16000, "malformed IPv6"),
    ],
)
def test_what_must_not_be_followed_says_why(url: str, location: str | bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        follow(url, location)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("location", ["ftp://u:secret@b.test/", "//u:secret@b.test:x/"])
def test_error_has_no_user_info_of_the_location(location: str) -> None:
    with pytest.raises(ValueError, match="it leads to") as caught:
        follow("ws://a.test/", location)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/x", ("u", "p")),
        ("ws://a.test/x", ("u", "p")),
        ("http://A.test:80/x", ("u", "p")),
        ("ws://other:one@a.test/x", ("u", "p")),
        ("wss://a.test/x", None),
        ("ws://a.test:81/x", None),
        ("ws://b.test/x", None),
        ("ws://u:p@b.test/x", None),
    ],
)
def test_user_info_goes_along_to_the_same_origin_only(
    location: str, expected: tuple[str, str] | None
) -> None:
    target = follow("ws://u:p@a.test/", location)
    assert target is not None
    assert target.user_info == expected


def test_origin_is_scheme_host_and_port() -> None:
    url = parse_url("ws://a.test/")
    assert is_same_origin(url, parse_url("WS://u:p@A.test:80/x?y"))
    for other in ("wss://a.test:80/", "ws://b.test/", "ws://a.test:81/"):
        assert not is_same_origin(url, parse_url(other))
    unix = parse_url("ws+unix:///run/x.sock:/")
    assert is_same_origin(unix, parse_url("ws+unix:///run/x.sock:/y"))
    for other in ("ws+unix:///run/y.sock:/", "ws://localhost/"):
        assert not is_same_origin(unix, parse_url(other))


def test_credentials_are_left_out_in_any_case_of_letters() -> None:
    kept = [(b"X-Key", b"1"), (b"Origin", b"http://a.test")]
    credentials = [(b"authorization", b"x"), (b"COOKIE", b"x"), (b"Proxy-Authorization", b"x")]
    assert without_credentials([*credentials, *kept]) == tuple(kept)
