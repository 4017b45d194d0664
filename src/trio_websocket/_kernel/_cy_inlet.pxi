# The short way from sockets to tasks: a part of `_cy.pyx`, the twin of `_py_inlet`.


@cython.final
@cython.no_gc  # it holds nothing that could lead back to it
cdef class MessageQueue:
    cdef double _max_messages
    cdef double _max_size
    # From `_first` on, if there are any.
    cdef list _messages
    cdef Py_ssize_t _first
    cdef public Py_ssize_t size

    def __cinit__(self, double max_messages, double max_size):
        self._max_messages = max_messages
        self._max_size = max_size

    def __len__(self):
        return self._length()

    @property
    def is_heavy(self):
        return self.size >= self._max_size

    @property
    def is_full(self):
        return self._is_full()

    def put(self, message not None):
        self._put(message)

    def put_back(self, message not None):
        if self._first:
            self._first -= 1
            self._messages[self._first] = message
        else:
            self._messages = [message, *self._messages] if self._messages else [message]
        self.size += _size_of(message)

    def take(self):
        return self._take()

    def clear(self):
        while self._length():
            self._take()
        self._messages = None

    cdef inline Py_ssize_t _length(self) noexcept:
        return 0 if self._messages is None else PyList_GET_SIZE(self._messages) - self._first

    cdef inline bint _is_full(self) noexcept:
        return self.size >= self._max_size or self._length() > self._max_messages

    cdef inline int _put(self, message) except -1:
        if self._messages is None:
            self._messages = []
        self._messages.append(message)
        self.size += _size_of(message)
        return 0

    cdef inline object _take(self):
        if not self._length():
            raise IndexError("no message waits")
        message = self._messages[self._first]
        self._messages[self._first] = None
        self._first += 1
        if self._first == PyList_GET_SIZE(self._messages):
            self._messages.clear()
            self._first = 0
        elif self._first >= MANY_TAKEN and self._first * 2 >= PyList_GET_SIZE(self._messages):
            # Each message makes room for one that is moved: the work stays linear.
            del self._messages[: self._first]
            self._first = 0
        self.size -= _size_of(message)
        return message


cdef inline Py_ssize_t _size_of(message) except -1:
    # What `__sizeof__` says, which takes longer.
    if PyUnicode_CheckExact(message) and PyUnicode_IS_COMPACT_ASCII(message):
        return EMPTY_TEXT_SIZE + PyUnicode_GET_LENGTH(message)
    if PyBytes_CheckExact(message):
        return EMPTY_BYTES_SIZE + PyBytes_GET_SIZE(message)
    return message.__sizeof__()


@cython.final
cdef class Intake:
    cdef FrameDecoder _decoder
    cdef bint _is_masked
    cdef long long _max_size
    cdef MessageQueue _messages
    cdef list _receivers
    cdef object _wake
    cdef object _take

    def __cinit__(
        self,
        FrameDecoder decoder not None,
        bint is_masked,
        long long max_size,
        MessageQueue messages not None,
        list receivers not None,
        wake,
        take,
    ):
        self._decoder = decoder
        self._is_masked = is_masked
        self._max_size = max_size
        self._messages = messages
        self._receivers = receivers
        self._wake = wake
        self._take = take

    def close(self):
        self._wake = self._take = None

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

    def exchange(self):
        cdef MessageQueue messages = self._messages
        following = self._decoder._read_message(self._is_masked, self._max_size)
        if following is None:
            return None
        message = messages._take()
        messages._put(following)
        if not messages._is_full():
            self._take(None)
        return message


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
