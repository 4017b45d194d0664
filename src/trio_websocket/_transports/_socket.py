"""The transport over a plain socket, driven by the hub: no task per connection.

Theory of operation
    The poller tells of edges: that something came, or that there is room again. Whether there is more to read is remembered
    here until the socket itself says no. A first write goes to the socket at once, unless the hub is busy; what is written after
    it, before the scheduler has turned, is kept by the outlet and goes out together. Each turn reads at most one buffer.

    Nothing may be told from inside one of the transport's own methods, so an end is told when the scheduler turns.
"""

from __future__ import annotations

import logging
import socket

import trio

from trio_websocket._endpoint import Endpoint, Name, endpoint_of_name, names_of_socket
from trio_websocket._kernel import JOIN_SIZE, Inlet, Outlet
from trio_websocket._transports._base import Transport, TransportOwner, without_frames
from trio_websocket._transports._hub import BUFFER_SIZE, Hub, hub_of_this_run
from trio_websocket._transports._poller import HANG_UP, WRITABLE

__all__ = ["SocketTransport"]

logger = logging.getLogger("trio-websocket")

# Parts that one call may send: IOV_MAX is at least that where there is a poller.
_MAX_PARTS = 1024

# What one turn reads at most of a large payload.
_TURN_SIZE = 262144

# From so many bytes in one read on, it is worth asking whether the rest may go straight to where it belongs.
_LARGE_READ = 16384

# Seconds to read what a peer sent before it refused to take more.
_LAST_WORDS = 1.0


class SocketTransport(Transport):
    """A transport over `sock`, a connected and non-blocking stream socket, which is the transport's from now on.

    Args:
        sock: The socket.
        receive_size: Bytes to read at once; None for the library's choice.
        names: The names of both ends, for who knows them already.
    """

    __slots__ = (
        *("_error", "_hub", "_is_put_off", "_local", "_owner", "_remote", "_sock", "fd"),
        *("_has_ended", "_is_in_person", "_is_large", "_is_readable", "inlet", "is_paused"),
        *("_is_closing", "_is_released", "_waiters", "outlet"),
    )

    def __init__(
        self, sock: socket.socket, *, receive_size: int | None = None, names: tuple[Name, Name] | None = None
    ) -> None:
        self.fd: int = sock.fileno()
        self._sock = sock
        self._local, self._remote = names or names_of_socket(sock)
        self._hub: Hub | None = None
        self._owner: TransportOwner | None = None
        self._error: Exception | None = None
        self._is_put_off = False
        # Reading.
        size = BUFFER_SIZE if receive_size is None else min(receive_size, BUFFER_SIZE)
        self.inlet: Inlet = Inlet(self.fd, size, min(size, _LARGE_READ))
        self._is_large = False  # what was read last: the rest of a large message may follow
        self._is_readable = False  # as far as we know
        self.is_paused: bool = False
        self._is_in_person = False  # a task waits for the socket itself
        self._has_ended = False  # so have we
        # Writing.
        self.outlet: Outlet | None = None
        self._waiters: trio.lowlevel.ParkingLot | None = None
        # Closing.
        self._is_closing = self._is_released = False

    @property
    def local(self) -> Endpoint | str:
        return endpoint_of_name(self._local)

    @property
    def remote(self) -> Endpoint | str:
        return endpoint_of_name(self._remote)

    def expect_data(self) -> None:
        """Have the first owner told at once, by `set_owner`, of what has come already, rather than when the poller says so."""
        self._is_readable = True

    def set_owner(self, owner: TransportOwner) -> None:
        self._owner = owner
        self.inlet.intake = None  # the last owner's
        if self._hub is None:
            self.inlet.owner = self
            try:
                hub = self._hub = hub_of_this_run()
                self.outlet = Outlet(self.fd, hub.turns, self)
                if self._is_readable:
                    self.read()
                if not self._is_released:
                    hub.add(self)
            except OSError as error:
                # The machine can't have more of them.
                self._fail(error)

    # ------------------------------------------------------------------------------------------ what the hub tells

    def serve(self, events: int) -> None:
        """Read or write, as the poller has it."""
        if events & HANG_UP:
            self.inlet.short_size = 0  # the end lies behind what comes
        if events & WRITABLE:
            assert self.outlet is not None
            if self.outlet.is_blocked:
                # The peer's system has taken some.
                self.inlet.is_alive = True
            self.outlet.is_blocked = False
            self.drain()
        if events != WRITABLE:
            self.read()

    def turn(self) -> None:
        """Send what was kept, read on, or tell the end."""
        self._is_put_off = False
        if self._is_released:
            self._tell_lost()
        else:
            self.drain()
            if self._is_readable:
                self.read()

    def put_off(self) -> None:
        if not self._is_put_off:
            self._is_put_off = True
            assert self._hub is not None
            self._hub.put_off(self)

    # --------------------------------------------------------------------------------------------------- reading

    def pause_reading(self) -> None:
        self.is_paused = True
        self.inlet.intake = None

    def resume_reading(self) -> None:
        if self.is_paused:
            self.is_paused = False
            if self._is_readable:
                self.put_off()

    def take_sign_of_life(self) -> bool:
        is_alive, self.inlet.is_alive = self.inlet.is_alive, False
        return is_alive

    def read(self) -> bool:
        if self.is_paused or self._is_released:
            self._is_readable = True
            return False
        was_anything = self._is_large and self._read_large()
        if self._is_large:
            return was_anything
        hub, owner, inlet = self._hub, self._owner, self.inlet
        assert hub is not None
        assert owner is not None
        self._is_readable = False
        # From now on the hub reads the short way; `pause_reading`, a large read and another owner lead back here.
        inlet.intake = owner.intake
        if inlet.intake is None:
            return self._receive(owner, hub.buffer[: inlet.max_size]) or was_anything
        return inlet.read(hub.buffer) or was_anything

    def _receive(self, owner: TransportOwner, buffer: memoryview) -> bool:
        try:
            size = self._sock.recv_into(buffer)
            if size:
                owner.data_received(buffer[:size])
        except Exception as error:
            self.read_failed(error)
            return False
        self.inlet.is_alive = True
        if not 0 < size < self.inlet.short_size:
            self.read_on(size)
        return True

    def read_on(self, size: int) -> None:
        self._is_large = size >= _LARGE_READ
        if self._is_large:
            self.inlet.intake = None
        if not size:
            self._end_reading()
        elif size == self.inlet.max_size or not self.inlet.short_size:
            self._is_readable = True
            self.put_off()

    def read_failed(self, error: Exception) -> None:
        # The socket's own, or a bug in what was told: either ends this connection and no more.
        if not isinstance(error, BlockingIOError):
            self._fail(error)

    def _read_large(self) -> bool:
        """Receive a large payload, if there is one, to where it belongs; whether there was anything."""
        owner = self._owner
        assert owner is not None
        self._is_readable = True
        left = _TURN_SIZE
        while owner.is_filling:
            if left <= 0:
                self.put_off()
                return True
            try:
                size = owner.fill(self._sock.recv_into)
            except Exception as error:
                self._is_readable = False
                self.read_failed(error)
                return left < _TURN_SIZE
            if not size:
                self._end_reading()
                return True
            self.inlet.is_alive = True
            left -= size
        # If whoever was told wants no more, nothing is read behind it.
        self._is_large = self.is_paused or self._is_released
        return left < _TURN_SIZE

    def _end_reading(self) -> None:
        self._is_readable = False
        if self._has_ended:
            # The poller tells it again when it is asked anew, and when our direction has ended, too.
            return
        self._has_ended = True
        self.wake_waiters()
        assert self._owner is not None
        try:
            self._owner.eof_received()
        except Exception as error:
            self._fail(error)

    def can_read_in_person(self) -> bool:
        if self._hub is None or not self._hub.pace.is_quiet or self.backlog:
            return False
        return not (self._is_readable or self.is_paused or self._is_closing or self._is_in_person)

    async def read_in_person(self) -> None:
        hub = self._hub
        assert hub is not None
        self._is_in_person = True
        try:
            await hub.read_in_person(self)
        finally:
            self._is_in_person = False
            if self.outlet is not None and self.outlet.is_blocked and not self._is_released:
                self._block()

    def come_back(self) -> None:
        assert self._hub is not None
        try:
            self._hub.take_back(self)
        except OSError as error:
            # The run has decided already how long to wait, and may not be given other work any more.
            trio.lowlevel.current_trio_token().run_sync_soon(self._fail, error)

    # --------------------------------------------------------------------------------------------------- writing

    @property
    def backlog(self) -> int:
        return 0 if self.outlet is None else self.outlet.backlog

    def write(self, data: bytes) -> None:
        if self.outlet is not None:
            self.outlet.send(data)

    def keep_rest(self, data: bytes, sent: int) -> None:
        assert self.outlet is not None
        self.outlet.outgoing.append(memoryview(data)[sent:])
        self.outlet.backlog = len(data) - sent
        self._block()

    def writelines(self, parts: list[bytes]) -> None:
        if not self._is_closing and self.outlet is not None:
            self.outlet.outgoing.extend(parts)
            self.outlet.backlog += sum(map(len, parts))
            self.send_outgoing()

    def send_outgoing(self) -> None:
        outlet = self.outlet
        assert outlet is not None
        outgoing = outlet.outgoing
        while outgoing and not outlet.is_blocked:
            if len(outgoing) > 1 and outlet.backlog <= JOIN_SIZE:
                outgoing[:] = [b"".join(outgoing)]
            parts = outgoing[:_MAX_PARTS]
            try:
                sent = self._sock.sendmsg(parts)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self.send_failed(error)
                return
            outlet.backlog -= sent
            gone = 0
            while gone < len(parts) and sent >= len(parts[gone]):
                sent -= len(parts[gone])
                gone += 1
            del outgoing[:gone]
            if gone < len(parts):
                outgoing[0] = memoryview(parts[gone])[sent:]
                self._block()
        self._unpark()

    def _block(self) -> None:
        """Have the poller tell when the socket takes more."""
        assert self._hub is not None
        assert self.outlet is not None
        self.outlet.is_blocked = True
        if self._is_in_person:
            # Nobody polls for room meanwhile.
            self._hub.wake(self)
            return
        try:
            self._hub.add_writable(self)
        except OSError as error:
            self._fail(error)

    def drain(self) -> None:
        outlet = self.outlet
        assert outlet is not None
        if outlet.outgoing and not outlet.is_blocked:
            self.send_outgoing()
            if not outlet.outgoing and self._owner is not None and not self._is_closing:
                try:
                    self._owner.backlog_drained()
                except Exception as error:
                    self._fail(error)

    def set_max_backlog(self, limit: int) -> None:
        if self.outlet is not None:
            self.outlet.max_backlog = limit

    async def wait_backlog(self, limit: int) -> None:
        if self.backlog > limit:
            await self._park()

    async def _park(self) -> None:
        if self._waiters is None:
            self._waiters = trio.lowlevel.ParkingLot()
        await self._waiters.park()

    def _unpark(self) -> None:
        if self._waiters is not None:
            self._waiters.unpark_all()

    def wake_waiters(self) -> None:
        self._unpark()
        if self._is_in_person and self._hub is not None:
            self._hub.wake(self)

    # --------------------------------------------------------------------------------------------------- closing

    def close(self, *, timeout: float, linger: float, shutdown: bool) -> None:
        if self._is_closing:
            return
        self._set_closing()
        self.resume_reading()
        if self.outlet is not None:
            self.send_outgoing()
        if self.backlog or (linger and not self._has_ended):
            self._spawn_close(timeout, linger, shutdown)
        else:
            self.abort()

    def _drop_outgoing(self) -> None:
        if self.outlet is not None:
            self.outlet.outgoing.clear()
            self.outlet.backlog = 0

    def _set_closing(self) -> None:
        self._is_closing = True
        if self.outlet is not None:
            self.outlet.close()

    def _spawn_close(self, timeout: float, linger: float, shutdown: bool) -> None:
        trio.lowlevel.spawn_system_task(self._close, timeout, linger, shutdown, name=f"close {self.remote}")

    async def _close(self, timeout: float, linger: float, shutdown: bool) -> None:
        try:
            with trio.move_on_after(timeout):
                while self.backlog and not self._is_released:
                    await self._park()
                if shutdown and not self._is_released:
                    self._sock.shutdown(socket.SHUT_WR)
                with trio.move_on_after(linger):
                    while not (self._has_ended or self._is_released):
                        await self._park()
        except OSError:
            # The peer has gone.
            pass
        finally:
            self.abort()

    def send_failed(self, error: OSError) -> None:
        # The peer may have said why.
        self._note(error)
        self._drop_outgoing()
        self._is_readable = True
        self._unpark()  # there is no room to wait for any more
        self.put_off()
        if not self._is_closing:
            self._set_closing()
            self._spawn_close(_LAST_WORDS, _LAST_WORDS, False)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, OSError):
            self._note(error)
        else:
            # A bug of ours; to call it a lost connection would hide it.
            logger.error("the connection to %s failed", self.remote, exc_info=error)
            self._error = error
        self.abort()

    def _note(self, error: OSError) -> None:
        # Once closing began, an error is no news.
        if not self._is_closing:
            # What Trio's own streams raise.
            self._error = trio.BrokenResourceError(str(error))
            self._error.__cause__ = without_frames(error)

    def abort(self) -> None:
        if self._is_released:
            return
        self._is_released = True
        self._set_closing()
        self.inlet.intake = self.inlet.owner = None
        self._drop_outgoing()
        if self._hub is not None:
            self._hub.remove(self)
            self.put_off()
        elif self._owner is not None:
            # There is no hub to be had.
            trio.lowlevel.current_trio_token().run_sync_soon(self._tell_lost)
        self._sock.close()
        self._unpark()

    def _tell_lost(self) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            try:
                owner.connection_lost(self._error)
            except Exception:
                logger.exception("the connection to %s failed", self.remote)
