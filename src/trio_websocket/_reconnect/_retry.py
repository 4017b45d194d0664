"""What is worth another try, and the wait before it."""

from __future__ import annotations

import logging
import random
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial

import trio

from trio_websocket._client import open_websocket_url
from trio_websocket._connection import WebSocketConnection
from trio_websocket._exceptions import (
    ConnectionClosed,
    ConnectionRejected,
    DisconnectionTimeout,
    HandshakeError,
    ProxyFailed,
    RemoteProtocolError,
    TLSFailed,
)
from trio_websocket._options import ClientOptions
from trio_websocket.protocol._backoff import Backoff, BackoffSchedule
from trio_websocket.protocol._retry_after import retry_after

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

__all__ = [
    "DEFAULT_BACKOFF",
    "Dial",
    "Failure",
    "Retries",
    "ShouldRetry",
    "drain",
    "failure_of",
    "is_worth_retrying",
    "make_dial",
]

logger = logging.getLogger("trio-websocket")

Dial = Callable[[], AbstractAsyncContextManager[WebSocketConnection]]
Failure = HandshakeError | ConnectionClosed
ShouldRetry = Callable[[Failure], bool]

DEFAULT_BACKOFF = Backoff()

# RFC 6455 §7.4.1 and the IANA registry: going away, a lost connection, an internal error, a restart, "try again later", and
# a gateway's bad answer. What else a peer says of a connection, it would say again.
_PASSING = frozenset({1001, 1006, 1011, 1012, 1013, 1014})

# Errors of a series that are kept; a series may go on for weeks.
MAX_EARLIER_ERRORS = 20


def is_worth_retrying(error: Exception) -> bool:
    """Whether what kept a connection from opening, or ended it, may be over soon.

    That is so for

    - `ConnectionClosed` with code 1001, 1006 or 1011 to 1014, unless we closed;
    - `ConnectionRejected` with status 429 or 500 to 599, from a proxy as well;
    - `ConnectionFailed`, `ConnectionTimeout`, and a `HandshakeError` because the network failed.

    It is not so for a close that is normal, an application's own (3000 to 4999) or a complaint about us; for another status;
    for `TLSFailed`; for a server that does not speak WebSocket; and for any other exception.

    Args:
        error: As `open_websocket_url` or a call on a connection raised it.
    """
    if isinstance(error, ConnectionClosed):
        return error.reason is not None and error.reason.code in _PASSING and error.initiator != "local"
    if not isinstance(error, HandshakeError) or isinstance(error, TLSFailed | DisconnectionTimeout):
        return False
    if isinstance(error, ConnectionRejected | ProxyFailed) and error.status_code is not None:
        return error.status_code == 429 or 500 <= error.status_code <= 599
    return not any(map(_is_lasting, _causes(error)))


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause = error.__cause__
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _is_lasting(cause: BaseException) -> bool:
    if isinstance(cause, RemoteProtocolError):
        # 1006: it only ended the connection too early.
        return cause.code != 1006
    # A redirect that leads nowhere; a name that can't be one.
    return isinstance(cause, ConnectionRejected | ValueError)


def make_dial(url: object, ssl_context: ssl.SSLContext | None, options: ClientOptions) -> Dial:
    """Make a function that connects anew each time; an argument that can't be right is an error at once."""
    options = options.copy()
    # What can be iterated only once is wanted more often.
    options["subprotocols"] = tuple(options.get("subprotocols") or ())
    options["extra_headers"] = tuple(options.get("extra_headers") or ())
    dial = partial(open_websocket_url, url, ssl_context, **options)
    dial()
    return dial


def failure_of(connection: WebSocketConnection | None, error: Exception) -> Failure | None:
    """What `error` tells of a try to connect, or of the loss of its `connection`; None if it is about something else."""
    if connection is None:
        return error if isinstance(error, HandshakeError) else None
    return _loss_of(connection, error)


def _loss_of(connection: WebSocketConnection, error: Exception) -> ConnectionClosed | None:
    # A nursery's group of nothing else tells the same.
    if isinstance(error, ExceptionGroup):
        losses = [_loss_of(connection, each) for each in error.exceptions]
        return None if None in losses else losses[0]
    if not isinstance(error, ConnectionClosed) or connection.closed is None:
        return None
    # A session may have other connections; those are its own affair.
    _, ours = drain(connection)
    return error if _facts(error) == _facts(ours) else None


def drain(connection: WebSocketConnection) -> tuple[list[str | bytes], ConnectionClosed]:
    """Take all that a closed connection received, and what calls on it raise."""
    messages: list[str | bytes] = []
    try:
        while True:
            messages.append(connection.get_message_nowait())
    except ConnectionClosed as error:
        return messages, error.with_traceback(None)


def _facts(error: ConnectionClosed) -> tuple[object, ...]:
    if error.initiator == "local":
        # The peer's answer may have come since.
        return error.initiator, error.sent
    return error.initiator, error.reason, error.received


class Retries:
    """The tries of one client, and what came of them.

    Args:
        url: Where to, for the log.
        backoff: How long to wait.
        should_retry: What is worth another try; None for `is_worth_retrying`.

    Attributes:
        name: The URL without its secrets.
    """

    def __init__(self, url: object, backoff: Backoff, should_retry: ShouldRetry | None) -> None:
        self.name: str = _without_secrets(str(url))
        self._schedule = BackoffSchedule(backoff, random.random)
        self._should_retry = should_retry or is_worth_retrying
        self._earlier: deque[Exception] = deque(maxlen=MAX_EARLIER_ERRORS)

    async def wait_after(self, error: Failure, lasted: float | None) -> None:
        """Wait as long as it takes before another try: as `next_delay`."""
        await trio.sleep(self.next_delay(error, lasted))

    def next_delay(self, error: Failure, lasted: float | None) -> float:
        """Take in how the latest try ended; returns the seconds to wait before another one.

        Args:
            error: How it ended.
            lasted: Seconds that its connection lasted; None if there was none.

        Raises:
            HandshakeError: It was `error`, and there shall be no other try; it has all earlier ones with it.
            ConnectionClosed: The same.
        """
        delay = self._schedule.next_delay(lasted, at_least=_asked_for(error))
        if not self._schedule.failures:
            self._earlier.clear()
        if not self._should_retry(error):
            delay = None
        if delay is None:
            logger.info("%s: %s; giving up", self.name, error)
            self._add_earlier_errors(error)
            raise error
        logger.info("%s: %s; trying again in %.1f seconds", self.name, error, delay)
        # Its frames would hold what the session had, and the connection.
        self._earlier.append(error.with_traceback(None))
        return delay

    def _add_earlier_errors(self, error: Failure) -> None:
        if self._earlier:
            error.earlier_errors = tuple(self._earlier)
            lines = [f"{type(each).__name__}: {each}" for each in self._earlier]
            # As `add_note` does, which Python 3.10 lacks.
            notes = error.__dict__.setdefault("__notes__", [])
            notes.append("\n  ".join(["before that, the oldest first:", *lines]))


def _asked_for(error: Exception) -> float:
    if not isinstance(error, ConnectionRejected):
        return 0.0
    return retry_after(error.headers or (), now=time.time())


def _without_secrets(url: str) -> str:
    # No user info, no query: there people put passwords and tokens.
    scheme, _, rest = url.partition("?")[0].partition("://")
    authority, slash, path = rest.partition("/")
    return ascii(f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}")[1:-1]
