"""The header by which a server asks to be left alone for a while (RFC 9110 §10.2.3)."""

from __future__ import annotations

import re
from email.utils import mktime_tz, parsedate_tz

from trio_websocket.protocol._events import Headers

__all__ = ["MAX_RETRY_AFTER", "retry_after"]

MAX_RETRY_AFTER = 3600.0
"""Seconds for which a server is left alone at most, whatever it asks for."""

_SECONDS = re.compile(rb"[0-9]+")


def retry_after(headers: Headers, *, now: float) -> float:
    """The seconds for which a server asks to be left alone; 0 if it does not, or not in a form that is known.

    Args:
        headers: Those of its response.
        now: Seconds since 1970, for a response without a date of its own.
    """
    value = _field(headers, b"retry-after")
    if _SECONDS.fullmatch(value):
        return min(float(value), MAX_RETRY_AFTER)
    until = _seconds_since_1970(value)
    if until is None:
        return 0.0
    # By the server's own clock if it tells: ours may be wrong.
    since = _seconds_since_1970(_field(headers, b"date"))
    return min(max(0.0, until - (now if since is None else since)), MAX_RETRY_AFTER)


def _field(headers: Headers, name: bytes) -> bytes:
    return next((value.strip() for key, value in headers if key == name), b"")


def _seconds_since_1970(value: bytes) -> float | None:
    # RFC 9110 §5.6.7: three forms of a date, all in UTC. Python reads them, and other things as well.
    try:
        parts = parsedate_tz(value.decode("ascii"))
        return None if parts is None else float(mktime_tz(parts))
    except (ValueError, OverflowError, TypeError, IndexError):
        # Its parser is written for mail, and may stumble over what is no date at all.
        return None
