"""TLS over any transport, by memory BIOs.

Theory of operation
    OpenSSL sees no socket: what the inner transport receives is fed to one memory BIO, and what OpenSSL wants to send is
    taken out of another. So reading and writing stay as synchronous as the seam has them, and there is no task here.

    A memory BIO keeps the room of the most that it ever held. Hence input is fed in slices, and output is taken out record
    by record; else a connection that once saw a large message would hold it for good.

    What is decrypted from one read of the inner transport is told at once, out of a buffer that all connections share.
    Where the owner pauses in between, the rest stays encrypted, and the inner transport is paused, too. To go on is a turn
    of its own (`TrioToken.run_sync_soon`: no task for what is rare), since nothing may be told from inside a method.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Sequence
from functools import partial

import trio

from trio_websocket._endpoint import Endpoint
from trio_websocket._kernel import Buffer
from trio_websocket._transports._base import Transport, TransportOwner, without_frames
from trio_websocket._transports._hub import BUFFER_SIZE
from trio_websocket._transports._tls_errors import ANSWER_TO_PLAIN_HTTP, PLAIN_HTTP, eof_error

__all__ = ["TlsTransport"]

logger = logging.getLogger("trio-websocket")

# RFC 8446 §5.1: a record has at most 2**14 bytes of plaintext. OpenSSL gets no more at once to encrypt; and to decrypt, what such
# a record most often is when it is sent, §5.2: with a header, the content's type and a tag.
_RECORD_SIZE = 16384
_ENCRYPTED_SIZE = 5 + _RECORD_SIZE + 1 + 16

# Bytes that are told at once: what one read of a transport can have in it, with a record that began before it.
_BUFFER_SIZE = BUFFER_SIZE + _RECORD_SIZE

# Buffers that nobody uses. TLS in TLS takes two at a time, and so do two threads.
_buffers: list[bytearray] = []

# Bytes that a peer may make TLS itself answer, such as to key updates, before it reads any of them.
_MAX_PROVOKED = 65536

# Seconds for an alert to leave.
_LAST_WORDS = 1.0


class TlsTransport(Transport):
    """A transport that speaks TLS over `inner`, which is the transport's from `do_handshake` on.

    Args:
        inner: What carries the bytes; nobody owns it yet.
        context: Renegotiation is turned off in it (`ssl.OP_NO_RENEGOTIATION`): WebSocket has no use for it, attackers have.
        server_side: Which side we are.
        server_hostname: Whom a client expects.

    Once it is closing, nothing but its end is told.
    """

    intake = None

    __slots__ = (
        "_error",
        "_has_ended",
        "_incoming",
        "_inner",
        "_is_at_eof",
        "_is_closing",
        "_is_eof_told",
        "_is_established",
        "_is_lost",
        "_is_lost_told",
        "_is_telling",
        "_is_turn_due",
        "_outgoing",
        "_owner",
        "_provoked",
        "_tls",
        "_unsent",
        "_waiters",
        "_wrap",
        "is_paused",
    )

    def __init__(
        self,
        inner: Transport,
        context: ssl.SSLContext,
        *,
        server_side: bool,
        server_hostname: str | None = None,
    ) -> None:
        self._inner = inner
        self._owner: TransportOwner | None = None
        self._error: Exception | None = None
        self._waiters: trio.lowlevel.ParkingLot | None = None  # for the handshake, or for `_unsent` to go out
        # Handshake.
        self._tls: ssl.SSLObject
        self._wrap = partial(_wrap, context, server_side, server_hostname)
        self._is_established = False
        # Reading.
        self._incoming = ssl.MemoryBIO()
        self.is_paused: bool = True  # there is no owner
        self._is_telling = self._is_turn_due = False
        self._has_ended = False  # the inner transport has
        self._is_at_eof = False  # TLS has
        self._is_eof_told = False
        # Writing.
        self._outgoing = ssl.MemoryBIO()
        self._provoked = 0
        self._unsent = bytearray()  # plaintext, while OpenSSL has to read before it can write
        # Closing.
        self._is_closing = False
        self._is_lost = False
        self._is_lost_told = False

    @property
    def local(self) -> Endpoint | str:
        return _secured(self._inner.local)

    @property
    def remote(self) -> Endpoint | str:
        return _secured(self._inner.remote)

    def set_owner(self, owner: TransportOwner) -> None:
        """Tell `owner` from now on; not before `do_handshake` is done."""
        is_first, self._owner = self._owner is None, owner
        if is_first:
            self.resume_reading()

    # ------------------------------------------------------------------------------------------------- handshake

    async def do_handshake(self) -> None:
        """Begin, and wait until TLS is established.

        Raises:
            ssl.SSLError: It failed, with OpenSSL's reason; the peer was sent the alert. `ssl.SSLCertVerificationError` if
                its certificate is none for us, `ssl.SSLEOFError` if it left. Or the context is the other side's.
            ValueError: The context needs a `server_hostname`, or that can't be one.

        On an error, or if cancelled, the inner transport is closed.
        """
        try:
            self._inner.set_owner(self)
            self._tls = self._wrap(self._incoming, self._outgoing)
            self._shake_hands()
            while not (self._is_established or self._is_lost):
                await self._park()
        except BaseException:
            self.abort()
            with trio.CancelScope(shield=True):
                while not self._is_lost:
                    await self._park()
            raise
        if not self._is_established:
            if isinstance(self._error, ssl.SSLError):
                raise self._error
            raise eof_error("the connection was lost in the TLS handshake") from self._error

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            if error.reason in PLAIN_HTTP:
                self._inner.write(ANSWER_TO_PLAIN_HTTP)
            self._fail(error)
        else:
            self._flush()
            self._is_established = True
            self._unpark()

    # --------------------------------------------------------------------------------------------------- reading

    def pause_reading(self) -> None:
        self.is_paused = True
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        if self.is_paused:
            self.is_paused = False
            has_eof = (self._has_ended or self._is_at_eof) and not self._is_eof_told
            if self._is_telling or not (self._is_lost or self._has_encrypted() or has_eof):
                self._inner.resume_reading()
            elif not self._is_turn_due:
                self._is_turn_due = True
                trio.lowlevel.current_trio_token().run_sync_soon(self._turn)

    def take_sign_of_life(self) -> bool:
        return self._inner.take_sign_of_life()

    def can_read_in_person(self) -> bool:
        return not self._is_turn_due and self._inner.can_read_in_person()

    async def read_in_person(self) -> None:
        await self._inner.read_in_person()

    @property
    def is_filling(self) -> bool:
        return False  # all has to be decrypted first

    def fill(self, receive: Callable[[memoryview], int]) -> int:
        raise NotImplementedError

    def data_received(self, data: Buffer) -> None:
        """Take in what the inner transport has received."""
        # RFC 8446 §6.1: any data received after a close_notify MUST be ignored.
        if self._is_closing or self._is_at_eof:
            return
        if not self._is_established:
            self._incoming.write(data)
            self._shake_hands()
        elif self.is_paused:
            # It was on its way already, or there is no owner yet.
            self._incoming.write(data)
            self._inner.pause_reading()
        else:
            self._tell(data)

    def eof_received(self) -> None:
        """Take in that the inner transport will receive no more."""
        self._has_ended = True
        if self._is_established:
            self._tell_eof()
        else:
            self._fail(eof_error("the peer ended the connection in the TLS handshake"))

    def _has_encrypted(self) -> bool:
        return bool(self._incoming.pending or self._tls.pending())

    def _tell(self, data: Buffer) -> None:
        """Tell what came before and what `data` has in it, for as long as the owner takes it."""
        try:
            buffer = _buffers.pop()
        except IndexError:
            buffer = bytearray(_BUFFER_SIZE)
        self._is_telling = True
        try:
            self._incoming.write(self._decrypt(memoryview(data), memoryview(buffer)))
        finally:
            self._is_telling = False
            _buffers.append(buffer)
        if self._outgoing.pending or self._unsent:
            self._answer()
        self._tell_eof()

    def _decrypt(self, data: memoryview, room: memoryview) -> memoryview:
        """Do that by way of `room`; returns the end of `data` that was not needed."""
        owner = self._owner
        assert owner is not None
        filled = 0
        while not (self.is_paused or self._is_closing or self._is_at_eof):
            if not self._has_encrypted():
                if not data:
                    break
                self._incoming.write(data[:_ENCRYPTED_SIZE])
                data = data[_ENCRYPTED_SIZE:]
            try:
                if owner.is_filling:
                    owner.fill(self._read)
                else:
                    filled += self._read(room[filled:])
            except ssl.SSLWantReadError:
                pass  # half a record, or one for OpenSSL itself
            except ssl.SSLError as error:
                self._fail(error)
            if filled > _BUFFER_SIZE - _RECORD_SIZE:
                owner.data_received(room[:filled])
                filled = 0
        if filled:
            owner.data_received(room[:filled])
        return data

    def _read(self, room: memoryview) -> int:
        size: int = self._tls.read(len(room), room)  # type: ignore[assignment] # with a buffer, it is one
        self._is_at_eof = size == 0  # a close_notify
        return size

    def _tell_eof(self) -> None:
        if self._is_eof_told or self.is_paused or self._is_closing:
            return
        if self._is_at_eof or (self._has_ended and not self._has_encrypted()):
            assert self._owner is not None
            self._is_eof_told = True
            if not self._is_at_eof:
                self._error = eof_error("the peer ended TLS without close_notify: truncated")
            self._owner.eof_received()

    def _turn(self) -> None:
        """Go on, when it is not the inner transport that calls."""
        self._is_turn_due = False
        try:
            if not (self.is_paused or self._is_closing):
                self._tell(b"")
        except Exception as error:
            # A bug of the owner's. Raised from here, it would end the whole run, and so all connections.
            logger.exception("the connection to %s failed", self.remote)
            self._error = self._error or error
            self.abort()
        if self._is_lost:
            self._tell_lost()
        elif not self.is_paused:
            self._inner.resume_reading()

    # --------------------------------------------------------------------------------------------------- writing

    @property
    def backlog(self) -> int:
        return self._inner.backlog + len(self._unsent)

    def write(self, data: bytes) -> None:
        self._encrypt([data])

    def writelines(self, parts: list[bytes]) -> None:
        # One record is cheaper than two; a copy of more than fits into one is not.
        self._encrypt([b"".join(parts)] if sum(map(len, parts)) <= _RECORD_SIZE else parts)

    def _encrypt(self, parts: Sequence[Buffer]) -> None:
        if self._is_closing:
            return
        records: list[bytes] = []
        failure: ssl.SSLError | None = None
        for part in parts:
            rest = memoryview(part)
            try:
                while rest and not self._unsent:
                    rest = rest[self._tls.write(rest[:_RECORD_SIZE]) :]
                    records.append(self._outgoing.read())
            except ssl.SSLWantReadError:
                pass  # the peer is in the middle of telling OpenSSL something, such as a session ticket
            except ssl.SSLError as error:
                failure = error
                break
            self._unsent += rest
        if len(records) == 1:
            self._inner.write(records[0])
        elif records:
            self._inner.writelines(records)
        self._flush()
        if failure is not None:
            self._fail(failure)

    def _answer(self) -> None:
        """Send what OpenSSL has to say of its own, and what could not be sent before."""
        if not self._inner.backlog:
            self._provoked = 0
        self._provoked += self._outgoing.pending
        self._flush()
        if self._provoked > _MAX_PROVOKED:
            self._fail(ssl.SSLError(ssl.SSL_ERROR_SSL, "the peer makes TLS answer, and does not read"))
        if self._unsent:
            unsent, self._unsent = self._unsent, bytearray()
            self._encrypt([unsent])
            self._unpark()
            self.backlog_drained()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._inner.write(self._outgoing.read())

    def set_max_backlog(self, limit: int) -> None:
        self._inner.set_max_backlog(limit)

    async def wait_backlog(self, limit: int) -> None:
        if not self._unsent:
            await self._inner.wait_backlog(limit)
        elif self.backlog > limit:
            await self._park()

    def wake_waiters(self) -> None:
        self._inner.wake_waiters()
        self._unpark()

    async def _park(self) -> None:
        self._waiters = self._waiters or trio.lowlevel.ParkingLot()  # none in an idle connection
        await self._waiters.park()

    def _unpark(self) -> None:
        if self._waiters is not None:
            self._waiters.unpark_all()
            self._waiters = None

    def backlog_drained(self) -> None:
        """Take in that the inner transport has sent all."""
        if self._owner is not None and not self._unsent:
            self._owner.backlog_drained()

    # --------------------------------------------------------------------------------------------------- closing

    def close(self, *, timeout: float, linger: float, shutdown: bool) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        try:
            # RFC 8446 §6.1: each party MUST send a close_notify before it closes; none has to wait for the other's.
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # it waits for the peer's; or the peer is in the middle of something, and hears TCP's end only
        self._flush()
        self._inner.close(timeout=timeout, linger=linger, shutdown=shutdown)

    def abort(self) -> None:
        self._is_closing = True
        self._inner.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Take in that the inner transport is gone."""
        self._error = self._error or error
        self._is_lost = True
        self._unpark()
        if self._owner is not None:
            self._turn()

    def _fail(self, error: Exception) -> None:
        """Close, and have the peer know why if OpenSSL has an alert for it."""
        if not self._is_closing:
            self._is_closing = True
            self._error = self._error or without_frames(error)
            self._flush()
            self._inner.close(timeout=_LAST_WORDS, linger=0, shutdown=True)

    def _tell_lost(self) -> None:
        self._is_closing = True
        self._unsent.clear()
        owner, self._owner = self._owner, None
        if owner is not None and not self._is_lost_told:
            self._is_lost_told = True
            try:
                owner.connection_lost(self._error)
            except Exception:
                logger.exception("the connection to %s failed", self.remote)


def _wrap(
    context: ssl.SSLContext, is_server: bool, name: str | None, incoming: ssl.MemoryBIO, out: ssl.MemoryBIO
) -> ssl.SSLObject:
    # An SSLSocket says so itself; an SSLObject would take a certificate of any name.
    if context.check_hostname and not is_server and name is None:
        raise ValueError("check_hostname requires server_hostname")
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context.wrap_bio(incoming, out, server_side=is_server, server_hostname=name)


def _secured(end: Endpoint | str) -> Endpoint | str:
    return Endpoint(end.address, end.port, is_ssl=True) if isinstance(end, Endpoint) else end
