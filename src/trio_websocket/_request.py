"""A client's request, which a server's handler accepts or rejects."""

from __future__ import annotations

import contextlib
import sys

import trio

from trio_websocket._connection import WebSocketConnection, guard
from trio_websocket._endpoint import Endpoint
from trio_websocket._exceptions import ConnectionClosed, HandshakeError
from trio_websocket._opening import ServerOpening
from trio_websocket._options import HeaderList
from trio_websocket.protocol._handshake import OpeningRequest

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

__all__ = ["WebSocketRequest", "awaits_answer", "finish_request", "has_ended_with"]


class WebSocketRequest:
    """A right opening handshake of a client, which waits for an answer (RFC 6455 §4.2).

    A server's handler gets one; answer it once, with `accept` or `reject`.
    """

    def __init__(
        self, opening: ServerOpening, request: OpeningRequest, nursery: trio.Nursery | None = None
    ) -> None:
        self._opening = opening
        self._request = request
        self._nursery = nursery
        self._connection: WebSocketConnection | None = None
        self._is_answered = False

    def __repr__(self) -> str:
        # It is in logs: without the query, where people put tokens.
        return f"<WebSocketRequest {self.path.partition('?')[0]!a} from {self.remote}>"

    def __str__(self) -> str:
        return repr(self) if self._connection is None else str(self._connection)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The request's headers: pairs of bytes, lower-case names.

        Without Host, Sec-WebSocket-Extensions and Sec-WebSocket-Protocol.
        """
        return list(self._request.headers)

    @property
    def path(self) -> str:
        """The requested path, with its query."""
        return self._request.path

    @property
    def proposed_subprotocols(self) -> tuple[str, ...]:
        """The subprotocols that the client would speak, in its order of preference (RFC 6455 §1.9)."""
        return self._request.subprotocols

    @property
    def local(self) -> Endpoint | str:
        """Our address, or a text where the transport has none."""
        return self._opening.transport.local

    @property
    def remote(self) -> Endpoint | str:
        """The client's address, or a text where the transport has none."""
        return self._opening.transport.remote

    @trio.lowlevel.enable_ki_protection
    async def accept(
        self, *, subprotocol: str | None = None, extra_headers: HeaderList | None = None
    ) -> WebSocketConnection:
        """Open the connection (RFC 6455 §4.2.2).

        Args:
            subprotocol: One of `proposed_subprotocols`, or None.
            extra_headers: Pairs of bytes to send with the answer.

        Raises:
            RuntimeError: The request was answered already.
            ValueError: The subprotocol was not proposed, or a header can't be sent.
            HandshakeError: The client has gone.

        Cancelling is safe: a cancelled call has not answered.
        """
        self._check_unanswered()
        await trio.lowlevel.checkpoint_if_cancelled()
        connection = self._opening.accept(self._request, subprotocol, extra_headers or ())
        self._is_answered = True
        self._connection = connection
        if self._nursery is not None:
            self._nursery.start_soon(guard, connection)
        if connection._pace.is_due():
            await trio.lowlevel.cancel_shielded_checkpoint()
        return connection

    @trio.lowlevel.enable_ki_protection
    async def reject(
        self, status_code: int, *, extra_headers: HeaderList | None = None, body: bytes | None = None
    ) -> None:
        """Refuse the connection with an HTTP status, and close (RFC 6455 §4.2.2).

        Args:
            status_code: From 200 to 599.
            extra_headers: Pairs of bytes to send with the answer.
            body: The answer's body.

        Raises:
            RuntimeError: The request was answered already.
            ValueError: The status is another, or a header can't be sent.
            HandshakeError: The client has gone.

        Cancelling is safe: a cancelled call has not answered.
        """
        self._check_unanswered()
        await trio.lowlevel.checkpoint()
        self._check_unanswered()
        self._opening.reject(status_code, extra_headers or (), body)
        self._is_answered = True

    def _check_unanswered(self) -> None:
        if self._is_answered:
            verb = "rejected" if self._connection is None else "accepted"
            raise RuntimeError(f"the request was {verb} already")


@trio.lowlevel.enable_ki_protection
async def finish_request(
    request: WebSocketRequest, code: int, reason: str | None, status_code: int, *, grace: float = 0
) -> None:
    """Bring a request to its end: close its connection, or answer with a status if nobody has.

    If cancelled, the transport is closed, after at most `grace` seconds.
    """
    connection = request._connection
    if connection is not None:
        if not connection._link.is_lost:
            await connection._close(code, reason, grace=grace)
        return
    opening = request._opening
    try:
        if awaits_answer(request):
            # The client may have sent what ends the handshake all the same.
            with contextlib.suppress(HandshakeError):
                opening.reject(status_code, (), None)
        if not opening.has_ended:
            await opening.wait_over()
    except trio.Cancelled:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + grace):
            await opening.wait_over()
        raise
    finally:
        await opening.abort()


def awaits_answer(request: WebSocketRequest) -> bool:
    """Whether the client is there, and nobody has answered it."""
    return not request._is_answered and not request._opening.has_ended


def has_ended_with(request: WebSocketRequest, error: BaseException) -> bool:
    """Whether `error` only says that the request's own connection has ended."""
    if isinstance(error, BaseExceptionGroup):
        return all(has_ended_with(request, each) for each in error.exceptions)
    if isinstance(error, ConnectionClosed):
        closed = None if request._connection is None else request._connection.closed
        return closed is not None and error.reason == closed
    return isinstance(error, HandshakeError) and request._connection is None and request._opening.has_ended
