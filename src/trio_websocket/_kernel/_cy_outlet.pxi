# The short way from tasks to sockets: a part of `_cy.pyx`, the twin of `_py_outlet`.


@cython.final
cdef class Turns:
    cdef public long long count
    cdef public bint will_flush
    cdef public bint is_corked
    cdef public bint is_burst
    cdef list _kept

    def __cinit__(self):
        self._kept = []

    def keep(self, Outlet outlet not None):
        self._kept.append(outlet)

    def flush(self):
        cdef Outlet outlet
        cdef bint is_burst = False
        cdef list kept = self._kept
        cdef Py_ssize_t reached = 0
        if not PyList_GET_SIZE(kept):
            return
        self._kept = []
        for outlet in kept:
            is_burst = is_burst or outlet._is_used_often()
        self.is_burst = is_burst
        try:
            for outlet in kept:
                reached += 1
                outlet._flush()
        finally:
            if reached < PyList_GET_SIZE(kept):
                self._kept[:0] = kept[reached:]


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
            if self._sent_at != turns.count and not turns.is_corked:
                self._sent_at = turns.count
                self._send_now(owner, data)
                return True
            if turns.will_flush:
                turns._kept.append(self)
            else:
                owner.put_off()
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

    @property
    def is_used_often(self):
        return self._is_used_often()

    cdef inline bint _is_used_often(self) noexcept:
        return PyList_GET_SIZE(self.outgoing) > 1 or self._sent_at == self._turns.count

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
