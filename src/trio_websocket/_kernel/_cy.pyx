# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: auto_pickle=False
"""The loops over bytes, compiled: the twin of `_py_frames`, `_py_inlet`, `_py_outlet` and `_py_heads`, which are its
specification and have its documentation.

Names, results and errors are the same, and the same tests hold both. What differs is where bytes lie. A decoder has a
small buffer inside of itself, enough for short messages, and takes memory from the heap only while it holds more: an
idle connection costs no more than the object.
"""

cimport cython
from cpython.buffer cimport (
    PyBUF_FULL_RO,
    PyBUF_WRITABLE,
    PyBuffer_FillInfo,
    PyBuffer_IsContiguous,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_Check, PyByteArray_GET_SIZE
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_Check,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.exc cimport PyErr_SetFromErrno
from cpython.list cimport PyList_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.memoryview cimport PyMemoryView_Check, PyMemoryView_FromObject
from cpython.object cimport PyObject
from cpython.ref cimport Py_CLEAR, Py_INCREF
from cpython.unicode cimport PyUnicode_AsUTF8String, PyUnicode_Check, PyUnicode_CheckExact, PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset

from trio_websocket._kernel._py_frames import Buffer, FrameHeader
from trio_websocket._kernel._py_outlet import JOIN_SIZE

cdef extern from *:
    """
    #ifdef _WIN32
    /* There a socket is no file descriptor, and nothing calls these. */
    #include <io.h>
    #define _read_socket(fd, to, size) read(fd, to, (unsigned) (size))
    #define _write_socket(fd, data, size) write(fd, data, (unsigned) (size))
    #else
    #include <sys/socket.h>
    /* Cheaper than read and write, which ask for a file's position. */
    #define _read_socket(fd, to, size) recv(fd, to, size, 0)
    #define _write_socket(fd, data, size) send(fd, data, size, 0)
    #endif

    /* items.pop(0), but that a list which gets empty keeps its room: for each message, one task leaves such a list and joins
    it again. */
    static CYTHON_INLINE PyObject* _pop_first(PyObject* items) {
        PyObject** at = ((PyListObject*) items)->ob_item;
        PyObject* first = at[0];
        Py_ssize_t left = PyList_GET_SIZE(items) - 1;
        Py_SET_SIZE((PyVarObject*) items, left);
        memmove(at, at + 1, left * sizeof(PyObject*));
        return first;
    }
    """
    Py_ssize_t _read_socket(int fd, void* to, size_t size) noexcept nogil
    Py_ssize_t _write_socket(int fd, const void* data, size_t size) noexcept nogil
    object _pop_first(list items)

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX
    Py_ssize_t Py_REFCNT(PyObject* data)
    int _PyBytes_Resize(PyObject** data, Py_ssize_t size) except -1
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    uint8_t* PyUnicode_1BYTE_DATA(object text)
    object PyUnicode_New(Py_ssize_t size, Py_UCS4 max_char)

__all__ = [
    "JOIN_SIZE",
    "Buffer",
    "FrameDecoder",
    "FrameHeader",
    "Inlet",
    "Intake",
    "MessageQueue",
    "Outlet",
    "Turns",
    "apply_mask",
    "encode_frame",
    "encode_header",
    "encode_message",
    "read_fields",
    "read_ready",
    "read_request",
]

cdef enum:
    # As in `_py_frames`; it is JOIN_SIZE, too.
    LARGE = 65536
    QUICK_ROOM = 1048576
    # So many bytes a decoder holds inside of itself.
    SMALL = 96
    # From so many on, the room of messages that were taken is given back while others wait.
    MANY_TAKEN = 32
    # The longest header that there can be, with its masking key (RFC 6455 §5.2).
    MAX_HEADER = 14

cdef object _new_tuple = tuple.__new__
cdef Py_ssize_t EMPTY_TEXT_SIZE = "".__sizeof__()
cdef Py_ssize_t EMPTY_BYTES_SIZE = b"".__sizeof__()


# ------------------------------------------------------------------------------------------------------------ masking


cdef inline uint64_t _key(const uint8_t* mask, uint64_t offset) noexcept:
    # The masking key, twice, as it lies over eight bytes of payload from `offset` on.
    cdef uint8_t key[8]
    cdef uint64_t word
    cdef uint64_t i
    for i in range(8):
        key[i] = mask[(offset + i) & 3]
    memcpy(&word, key, 8)
    return word


cdef inline uint64_t _xor(uint8_t* to, const uint8_t* data, Py_ssize_t size, uint64_t key) noexcept:
    # Mask `data` into `to`, which is the same place or lies apart; the key 0 changes nothing. For `_is_ascii` it
    # returns all words that were written, laid over one another.
    cdef uint64_t word, seen = 0
    cdef Py_ssize_t i, words = size & ~<Py_ssize_t> 7
    # memcpy is how to touch a word that may not be aligned; the compiler makes an instruction of it, and of the loop
    # a loop over vectors.
    for i in range(0, words, 8):
        memcpy(&word, data + i, 8)
        word ^= key
        seen |= word
        memcpy(to + i, &word, 8)
    if words < size:
        word = 0
        memcpy(&word, data + words, size - words)
        word ^= key
        memcpy(to + words, &word, size - words)
        # Only what was written counts, not the key behind it.
        word = 0
        memcpy(&word, to + words, size - words)
        seen |= word
    return seen


cdef inline bint _is_ascii(uint64_t seen) noexcept:
    return not seen & 0x8080808080808080U


cdef inline void _copy(uint8_t* to, const uint8_t* data, Py_ssize_t size, uint64_t key) noexcept:
    if key:
        _xor(to, data, size, key)
    else:
        memcpy(to, data, size)


cdef inline int _check_mask(bytes mask) except -1:
    if PyBytes_GET_SIZE(mask) != 4:
        raise ValueError(f"a masking key has 4 bytes, not {len(mask)}")
    return 0


# ------------------------------------------------------------------------------------------------------------ buffers


cdef struct Span:
    const uint8_t* start
    Py_ssize_t size
    # Held by a memoryview alone. No Python code runs while a span is open, so bytes and bytearray stay as they are.
    bint is_held
    Py_buffer view


cdef inline int _open(object data, Span* span) except -1:
    span.is_held = False
    if PyBytes_Check(data):
        span.start = <const uint8_t*> PyBytes_AS_STRING(data)
        span.size = PyBytes_GET_SIZE(data)
    elif PyMemoryView_Check(data):
        _hold(data, span)
    elif PyByteArray_Check(data):
        span.start = <const uint8_t*> PyByteArray_AS_STRING(data)
        span.size = PyByteArray_GET_SIZE(data)
    else:
        raise TypeError(f"a bytes-like object is required, not {type(data).__name__!r}")
    return 0


cdef inline int _hold(object data, Span* span) except -1:
    PyObject_GetBuffer(data, &span.view, PyBUF_FULL_RO)
    if not PyBuffer_IsContiguous(&span.view, b"C"):
        PyBuffer_Release(&span.view)
        raise TypeError("memoryview: casts are restricted to C-contiguous views")
    span.is_held = True
    span.size = span.view.len
    # Where there is nothing, there need not be an address.
    span.start = <const uint8_t*> (span.view.buf if span.size else PyBytes_AS_STRING(b""))
    return 0


cdef inline void _close(Span* span) noexcept:
    if span.is_held:
        PyBuffer_Release(&span.view)


@cython.final
cdef class _Room:
    # Lends the free end of a payload that is collected, and keeps the payload alive even if someone keeps the loan.
    cdef bytes payload
    cdef uint8_t* start
    cdef Py_ssize_t size

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self.start, self.size, False, flags)


# ------------------------------------------------------------------------------------------------------------ writing


def apply_mask(data, bytes mask not None, long long offset=0):
    cdef Span span
    cdef bytes masked
    _check_mask(mask)
    _open(data, &span)
    try:
        masked = PyBytes_FromStringAndSize(NULL, span.size)
        _xor(
            <uint8_t*> PyBytes_AS_STRING(masked),
            span.start,
            span.size,
            _key(<const uint8_t*> PyBytes_AS_STRING(mask), <uint64_t> offset),
        )
    finally:
        _close(&span)
    return masked


def encode_frame(int opcode, payload, *, bint fin=True, int rsv=0, bytes mask=None):
    return _encode_payload(_first_byte(opcode, fin, rsv), payload, mask)


def encode_message(message, Py_ssize_t max_size, bytes mask=None):
    return _encode_message(message, max_size, mask)


cdef inline bytes _encode_message(message, Py_ssize_t max_size, bytes mask):
    if PyUnicode_CheckExact(message):
        return _encode_payload(0x81, message, mask)
    if PyBytes_CheckExact(message) and PyBytes_GET_SIZE(message) <= max_size:
        return _encode_payload(0x82, message, mask)
    return None


cdef inline bytes _encode_payload(int first, payload, bytes mask):
    cdef Span span
    if not PyUnicode_Check(payload):
        _open(payload, &span)
    elif PyUnicode_IS_COMPACT_ASCII(payload):
        # ASCII is UTF-8 as it lies there.
        span.is_held = False
        span.start = PyUnicode_1BYTE_DATA(payload)
        span.size = PyUnicode_GET_LENGTH(payload)
    else:
        payload = PyUnicode_AsUTF8String(payload)
        _open(payload, &span)
    try:
        return _encode(first, &span, mask)
    finally:
        _close(&span)


def encode_header(int opcode, uint64_t size, *, bint fin=True, int rsv=0, bytes mask=None):
    cdef uint8_t head[MAX_HEADER]
    cdef Py_ssize_t head_size = _write_header(head, _first_byte(opcode, fin, rsv), size, mask)
    return PyBytes_FromStringAndSize(<char*> head, head_size)


cdef inline int _first_byte(int opcode, bint fin, int rsv) except -1:
    cdef long long first = (0x80 if fin else 0) | <long long> rsv * 16 | opcode
    if not 0 <= first <= 255:
        raise ValueError("bytes must be in range(0, 256)")
    return <int> first


cdef inline bytes _encode(int first, Span* span, bytes mask):
    cdef uint8_t head[MAX_HEADER]
    cdef Py_ssize_t head_size = _write_header(head, first, <uint64_t> span.size, mask)
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, head_size + span.size)
    cdef uint8_t* to = <uint8_t*> PyBytes_AS_STRING(frame)
    memcpy(to, head, head_size)
    # The masking key ends the header.
    _copy(to + head_size, span.start, span.size, 0 if mask is None else _key(head + head_size - 4, 0))
    return frame


cdef inline Py_ssize_t _write_header(uint8_t* head, int first, uint64_t size, bytes mask) except -1:
    cdef Py_ssize_t at = 2
    cdef int extended = 0, mask_bit = 0 if mask is None else 0x80
    head[0] = <uint8_t> first
    if size < 126:
        head[1] = <uint8_t> (mask_bit | size)
    elif size < 65536:
        head[1] = <uint8_t> (mask_bit | 126)
        extended = 2
    else:
        head[1] = <uint8_t> (mask_bit | 127)
        extended = 8
    while extended:
        extended -= 1
        head[at] = <uint8_t> (size >> 8 * extended)
        at += 1
    if mask is not None:
        _check_mask(mask)
        memcpy(head + at, PyBytes_AS_STRING(mask), 4)
        at += 4
    return at


# ------------------------------------------------------------------------------------------------------------ reading


cdef struct Header:
    uint8_t first
    bint is_masked
    # Where the masking key lies in the buffer, if there is one.
    const uint8_t* mask
    uint64_t length
    bint is_minimal
    Py_ssize_t size


cdef inline bint _parse(const uint8_t* at, Py_ssize_t available, Header* header) noexcept:
    # Whether there is a whole header.
    cdef int extended = 0, i
    cdef uint64_t least = 0
    if available < 2:
        return False
    header.first = at[0]
    header.is_masked = at[1] >> 7
    header.length = at[1] & 0x7F
    if header.length == 126:
        extended = 2
        least = 126
    elif header.length == 127:
        extended = 8
        least = 65536
    if extended:
        header.length = 0
    header.size = 2 + extended + (4 if header.is_masked else 0)
    if available < header.size:
        return False
    for i in range(extended):
        header.length = header.length << 8 | at[2 + i]
    header.is_minimal = header.length >= least
    header.mask = at + 2 + extended
    return True


cdef inline object _message_in(
    uint8_t* at, Py_ssize_t available, bint is_masked, uint64_t max_size, Py_ssize_t* used
):
    # The message that `at` begins with, or None; `used` is what it took.
    cdef Header header
    if not _parse(at, available, &header) or (header.first != 0x81 and header.first != 0x82):
        return None
    if header.is_masked != is_masked or not header.is_minimal or header.length > max_size:
        return None
    if header.length > <uint64_t> (available - header.size):
        return None
    cdef Py_ssize_t size = <Py_ssize_t> header.length
    cdef uint64_t key = _key(header.mask, 0) if is_masked else 0
    if header.first == 0x81:
        message = _decode(at + header.size, size, key)
        if message is None:
            return None
    else:
        message = PyBytes_FromStringAndSize(NULL, size)
        _copy(<uint8_t*> PyBytes_AS_STRING(message), at + header.size, size, key)
    used[0] = header.size + size
    return message


@cython.final
cdef class FrameDecoder:
    # Received and not read: `_data[_start:_end]`, of `_capacity` bytes; `_data` is `_small`, or lies on the heap.
    cdef uint8_t* _data
    cdef Py_ssize_t _start
    cdef Py_ssize_t _end
    cdef Py_ssize_t _capacity
    # The payload that is collected: NULL, or a bytes object that nobody else knows, of which `_collected` bytes have
    # come. Its length is its room.
    cdef PyObject* _payload
    cdef Py_ssize_t _collected
    cdef readonly uint64_t remaining
    cdef public bint is_plain
    cdef bint _is_closed
    # The current frame's masking key, zeros for an unmasked one, and where in it the next byte of payload is.
    cdef uint8_t _mask[4]
    cdef uint8_t _mask_offset
    cdef uint8_t _small[SMALL]

    def __cinit__(self):
        self._data = self._small
        self._capacity = SMALL
        self.is_plain = True

    def __dealloc__(self):
        self._release()
        Py_CLEAR(self._payload)

    @property
    def unread(self):
        cdef Py_ssize_t size = self._end - self._start
        if self._payload is not NULL and not self._is_filling():
            size += self._collected
        return size

    @property
    def is_filling(self):
        return self._is_filling()

    def receive_data(self, data):
        cdef Span span
        _open(data, &span)
        try:
            self._receive(span.start, span.size)
        finally:
            _close(&span)

    def fill(self, receive):
        # Not an assertion, which `python -O` leaves out: there would be no payload to write to.
        if not self._is_filling():
            raise AssertionError
        cdef Py_ssize_t collected = self._collected
        self._make_room(collected + 1)
        cdef _Room room = _Room.__new__(_Room)
        room.payload = <bytes> self._payload
        room.start = self._payload_end()
        room.size = PyBytes_GET_SIZE(room.payload) - collected
        view = PyMemoryView_FromObject(room)
        cdef Py_ssize_t size
        try:
            size = receive(view)
        finally:
            view.release()
        if not 0 <= size <= room.size:
            raise ValueError(f"{size} bytes were received where {room.size} have room")
        if self._payload is not <PyObject*> room.payload or self._collected != collected:
            raise RuntimeError("the decoder was used while it was filled")
        cdef uint64_t key = _key(self._mask, self._mask_offset)
        if key:
            _xor(room.start, room.start, size, key)
        self._advance(size)
        return size

    def close(self):
        self._is_closed = True
        self.is_plain = False
        self._release()
        Py_CLEAR(self._payload)
        self.remaining = 0

    def read_message(self, bint is_masked, long long max_size):
        return self._read_message(is_masked, max_size)

    cdef object _read_message(self, bint is_masked, long long max_size):
        cdef Py_ssize_t used = 0
        if self.remaining or not self.is_plain or max_size < 0:
            return None
        message = _message_in(
            self._data + self._start, self._end - self._start, is_masked, <uint64_t> max_size, &used
        )
        if used:
            self._consume(used)
        return message

    def read_header(self):
        cdef Header header
        if self.remaining:
            raise AssertionError
        if not _parse(self._data + self._start, self._end - self._start, &header):
            self._settle()
            return None
        mask = None
        self._mask[:] = [0, 0, 0, 0]
        if header.is_masked:
            mask = PyBytes_FromStringAndSize(<char*> header.mask, 4)
            memcpy(self._mask, header.mask, 4)
        cdef int first = header.first
        fields = (<bint> (first >> 7), first >> 4 & 7, first & 0x0F, mask, header.length, header.is_minimal)
        result = _new_tuple(FrameHeader, fields)
        self._mask_offset = 0
        self.remaining = header.length
        self._consume(header.size)
        return result

    def read_payload(self):
        if self._payload is not NULL:
            return None if self._is_filling() else self._take_payload()
        if <uint64_t> (self._end - self._start) >= self.remaining:
            return self._take()
        if self.remaining > LARGE:
            self._collect()
        else:
            self._settle()
        return None

    def read_part(self):
        return self._take() if self._payload is NULL else self._take_payload()

    # ------------------------------------------------------------------------------------------------ the buffer

    cdef inline int _receive(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t part
        if self._is_closed:
            return 0
        if self._payload is not NULL:
            part = <Py_ssize_t> min(<uint64_t> size, self.remaining - <uint64_t> self._collected)
            self._make_room(self._collected + part)
            _copy(self._payload_end(), data, part, _key(self._mask, self._mask_offset))
            self._advance(part)
            data += part
            size -= part
        if not size:
            return 0
        if size > self._capacity - self._end:
            self._make_space(size)
        memcpy(self._data + self._end, data, size)
        self._end += size
        return 0

    cdef int _make_space(self, Py_ssize_t size) except -1:
        # The sums cannot overflow: as much memory is in use.
        cdef Py_ssize_t unread = self._end - self._start
        if size <= self._capacity - unread and (self._capacity == SMALL or unread <= self._start):
            # Each byte makes room for one that is moved: the work stays linear.
            memmove(self._data, self._data + self._start, unread)
            self._start = 0
            self._end = unread
            return 0
        return self._move(unread + max(size, unread))

    cdef int _move(self, Py_ssize_t capacity) except -1:
        # Move what is unread to a buffer of this capacity.
        cdef Py_ssize_t unread = self._end - self._start
        cdef uint8_t* to = self._small
        if capacity > SMALL:
            to = <uint8_t*> PyMem_Malloc(capacity)
            if to is NULL:
                raise MemoryError
        memcpy(to, self._data + self._start, unread)
        self._release()
        self._data = to
        self._capacity = max(capacity, SMALL)
        self._end = unread
        return 0

    cdef inline void _release(self) noexcept:
        # Forget what is unread, and keep no memory for it.
        if self._data is not self._small:
            PyMem_Free(self._data)
            self._data = self._small
            self._capacity = SMALL
        self._start = self._end = 0

    cdef inline int _settle(self) except -1:
        # More has to come first, and that may take long: hold no large buffer for the little that has come.
        if self._capacity > SMALL and (self._end - self._start) < self._capacity // 4:
            self._move(self._end - self._start)
        return 0

    cdef inline void _consume(self, Py_ssize_t size) noexcept:
        self._start += size
        if self._start == self._end:
            self._release()

    cdef bytes _take(self):
        # What has come of the payload, out of the buffer.
        cdef Py_ssize_t size = <Py_ssize_t> min(self.remaining, <uint64_t> (self._end - self._start))
        cdef bytes part = PyBytes_FromStringAndSize(NULL, size)
        cdef uint8_t* to = <uint8_t*> PyBytes_AS_STRING(part)
        # The empty bytes are one object for all.
        if size:
            _copy(to, self._data + self._start, size, _key(self._mask, self._mask_offset))
            self._mask_offset = (self._mask_offset + size) & 3
            self.remaining -= <uint64_t> size
            self._consume(size)
        return part

    # ------------------------------------------------------------------------------------ a payload that is collected

    cdef inline bint _is_filling(self) noexcept:
        return self._payload is not NULL and <uint64_t> self._collected < self.remaining

    cdef inline uint8_t* _payload_end(self) noexcept:
        return <uint8_t*> PyBytes_AS_STRING(<object> self._payload) + self._collected

    cdef inline void _advance(self, Py_ssize_t size) noexcept:
        self._collected += size
        self._mask_offset = (self._mask_offset + size) & 3

    cdef int _collect(self) except -1:
        cdef Py_ssize_t unread = self._end - self._start
        cdef object payload = PyBytes_FromStringAndSize(NULL, self._room(unread, unread))
        Py_INCREF(payload)
        self._payload = <PyObject*> payload
        self._collected = 0
        _copy(self._payload_end(), self._data + self._start, unread, _key(self._mask, self._mask_offset))
        self._advance(unread)
        self._release()
        return 0

    cdef int _make_room(self, Py_ssize_t needed) except -1:
        # Room for so many bytes in all, at least.
        cdef Py_ssize_t room = PyBytes_GET_SIZE(<object> self._payload)
        return self._resize_payload(self._room(needed, room)) if needed > room else 0

    cdef inline Py_ssize_t _room(self, Py_ssize_t needed, Py_ssize_t have) noexcept:
        # At least twice what was full, so that the work stays linear, and no more than there will be.
        cdef Py_ssize_t room = max(needed, have + min(have, PY_SSIZE_T_MAX - have))
        if have < QUICK_ROOM:
            room = max(room, LARGE, min(16 * have, QUICK_ROOM))
        return <Py_ssize_t> min(self.remaining, <uint64_t> room)

    cdef int _resize_payload(self, Py_ssize_t size) except -1:
        if Py_REFCNT(self._payload) == 1:
            try:
                _PyBytes_Resize(&self._payload, size)
            except MemoryError:
                # What had come is lost, and with it the place in the stream: no more frame can be read.
                self.remaining = <uint64_t> -1
                raise
            return 0
        # Someone kept the view that `fill` lent.
        cdef object payload = PyBytes_FromStringAndSize(NULL, size)
        memcpy(PyBytes_AS_STRING(payload), PyBytes_AS_STRING(<object> self._payload), self._collected)
        Py_CLEAR(self._payload)
        Py_INCREF(payload)
        self._payload = <PyObject*> payload
        return 0

    cdef bytes _take_payload(self):
        if self._collected < PyBytes_GET_SIZE(<object> self._payload):
            self._resize_payload(self._collected)
        cdef bytes payload = <bytes> self._payload
        Py_CLEAR(self._payload)
        self.remaining -= <uint64_t> self._collected
        return payload


cdef inline object _decode(uint8_t* data, Py_ssize_t size, uint64_t key):
    # The text, or None where it is not UTF-8.
    cdef object text = PyUnicode_New(size, 127)
    if _is_ascii(_xor(PyUnicode_1BYTE_DATA(text), data, size, key)):
        return text
    # Unmasked where it lies; it is masked again if it has to stay there.
    _xor(data, data, size, key)
    try:
        return PyUnicode_DecodeUTF8(<char*> data, size, "strict")
    except BaseException as error:
        _xor(data, data, size, key)
        if isinstance(error, UnicodeDecodeError):
            return None
        raise


include "_cy_inlet.pxi"
include "_cy_outlet.pxi"
include "_cy_heads.pxi"
