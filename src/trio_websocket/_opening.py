"""The opening handshake over a transport: who owns the transport before there is a session."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from typing import Generic, NoReturn, TypeVar

import trio

from trio_websocket._connection import LINGER, PULL_BUDGET, Link, WebSocketConnection, begin_heartbeat
from trio_websocket._exceptions import ConnectionRejected, HandshakeError, RemoteProtocolError, TLSFailed
from trio_websocket._kernel import Buffer
from trio_websocket._options import ConnectionOptions, HeaderList
from trio_websocket._transports import Transport, explain_tls
from trio_websocket.protocol import (
    NEED_DATA,
    ClientHandshake,
    HandshakeCompleted,
    PerMessageDeflate,
    ResponseRejected,
    Role,
    ServerHandshake,
    Session,
)
from trio_websocket.protocol._handshake import OpeningAnswer, OpeningRequest

__all__ = ["ClientOpening", "ServerOpening"]

logger = logging.getLogger("trio-websocket")

# What the handshake itself needs of a response is nobody else's news.
_OF_THE_HANDSHAKE = frozenset(
    {
        b"upgrade",
        b"connection",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
    }
)

_Handshake = TypeVar("_Handshake", ClientHandshake, ServerHandshake)


class _Opening(Generic[_Handshake]):
    """Runs a handshake over a transport, until a link takes the transport over.

    Attributes:
        has_ended: Whether the peer has gone.
    """

    intake = None  # a handshake has no messages
    _peer: str

    def __init__(self, transport: Transport, handshake: _Handshake, options: ConnectionOptions) -> None:
        self._handshake: _Handshake = handshake
        self._options = options
        self._waiters: trio.lowlevel.ParkingLot | None = None
        self._error: Exception | None = None
        self._is_lost = False
        self._is_over = False
        self._is_undecided = False
        self.transport: Transport = transport
        self.has_ended: bool = False
        transport.set_owner(self)

    @property
    def is_filling(self) -> bool:
        """A handshake has nothing large."""
        return False

    def fill(self, receive: Callable[[memoryview], int]) -> int:
        """Never called, as nothing is filled."""
        raise NotImplementedError

    def data_received(self, data: Buffer) -> None:
        """Take in bytes from the peer."""
        self._handshake.receive_data(data)
        if self._is_undecided:
            # A client may send ahead, but only what fits into one read before it is answered.
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """Take in that the peer sends no more."""
        self.has_ended = True
        self._handshake.receive_eof()
        self._wake()

    def backlog_drained(self) -> None:
        """Nobody waits for that here."""

    def connection_lost(self, error: Exception | None) -> None:
        """Take in that the transport is gone."""
        self._error = error
        self._is_lost = self._is_over = True
        self.eof_received()

    async def _wait(self) -> None:
        """Wait until something happens."""
        if self._waiters is None:
            self._waiters = trio.lowlevel.ParkingLot()
        await self._waiters.park()

    def _wake(self) -> None:
        # Whoever holds the request holds the opening, and an idle connection should be small: nothing is kept for later.
        waiters, self._waiters = self._waiters, None
        if waiters is not None:
            waiters.unpark_all()

    def _flush(self) -> None:
        self.transport.write(self._handshake.data_to_send())

    def _fail(self, error: RemoteProtocolError) -> NoReturn:
        """Raise what a caller sees of a handshake that went wrong."""
        # The handshake keeps it, and its traceback leads back to the handshake: a cycle would be the garbage collector's.
        error.__traceback__ = error.__context__ = None
        if error.__cause__ is not None:
            error.__cause__.__traceback__ = None
        if self._error is None:
            raise HandshakeError(str(error)) from error
        # Trio wraps what its streams fail with.
        lost = self._error.__cause__ or self._error
        if isinstance(lost, ssl.SSLError) and not isinstance(lost, ssl.SSLEOFError):
            # RFC 8446 §4.4.2.4: a client that TLS 1.3 has let in may still hear that its certificate is not good enough.
            raise TLSFailed(f"TLS handshake failed: {explain_tls(lost, self._peer)}") from lost
        raise HandshakeError(f"{error}: {lost}") from self._error

    def _hand_over(
        self,
        role: Role,
        opening: OpeningRequest | OpeningAnswer,
        subprotocol: str | None,
        compression: PerMessageDeflate | None,
    ) -> WebSocketConnection:
        """Give the transport to a connection, with all that was received behind the handshake."""
        options = self._options
        session = Session(
            role,
            max_message_size=options.max_message_size,
            max_fragments=options.max_fragments,
            max_streamed_size=options.max_streamed_size,
            compression=compression,
            fragments_at_once=PULL_BUDGET,
        )
        link = Link(self.transport, session, options)
        connection = WebSocketConnection(link, opening, subprotocol, compression)
        self._is_over = True
        self._wake()
        data = self._handshake.trailing_data
        # As with `_waiters`.
        del self._handshake
        if not self._is_lost:
            self.transport.set_owner(link)
        if data:
            link.data_received(data)
        if self._is_lost:
            link.connection_lost(self._error)
        elif self.has_ended:
            link.eof_received()
        elif options.heartbeat is not None:
            begin_heartbeat(link, options.heartbeat)
        return connection

    @trio.lowlevel.enable_ki_protection
    async def wait_over(self) -> None:
        """Wait until a link has taken over, or the transport is gone. Cancelling is safe."""
        while not self._is_over:
            await self._wait()

    async def _wait_lost(self) -> None:
        while not self._is_lost:
            await self._wait()

    @trio.lowlevel.enable_ki_protection
    async def abort(self) -> None:
        """Drop the connection. Not cancellable, and prompt."""
        self.transport.abort()
        with trio.CancelScope(shield=True):
            await self._wait_lost()


class ClientOpening(_Opening[ClientHandshake]):
    """A client's opening handshake; what goes wrong is a HandshakeError."""

    _peer = "server"

    @trio.lowlevel.enable_ki_protection
    async def connect(self, path: str) -> WebSocketConnection:
        """Send the request, and wait for the answer.

        Raises:
            ConnectionRejected: The server answered with another status than 101.
            HandshakeError: It gave no right answer, or none.

        If cancelled, or on an error, the transport is closed.
        """
        try:
            self._flush()
            event = await self._next_event()
            if isinstance(event, ResponseRejected):
                raise ConnectionRejected(event.status_code, event.headers, event.body or b"")
        except BaseException:
            await self.abort()
            raise
        headers = tuple(field for field in event.headers if field[0] not in _OF_THE_HANDSHAKE)
        return self._hand_over(
            Role.CLIENT, OpeningAnswer(path, headers), event.subprotocol, event.compression
        )

    async def _next_event(self) -> HandshakeCompleted | ResponseRejected:
        try:
            while (event := self._handshake.next_event()) is NEED_DATA:
                await self._wait()
        except RemoteProtocolError as error:
            self._fail(error)
        return event


class ServerOpening(_Opening[ServerHandshake]):
    """A server's opening handshake."""

    _peer = "client"

    def eof_received(self) -> None:
        """Take in that the client sends no more: it can't be answered then."""
        super().eof_received()
        if self._is_undecided:
            self.transport.abort()

    @trio.lowlevel.enable_ki_protection
    async def receive_request(self) -> OpeningRequest:
        """Wait for the client's request.

        Raises:
            HandshakeError: It was no right request, which was answered, or none came.

        If cancelled, or on an error, the transport is closed.
        """
        try:
            request = await self._next_request()
        except RemoteProtocolError as error:
            await self._refuse()
            self._fail(error)
        except BaseException:
            await self.abort()
            raise
        self._is_undecided = True
        return request

    def receive_request_nowait(self) -> OpeningRequest | None:
        """Give the client's request if it has come already, and is right; else `receive_request` tells."""
        try:
            request = self._handshake.next_request()
        except Exception:
            # It is raised again, to who can wait for the end of it.
            return None
        if request is not None:
            self._is_undecided = True
        return request

    async def _next_request(self) -> OpeningRequest:
        while (request := self._handshake.next_request()) is None:
            await self._wait()
        return request

    async def _refuse(self) -> None:
        try:
            answer = self._handshake.data_to_send()
            if answer:
                self.transport.write(answer)
                self._close()
                await self._wait_lost()
        finally:
            await self.abort()

    def _give_up(self, error: RemoteProtocolError) -> NoReturn:
        self.has_ended = True
        self.transport.abort()
        self._fail(error)

    def _close(self) -> None:
        # The client has to have the chance to read the answer: a reset would take it away.
        self.transport.close(timeout=self._options.disconnect_timeout, linger=LINGER, shutdown=True)

    def accept(
        self, request: OpeningRequest, subprotocol: str | None, extra_headers: HeaderList
    ) -> WebSocketConnection:
        """Answer with 101 (RFC 6455 §4.2.2). To be called once, or `reject` in its place.

        Raises:
            ValueError: The subprotocol was not proposed, or a header can't be sent.
            HandshakeError: The client has gone.
        """
        try:
            _, compression = self._handshake.accept_request(subprotocol, extra_headers)
        except RemoteProtocolError as error:
            self._give_up(error)
        self._is_undecided = False
        self._flush()
        return self._hand_over(Role.SERVER, request, subprotocol, compression)

    def reject(self, status_code: int, extra_headers: HeaderList, body: bytes | None) -> None:
        """Answer with another status, and close. To be called once, or `accept` in its place.

        Raises:
            ValueError: The status can't be sent, or a header can't.
            HandshakeError: The client has gone.
        """
        try:
            self._handshake.reject(status_code, extra_headers=extra_headers, body=body)
        except RemoteProtocolError as error:
            self._give_up(error)
        self._is_undecided = False
        self._flush()
        self._close()
