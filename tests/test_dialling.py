"""What a caller may set for the way to a server, and what goes wrong on it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from http.cookiejar import CookieJar
from typing import Any

import pytest
import trio
from proxies import proxy_server
from support import HOST, RawPeer, raw_server, serving, url_of

from trio_websocket import ConnectionTimeout, HandshakeError, open_websocket, open_websocket_url
from trio_websocket._dialling import Route
from trio_websocket.protocol._url import parse_url


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"proxy": 1}, TypeError, "proxy must be a bool, a str or None, not int"),
        ({"proxy": b"http://h"}, TypeError, "not bytes"),
        ({"max_redirects": 1.0}, TypeError, "max_redirects must be an int, not float"),
        ({"max_redirects": None}, TypeError, "max_redirects must be an int, not NoneType"),
        ({"max_redirects": -1}, ValueError, "max_redirects=-1 is not a number of at least 0"),
        ({"cookies": {"a": "b"}}, TypeError, "cookies must be an http.cookiejar.CookieJar, not dict"),
        ({"proxy": "proxy.test:3128"}, ValueError, "must begin with one of http://"),
        ({"proxy": "ftp://u:secret@proxy.test"}, ValueError, "not ftp://"),
    ],
)
def test_what_cannot_be_right_is_told_at_the_call(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    calls: list[Callable[[], object]] = [
        lambda: open_websocket_url("ws://h/", **options),
        lambda: open_websocket("h", 80, "/", use_ssl=False, **options),
    ]
    for call in calls:
        with pytest.raises(error, match=text) as caught:
            call()
        assert "secret" not in str(caught.value)


def test_missing_python_socks_is_told_at_the_call_and_only_where_there_is_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "python_socks.async_.trio.v2", None)
    with pytest.raises(ModuleNotFoundError, match=r"with its extra \[proxy\]"):
        open_websocket_url("ws://h/", proxy="http://proxy.test")
    monkeypatch.setenv("no_proxy", "*")
    for proxy in (True, False, None, ""):
        open_websocket_url("ws://h/", proxy=proxy)


def test_environment_is_read_only_if_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("ws_proxy", "http://u:secret@env.test:1")
    url = parse_url("ws://h/")
    assert Route().proxy_for(url) is None
    assert str(Route(proxy=True).proxy_for(url)) == "http://env.test:1"
    assert str(Route(proxy="http://arg.test:2").proxy_for(url)) == "http://arg.test:2"
    monkeypatch.setenv("ws_proxy", "nonsense://secret")
    open_websocket_url(url)
    with pytest.raises(ValueError, match="ws_proxy in the environment: ") as caught:
        open_websocket_url(url, proxy=True)
    assert "secret" not in str(caught.value)


def test_route_keeps_the_proxy_out_of_its_repr() -> None:
    assert repr(Route("http://u:secret@h", 1)) == "Route(max_redirects=1, cookies=None)"


def test_no_proxy_leads_to_a_unix_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no proxy leads to a Unix socket"):
        open_websocket_url("ws+unix:///run/x.sock:/", proxy="http://proxy.test")
    monkeypatch.setenv("all_proxy", "http://proxy.test")
    assert Route(proxy=True).proxy_for(parse_url("ws+unix:///run/x.sock:/")) is None


async def stay_silent(peer: RawPeer) -> None:
    await trio.sleep_forever()


async def test_timeout_says_that_the_server_is_silent(mock_clock: object) -> None:
    async with raw_server(stay_silent, shake_hands=False) as port:
        with pytest.raises(ConnectionTimeout, match="still waiting for the server's answer"):
            async with open_websocket(HOST, port, "/", use_ssl=False, connect_timeout=5):
                raise AssertionError("it opened")


async def test_timeout_says_that_the_proxy_is_silent(mock_clock: object) -> None:
    async with proxy_server(stay_silent) as port:
        proxy = f"http://u:secret@{HOST}:{port}"
        with pytest.raises(
            ConnectionTimeout, match=f"still connecting through the proxy http://{HOST}:{port}$"
        ):
            async with open_websocket_url("ws://target.test/", proxy=proxy, connect_timeout=5):
                raise AssertionError("it opened")


async def test_header_names_may_be_text_as_before() -> None:
    heads: list[bytes] = []

    async def note(peer: RawPeer) -> None:
        heads.append(await peer.read_head())

    async with raw_server(note, shake_hands=False) as port:
        with pytest.raises(HandshakeError):
            headers: Any = [("authorization", "mine"), ("Cookie", "own=1")]
            async with open_websocket_url(
                f"ws://u:p@{HOST}:{port}/", extra_headers=headers, cookies=CookieJar()
            ):
                raise AssertionError("it opened")
    assert heads[0].lower().count(b"authorization") == heads[0].lower().count(b"cookie") == 1


async def test_secrets_are_in_no_log(caplog: pytest.LogCaptureFixture, mock_clock: object) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving() as server, proxy_server(stay_silent) as port:
        with trio.move_on_after(1):
            proxy = f"http://u:secret@{HOST}:{port}"
            async with open_websocket_url(url_of(server), proxy=proxy):
                raise AssertionError("it opened")
    assert "secret" not in caplog.text
