"""What is expected of either peer in an opening handshake over HTTP/1.1, before its message is taken apart."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["CLIENT", "SERVER", "Peer"]


class Peer(NamedTuple):
    """What is expected of a peer."""

    name: str
    message: str
    # The beginning of its first line, matched against at most 7 bytes, and the whole line.
    start: re.Pattern[bytes]
    first_line: re.Pattern[bytes]
    tls_hint: str
    # How much it may send ahead of `next_event`; one `receive_data` may go over it, being in memory already.
    max_unread: int


CLIENT = Peer(
    "client",
    "request",
    re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z].*", re.DOTALL),
    re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x21-\x7e]+ HTTP/[0-9]\.[0-9]\r?\n"),
    "this port serves ws:, not wss:",
    # RFC 6455 §4.1: it MUST wait for the response before it sends any further data. Some do not.
    65536,
)
SERVER = Peer(
    "server",
    "response",
    re.compile(rb"H|HT|HTT|HTTP|HTTP/|HTTP/1|HTTP/1\."),
    re.compile(rb"HTTP/1\.[0-9] [1-9][0-9]{2}(?: [^\n]*)?\r?\n"),
    "that port may serve wss:, not ws:",
    # It may send as soon as it has answered, so what counts here is only how late the answer is looked at.
    2**20,
)
