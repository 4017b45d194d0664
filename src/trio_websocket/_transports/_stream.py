"""The transport over any `trio.abc.Stream`: TCP, TLS, Unix, in memory, yours.

Theory of operation
    A stream's methods are async and may be cancelled half-way, which is what the seam keeps away from connections. So
    one task reads and one task writes, and nobody else touches the stream. Both are system tasks, since they have to
    outlive a cancelled user for as long as a decent close takes; the connection's user always waits for their end, so
    nothing outlives the block that it was opened in. Whatever the stream raises ends this connection and no more.
"""

from __future__ import annotations

import contextvars
import logging
from collections import deque

import trio

from trio_websocket._endpoint import Endpoint, endpoints_of_stream
from trio_websocket._transports._base import Transport, TransportOwner
from trio_websocket._transports._memory import keep_freed_memory

__all__ = ["StreamTransport"]

logger = logging.getLogger("trio-websocket")

DEFAULT_RECEIVE_SIZE = 65536

# What one `send_all` gets at most, so that a long backlog is seen to shrink.
_SEND_SIZE = 262144

# Seconds to read what a peer sent before it refused to take more.
_LAST_WORDS = 1.0

# What a stream may raise when it is no more.
_LOST = (trio.BrokenResourceError, trio.ClosedResourceError, OSError)


class StreamTransport(Transport):
    """A transport over `stream`, which is the transport's from now on.

    Args:
        stream: The stream; a TLS stream may have its handshake before it or not.
        receive_size: Bytes to ask the stream for at once; None for the library's choice.
    """

    is_paused = False

    def __init__(self, stream: trio.abc.Stream, *, receive_size: int | None = None) -> None:
        keep_freed_memory()
        self._local, self._remote = endpoints_of_stream(stream)
        self._stream = stream
        self._owner: TransportOwner | None = None
        self._error: Exception | None = None
        # Signs of life.
        self._is_alive = False  # the peer has sent something since somebody asked
        self._sends = 0  # begun and ended: odd while something is being sent
        self._sends_seen = 0  # when somebody asked
        # Reading.
        self._receive_size = receive_size or DEFAULT_RECEIVE_SIZE
        self._reader_scope = trio.CancelScope()
        self._unpaused = trio.lowlevel.ParkingLot()
        self._reader_ended = trio.Event()
        # Writing.
        self._writer_scope = trio.CancelScope()
        self._outgoing: deque[bytes | memoryview] = deque()
        self._backlog = 0
        self._writer_wanted = trio.lowlevel.ParkingLot()
        self._waiters = trio.lowlevel.ParkingLot()
        # Closing.
        self._is_closing = False
        self._linger = 0.0
        self._shutdown = False

    @property
    def local(self) -> Endpoint | str:
        return self._local

    @property
    def remote(self) -> Endpoint | str:
        return self._remote

    def set_owner(self, owner: TransportOwner) -> None:
        is_first = self._owner is None
        self._owner = owner
        if is_first:
            context = contextvars.copy_context()
            trio.lowlevel.spawn_system_task(self._read, name=f"read {self._remote}", context=context)
            trio.lowlevel.spawn_system_task(self._write, name=f"write {self._remote}", context=context)

    # --------------------------------------------------------------------------------------------------- reading

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        if self.is_paused:
            self.is_paused = False
            self._unpaused.unpark_all()

    def take_sign_of_life(self) -> bool:
        # A send is one only if it had to wait; here, it did so when somebody looked.
        has_taken = self._sends_seen % 2 == 1 and self._sends != self._sends_seen
        self._sends_seen = self._sends
        is_alive, self._is_alive = self._is_alive or has_taken, False
        return is_alive

    async def _read(self) -> None:
        assert self._owner is not None
        try:
            with self._reader_scope:
                while not self._reader_scope.cancel_called:
                    while self.is_paused:
                        await self._unpaused.park()
                    data = await self._stream.receive_some(self._receive_size)
                    if not data:
                        self._owner.eof_received()
                        break
                    self._is_alive = True
                    self._owner.data_received(data)
        except Exception as error:
            # Broken and closed streams, and whatever a stream that is not ours may raise, also when it is cancelled.
            self._report(error)
            self._fail(error)
        finally:
            self._reader_ended.set()

    def _report(self, error: Exception) -> None:
        # What no stream should raise is a bug, theirs or ours; to call it a lost connection would hide it.
        if not isinstance(error, _LOST):
            logger.error("the connection to %s failed", self._remote, exc_info=error)

    # --------------------------------------------------------------------------------------------------- writing

    @property
    def backlog(self) -> int:
        return self._backlog

    def write(self, data: bytes) -> None:
        if not self._is_closing:
            self._outgoing.append(data)
            self._backlog += len(data)
            self._writer_wanted.unpark_all()

    async def wait_backlog(self, limit: int) -> None:
        if self._backlog > limit:
            await self._waiters.park()

    def wake_waiters(self) -> None:
        self._waiters.unpark_all()

    async def _write(self) -> None:
        try:
            with self._writer_scope:
                try:
                    await self._send_until_closing()
                except Exception as error:
                    # As in _read.
                    self._report(error)
                    self._note(error)
                    # The peer may have said why before it left.
                    with trio.move_on_after(_LAST_WORDS):
                        await self._reader_ended.wait()
                else:
                    await self._close_stream()
        except Exception as error:
            # As in _read.
            self._report(error)
            self._fail(error)
        finally:
            await self._tear_down()

    async def _send_until_closing(self) -> None:
        assert self._owner is not None
        while True:
            while self._outgoing:
                data = self._next_to_send()
                self._sends += 1
                await self._stream.send_all(data)
                self._sends += 1
                self._backlog -= len(data)
                self._waiters.unpark_all()
            if self._is_closing:
                return
            self._owner.backlog_drained()
            if not self._outgoing and not self._is_closing:
                await self._writer_wanted.park()

    def _next_to_send(self) -> bytes:
        first = self._outgoing.popleft()
        size = len(first)
        if size > _SEND_SIZE:
            self._outgoing.appendleft(memoryview(first)[_SEND_SIZE:])
            return bytes(first[:_SEND_SIZE])
        # What was written meanwhile goes out together.
        parts = [first]
        while self._outgoing and size + len(self._outgoing[0]) <= _SEND_SIZE:
            parts.append(self._outgoing.popleft())
            size += len(parts[-1])
        return b"".join(parts)

    # --------------------------------------------------------------------------------------------------- closing

    def close(self, *, timeout: float, linger: float, shutdown: bool) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self._linger = linger
        self._shutdown = shutdown
        self._writer_scope.deadline = trio.current_time() + timeout
        self.resume_reading()
        self._writer_wanted.unpark_all()

    def abort(self) -> None:
        self._is_closing = True
        self._writer_scope.cancel()

    def _note(self, error: Exception) -> None:
        # What a stream raises when it is closed under a task is no news once closing began.
        if not self._is_closing:
            self._error = _without_frames(error)
        self._is_closing = True

    def _fail(self, error: Exception) -> None:
        self._note(error)
        self.abort()

    async def _close_stream(self) -> None:
        # TLS has no half-close that all peers understand; there, the peer's patience is what lingering relies on.
        if self._shutdown and isinstance(self._stream, trio.abc.HalfCloseableStream):
            await self._stream.send_eof()
        with trio.move_on_after(self._linger):
            await self._reader_ended.wait()
        await self._stop_reading()
        await self._stream.aclose()

    async def _stop_reading(self) -> None:
        self._reader_scope.cancel()
        # A reader that has been woken already looks once more; the stream is not to be closed under it.
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def _tear_down(self) -> None:
        self._is_closing = True
        await self._stop_reading()
        try:
            with trio.CancelScope(shield=True):
                try:
                    await trio.aclose_forcefully(self._stream)
                finally:
                    # Nothing may be told after `connection_lost`, and no task be left.
                    await self._reader_ended.wait()
        except Exception as error:
            # As in _read.
            self._report(error)
            self._error = self._error or _without_frames(error)
        self._outgoing.clear()
        self._backlog = 0
        owner, self._owner = self._owner, None
        assert owner is not None
        owner.connection_lost(self._error)
        self._waiters.unpark_all()


def _without_frames(error: Exception) -> Exception:
    """Take the tracebacks out of an error that is to be kept, as they lead to who keeps it, and out of what it comes from.

    But only while that says no more than that a connection is lost: anything else may be looked at elsewhere.
    """
    each: BaseException | None = error
    while isinstance(each, _LOST) and each.__traceback__ is not None:
        each.__traceback__ = None
        each = each.__cause__ or each.__context__
    return error
