"""Cookies: sent from a jar, and kept in it, whatever the server answers."""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import pytest
import trio
from support import HOST, check_echo, serving, url_of

from trio_websocket import (
    ConnectionRejected,
    HandshakeError,
    WebSocketRequest,
    connect_websocket,
    connect_websocket_url,
    open_websocket,
    open_websocket_url,
)


class Site:
    """A handler that sets a cookie with each answer, and notes those that it gets."""

    def __init__(self) -> None:
        self.cookies: list[bytes | None] = []

    async def __call__(self, request: WebSocketRequest) -> None:
        self.cookies.append(dict(request.headers).get(b"cookie"))
        set_cookie = (b"Set-Cookie", b"n=%d; Path=/" % len(self.cookies))
        if request.path == "/no":
            await request.reject(403, extra_headers=[set_cookie])
        elif request.path.startswith("/to/"):
            location = (b"Location", request.path.removeprefix("/to").encode())
            await request.reject(302, extra_headers=[set_cookie, location])
        elif request.path == "/login" and self.cookies[-1] is None:
            await request.reject(303, extra_headers=[set_cookie, (b"Location", b"/login")])
        else:
            ws = await request.accept(extra_headers=[set_cookie])
            async for message in ws:
                await ws.send_message(message)


async def test_cookies_of_every_answer_are_kept_and_sent() -> None:
    site, jar = Site(), CookieJar()
    async with serving(site) as server:
        async with open_websocket_url(url_of(server), cookies=jar) as ws:
            await check_echo(ws)
        with pytest.raises(ConnectionRejected):
            async with open_websocket_url(url_of(server, "/no"), cookies=jar):
                raise AssertionError("it opened")
        async with open_websocket_url(url_of(server, "/to/x"), cookies=jar, max_redirects=1) as ws:
            await check_echo(ws)
    # After 101, 403, 302, and once more 101.
    assert site.cookies == [None, b"n=1", b"n=2", b"n=3"]
    assert [(cookie.name, cookie.value) for cookie in jar] == [("n", "4")]


async def test_every_way_in_takes_a_jar() -> None:
    site, jar = Site(), CookieJar()
    async with serving(site) as server, trio.open_nursery() as nursery:
        url, to = url_of(server), (HOST, server.port, "/")
        async with open_websocket(*to, use_ssl=False, cookies=jar) as ws:
            await check_echo(ws)
        async with await connect_websocket_url(nursery, url, cookies=jar) as ws:
            await check_echo(ws)
        async with await connect_websocket(nursery, *to, use_ssl=False, cookies=jar) as ws:
            await check_echo(ws)
    assert site.cookies == [None, b"n=1", b"n=2"]


async def test_without_a_jar_nothing_is_sent_again() -> None:
    site = Site()
    async with serving(site) as server:
        for _ in range(2):
            async with open_websocket_url(url_of(server)) as ws:
                await check_echo(ws)
    assert site.cookies == [None, None]


async def test_cookie_header_of_the_caller_takes_the_place_of_the_jar() -> None:
    site, jar = Site(), CookieJar()
    async with serving(site) as server:
        for _ in range(2):
            async with open_websocket_url(
                url_of(server), cookies=jar, extra_headers=[(b"cookie", b"own=1")]
            ) as ws:
                await check_echo(ws)
    assert site.cookies == [b"own=1", b"own=1"]
    assert len(jar) == 1


async def test_jar_is_asked_when_the_connection_is_opened_not_at_the_call() -> None:
    site, jar = Site(), CookieJar()
    async with serving(site) as server:
        late = open_websocket_url(url_of(server), cookies=jar)
        async with open_websocket_url(url_of(server), cookies=jar):
            pass
        async with late as ws:
            await check_echo(ws)
    assert site.cookies == [None, b"n=1"]


async def test_redirect_to_the_same_url_is_no_circle_if_the_cookie_is_new() -> None:
    site = Site()
    async with serving(site) as server:
        url = url_of(server, "/login")
        async with open_websocket_url(url, cookies=CookieJar(), max_redirects=1) as ws:
            await check_echo(ws)
        # Without a jar it is one.
        with pytest.raises(HandshakeError, match=r"leads to .*/login again"):
            async with open_websocket_url(url, max_redirects=100):
                raise AssertionError("it opened")
    assert site.cookies == [None, b"n=1", None]


async def test_jar_decides_what_another_host_gets() -> None:
    site, jar = Site(), CookieJar()
    async with serving(site) as first, serving(site) as second:
        async with open_websocket_url(url_of(first), cookies=jar):
            pass
        # RFC 6265 §8.5: cookies do not know ports, but hosts.
        async with open_websocket_url(url_of(second), cookies=jar):
            pass
        async with open_websocket_url(f"ws://localhost:{second.port}/", cookies=jar):
            pass
    assert site.cookies == [None, b"n=1", None]


async def test_jar_that_fails_leaves_nothing_open() -> None:
    class Policy(DefaultCookiePolicy):
        def set_ok(self, *_: Any) -> bool:
            raise KeyError("a bug of the policy's")

    site = Site()
    async with serving(site) as server:
        with pytest.raises(KeyError, match="policy's"):
            async with open_websocket_url(url_of(server), cookies=CookieJar(Policy())):
                raise AssertionError("it opened")
    assert site.cookies == [None]
