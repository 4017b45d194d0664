"""Headless Chromium, driven by the W3C WebDriver protocol: the few calls of it that the page's test needs."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Far above what any step takes: reached only when something hangs.
STEP_TIMEOUT = 20.0
CHROMIUM_ARGUMENTS = [
    "--headless",
    "--disable-gpu",
    # The sandbox needs rights that neither root nor a container has; the page is our own.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    # Look for nothing in the wide world.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Calls back with the element's text as soon as it matches: no polling, no sleeping.
WAIT_FOR_TEXT = """
const [selector, pattern, done] = arguments;
const observer = new MutationObserver(check);
function check() {
  const text = document.querySelector(selector).textContent;
  if (new RegExp(pattern, "u").test(text)) { observer.disconnect(); done(text); }
}
observer.observe(document, { subtree: true, childList: true, characterData: true });
check();
"""
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One session of a browser. Every call blocks until it is done."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._session = ""
        options: dict[str, object] = {"args": CHROMIUM_ARGUMENTS}
        if binary := shutil.which("chromium") or shutil.which("chromium-browser"):
            options["binary"] = binary
        capabilities = {"alwaysMatch": {"goog:chromeOptions": options}}
        created = self._call("POST", "/session", {"capabilities": capabilities})
        self._session = "/session/" + created["sessionId"]
        self._call("POST", "/timeouts", {"script": STEP_TIMEOUT * 1000})

    def _call(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2 * STEP_TIMEOUT)
        try:
            data = None if method != "POST" else json.dumps(body or {})
            connection.request(method, self._session + path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            value = json.loads(response.read())["value"]
        finally:
            connection.close()
        assert response.status == 200, f"{method} {path} {body}: {value}"
        return value

    def open(self, url: str) -> None:
        self._call("POST", "/url", {"url": url})

    def _element(self, selector: str) -> str:
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        return f"/element/{found[_ELEMENT]}"

    def click(self, selector: str) -> None:
        self._call("POST", self._element(selector) + "/click")

    def type(self, selector: str, text: str) -> None:
        """Replace what stands in a field."""
        element = self._element(selector)
        self._call("POST", element + "/clear")
        self._call("POST", element + "/value", {"text": text})

    def wait_for_text(self, selector: str, pattern: str) -> str:
        """Wait until the element's text has what the (JavaScript) regular expression finds; return the text."""
        text: str = self._call(
            "POST", "/execute/async", {"script": WAIT_FOR_TEXT, "args": [selector, pattern]}
        )
        return text

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that the selector finds."""
        script = (
            "return Array.from(document.querySelectorAll(arguments[0]), (element) => element.textContent);"
        )
        texts: list[str] = self._call("POST", "/execute/sync", {"script": script, "args": [selector]})
        return texts

    def screenshot(self) -> str:
        """A picture of the page: a PNG file in Base64."""
        picture: str = self._call("GET", "/screenshot")
        return picture

    def quit(self) -> None:
        self._call("DELETE", "")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start ChromeDriver and, by it, a headless Chromium with an empty profile; both end with the block."""
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        assert driver.stdout is not None
        for line in driver.stdout:
            if match := re.search(r"started successfully on port (\d+)", line):
                break
        else:
            raise AssertionError(f"ChromeDriver ended with status {driver.wait()}")
        browser = Browser(int(match[1]))
        try:
            yield browser
        finally:
            browser.quit()
    finally:
        driver.kill()
        driver.communicate()
