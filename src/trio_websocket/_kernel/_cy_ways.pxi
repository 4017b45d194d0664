# The short ways between sockets and tasks: a part of `_cy.pyx`, the twin of `_py_ways`.


@cython.final
cdef class Intake:
    cdef FrameDecoder _decoder
    cdef bint _is_masked
    cdef long long _max_size
    cdef list _receivers
    cdef object _wake
    cdef object _take

    def __cinit__(
        self,
        FrameDecoder decoder not None,
        bint is_masked,
        long long max_size,
        list receivers not None,
        wake,
        take,
    ):
        self._decoder = decoder
        self._is_masked = is_masked
        self._max_size = max_size
        self._receivers = receivers
        self._wake = wake
        self._take = take

    def receive_data(self, data):
        cdef Span span
        _open(data, &span)
        try:
            self._decoder._receive(span.start, span.size)
        finally:
            _close(&span)
        self._hand_over(self._decoder._read_message(self._is_masked, self._max_size))

    cdef int _receive(self, uint8_t* start, Py_ssize_t size) except -1:
        # As `receive_data`, but that a message which has come alone is taken out of bytes that may be written on.
        cdef FrameDecoder decoder = self._decoder
        cdef Py_ssize_t used = 0
        message = None
        if decoder._start == decoder._end and not decoder.remaining and decoder.is_plain and self._max_size >= 0:
            message = _message_in(start, size, self._is_masked, <uint64_t> self._max_size, &used)
        if used < size:
            decoder._receive(start + used, size - used)
        if message is None:
            message = decoder._read_message(self._is_masked, self._max_size)
        return self._hand_over(message)

    cdef int _hand_over(self, message) except -1:
        cdef list receivers = self._receivers
        if message is not None and PyList_GET_SIZE(receivers) and receivers[0] is not None:
            self._wake(_pop_first(receivers), message)
            if self._decoder._start == self._decoder._end:
                return 0
            message = None
        self._take(message)
        return 0


@cython.final
cdef class Inlet:
    cdef int _fd
    cdef public object owner
    cdef public Intake intake
    cdef readonly Py_ssize_t max_size
    cdef public Py_ssize_t short_size
    cdef public bint is_alive

    def __cinit__(self, int fd, Py_ssize_t max_size, Py_ssize_t short_size):
        if max_size < 1:
            raise ValueError(f"a read takes at least one byte, not {max_size}")
        self._fd = fd
        self.max_size = max_size
        self.short_size = short_size

    def read(self, buffer):
        cdef Py_buffer view
        PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
        try:
            return self._read(<uint8_t*> view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    cdef bint _read(self, uint8_t* start, Py_ssize_t room) except -1:
        cdef Intake intake = self.intake
        cdef Py_ssize_t size
        owner = self.owner
        if owner is None:
            return False
        if intake is None:
            return owner.read()
        try:
            # The interpreter's lock is kept, as in `Outlet`; so nobody else uses the buffer.
            size = _read_socket(self._fd, start, min(room, self.max_size))
            if size < 0:
                PyErr_SetFromErrno(OSError)
            if size:
                intake._receive(start, size)
        except Exception as error:
            owner.read_failed(error)
            return False
        self.is_alive = True
        if not 0 < size < self.short_size:
            owner.read_on(size)
        return True


def read_ready(list told not None, dict sockets not None, unsigned int readable, buffer):
    cdef Py_buffer view
    cdef unsigned int events
    cdef Inlet inlet
    cdef list others = []
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    try:
        for fd, events in told:
            if events != readable:
                others.append((fd, events))
                continue
            sock = sockets.get(fd)
            if sock is not None:
                inlet = <Inlet?> sock.inlet
                inlet._read(<uint8_t*> view.buf, view.len)
    finally:
        PyBuffer_Release(&view)
    return others


@cython.final
cdef class Turns:
    cdef public long long count
    cdef public bint is_corked
    cdef list _kept

    def __cinit__(self):
        self._kept = []

    def keep(self, Outlet outlet not None):
        self._kept.append(outlet)

    def flush(self):
        cdef Outlet outlet
        kept, self._kept = self._kept, []
        for outlet in kept:
            outlet._flush()


@cython.final
cdef class Outlet:
    cdef int _fd
    cdef Turns _turns
    cdef object _owner
    cdef long long _sent_at
    cdef readonly list outgoing
    cdef public Py_ssize_t backlog
    cdef public bint is_blocked
    cdef public Py_ssize_t max_size
    cdef public object max_backlog
    cdef public object random_bytes

    def __cinit__(self, int fd, Turns turns not None, owner):
        self._fd = fd
        self._turns = turns
        self._owner = owner
        self._sent_at = -1
        self.outgoing = []
        self.max_size = -1
        self.max_backlog = 0

    def close(self):
        self._owner = None

    def send(self, bytes data not None):
        return self._send(data)

    cdef bint _send(self, bytes data) except -1:
        cdef Turns turns = self._turns
        owner = self._owner
        if owner is None:
            return False
        if not PyList_GET_SIZE(self.outgoing):
            if turns.is_corked:
                turns._kept.append(self)
            elif self._sent_at == turns.count:
                owner.put_off()
            else:
                self._sent_at = turns.count
                self._send_now(owner, data)
                return True
        self.outgoing.append(data)
        self.backlog += PyBytes_GET_SIZE(data)
        if self.backlog > LARGE:
            owner.send_outgoing()
        return True

    cdef int _send_now(self, owner, bytes data) except -1:
        cdef const char* start = PyBytes_AS_STRING(data)
        cdef Py_ssize_t sent, size = PyBytes_GET_SIZE(data)
        if size > LARGE:
            with nogil:
                sent = _write_socket(self._fd, start, size)
        else:
            # To let the interpreter's lock go costs more than a socket that does not block takes.
            sent = _write_socket(self._fd, start, size)
        if sent < 0:
            try:
                PyErr_SetFromErrno(OSError)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                owner.send_failed(error)
                return 0
        if sent < size:
            owner.keep_rest(data, sent)
        return 0

    def send_message(self, message):
        if self.max_size < 0 or self._owner is None:
            return False
        if self.backlog and self.backlog > self.max_backlog:
            return False
        cdef bytes mask = None if self.random_bytes is None else self.random_bytes(4)
        cdef bytes frame = _encode_message(message, self.max_size, mask)
        return frame is not None and self._send(frame)

    def flush(self):
        self._flush()

    cdef int _flush(self) except -1:
        cdef bytes data
        owner = self._owner
        if owner is None or self.is_blocked or not PyList_GET_SIZE(self.outgoing):
            return 0
        if self.backlog > LARGE or self.backlog > self.max_backlog:
            owner.drain()
            return 0
        data = b"".join(self.outgoing)
        self.outgoing.clear()
        self.backlog = 0
        self._send_now(owner, data)
        return 0
