"""`examples/browser/`: the page in a real browser, with its real server."""

from __future__ import annotations

import functools
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
import trio
from example_process import STEP_TIMEOUT, ExampleProcess, running
from webdriver import Browser, chromium

from trio_websocket import ConnectionRejected, open_websocket_url

pytestmark = pytest.mark.slow
needs_browser = pytest.mark.external("chromium", "chromedriver")
T = TypeVar("T")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@asynccontextmanager
async def page_server() -> AsyncIterator[tuple[ExampleProcess, str]]:
    async with running("browser/browser_server.py", "--port", "0") as server:
        match = await server.expect(r"Open (\S+) in a browser")
        yield server, match[1]


async def in_thread(function: Callable[..., T], *arguments: str) -> T:
    return await trio.to_thread.run_sync(functools.partial(function, *arguments))


async def connect(browser: Browser, url: str) -> None:
    await in_thread(browser.open, url)
    await in_thread(browser.click, "#connect")
    await in_thread(browser.wait_for_text, "#state", "^open$")


@needs_browser
async def test_page_sends_and_shows_messages(browser: Browser) -> None:
    async with page_server() as (_, url):
        await connect(browser, url)
        await in_thread(browser.type, "#message", "Grüße")
        await in_thread(browser.click, "#send")
        await in_thread(browser.wait_for_text, "#messages", "Grüße.*Grüße")
        await in_thread(browser.type, "#message", "abc")
        await in_thread(browser.click, "#send-binary")
        await in_thread(browser.wait_for_text, "#messages", "61 62 63$")
        assert await in_thread(browser.texts, "#messages .out") == ["Grüße", "3 bytes"]
        assert await in_thread(browser.texts, "#messages .in") == ["Grüße", "3 bytes: 61 62 63"]


@needs_browser
async def test_page_closes_with_the_given_code_and_reason(browser: Browser) -> None:
    async with page_server() as (server, url):
        await connect(browser, url)
        await in_thread(browser.type, "#code", "4000")
        await in_thread(browser.type, "#reason", "Schluß")
        await in_thread(browser.click, "#close")
        await server.expect(r"closed: 4000 Schluß\n")
        # The browser shows what the server's answer said.
        assert (await in_thread(browser.wait_for_text, "#state", "^closed")).startswith("closed: 4000")
        await in_thread(browser.wait_for_text, "#messages", "The connection was closed")


@needs_browser
async def test_page_tells_that_the_server_goes_away(browser: Browser) -> None:
    async with page_server() as (server, url):
        await connect(browser, url)
        server.signal(signal.SIGINT)
        await in_thread(browser.wait_for_text, "#state", "^closed: 1001")
        assert await server.exit_code() == 0
        assert server.errors == ""
        await in_thread(browser.click, "#connect")
        await in_thread(browser.wait_for_text, "#state", "^closed: 1006")
        await in_thread(browser.wait_for_text, "#messages", "lost, or never came to be")


@needs_browser
async def test_page_tells_that_a_message_cannot_go_as_a_close_reason(browser: Browser) -> None:
    async with page_server() as (_, url):
        await connect(browser, url)
        await in_thread(browser.type, "#code", "1006")
        await in_thread(browser.click, "#close")
        await in_thread(browser.wait_for_text, "#messages", "1006")
        await in_thread(browser.wait_for_text, "#state", "^open$")


async def test_server_turns_other_pages_away() -> None:
    async with page_server() as (_, url):
        websocket_url = url.partition("?server=")[2]
        with trio.fail_after(STEP_TIMEOUT):
            with pytest.raises(ConnectionRejected) as caught:
                async with open_websocket_url(
                    websocket_url, extra_headers=[(b"Origin", b"http://evil.example")]
                ):
                    pass
            assert caught.value.status_code == 403
            origin = url.partition("/?")[0].encode()
            async with open_websocket_url(websocket_url, extra_headers=[(b"Origin", origin)]) as ws:
                await ws.send_message("hello")
                assert await ws.get_message() == "hello"
