"""Running a session again on a new connection when one is lost."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import trio

from trio_websocket._connection import WebSocketConnection
from trio_websocket._exceptions import DisconnectionTimeout
from trio_websocket._options import ClientOptions
from trio_websocket._reconnect._retry import DEFAULT_BACKOFF, Retries, ShouldRetry, failure_of, make_dial
from trio_websocket.protocol._backoff import Backoff

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["run_websocket_url"]

logger = logging.getLogger("trio-websocket")

T = TypeVar("T")


async def run_websocket_url(
    session: Callable[[WebSocketConnection], Awaitable[T]],
    url: object,
    ssl_context: ssl.SSLContext | None = None,
    *,
    backoff: Backoff = DEFAULT_BACKOFF,
    should_retry: ShouldRetry | None = None,
    **options: Unpack[ClientOptions],
) -> T:
    """Connect to a URL and run `session` on the connection; when that is lost, do it again, until the session returns.

    A session shows that its connection is lost by letting `ConnectionClosed` out, as the calls on the connection raise it,
    also in the exception group of a nursery that has nothing else in it. Each session begins anew: what it is to know
    of the one before, keep outside of it.

    Args:
        session: Called with each new connection, which is closed with code 1000 when it returns or raises.
        backoff: How long to wait, and when to give up.
        should_retry: Told the `HandshakeError` or `ConnectionClosed`, says whether to go on; None for `is_worth_retrying`.

    Everything else is as for `open_websocket_url`.

    Returns:
        What `session` returned.

    Raises:
        ValueError: An argument can't be right.
        HandshakeError: There was no connecting, and it is not worth another try, or was the last one.
        ConnectionClosed: The connection was lost, and the same holds.

    The last two have what went wrong before in `earlier_errors`. Whatever else `session` raises comes out as it is.
    Cancelling is safe: the connection is closed within two seconds.
    """
    dial = make_dial(url, ssl_context, options)
    retries = Retries(url, backoff, should_retry)
    while True:
        connection: WebSocketConnection | None = None
        opened_at = 0.0
        results: list[T] = []
        try:
            async with dial() as connection:
                opened_at = trio.current_time()
                results.append(await session(connection))
            return results[0]
        except Exception as error:
            if results and isinstance(error, DisconnectionTimeout):
                # The session has done what it had to.
                logger.info("%s: %s", connection, error)
                return results[0]
            failure = failure_of(connection, error)
            if failure is None:
                raise
        lasted = None if connection is None else trio.current_time() - opened_at
        await retries.wait_after(failure, lasted)
