# The heads of HTTP/1.1: a part of `_cy.pyx`, the twin of `_py_heads`.


# What a byte may be: of a name, in lower case; of a host; of what is written in base64. 0 where it can't be one.
cdef uint8_t[256] _LOWER
cdef uint8_t[256] _OF_HOST
cdef uint8_t[256] _OF_BASE64


cdef object _fill_tables():
    cdef str alphanumeric = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for letter in alphanumeric + "!#$%&'*+-.^_`|~":
        _LOWER[<int> ord(letter)] = <uint8_t> ord(letter.lower())
    for letter in alphanumeric + "-._~!$&'()*+,;=%:[]":
        _OF_HOST[<int> ord(letter)] = 1
    for letter in alphanumeric + "+/":
        _OF_BASE64[<int> ord(letter)] = 1


_fill_tables()

cdef struct FieldLine:
    const uint8_t* name
    Py_ssize_t name_size
    const uint8_t* value  # without the white space around it
    Py_ssize_t value_size


cdef inline bint _is_all(const uint8_t* table, const uint8_t* at, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i
    for i in range(size):
        if not table[at[i]]:
            return False
    return True


cdef inline bint _is_same(const uint8_t* at, Py_ssize_t size, const char* expected) noexcept:
    # Whether `size` bytes are `expected`, which is in lower case, whatever the case of theirs.
    cdef Py_ssize_t i
    for i in range(size):
        if _LOWER[at[i]] != <uint8_t> expected[i]:
            return False
    return True


cdef inline bint _is_white(uint8_t byte) noexcept:
    return byte == c" " or byte == c"\t"


def read_fields(bytes head not None, Py_ssize_t start):
    if not 0 <= start <= PyBytes_GET_SIZE(head):
        return None
    cdef const uint8_t* at = <const uint8_t*> PyBytes_AS_STRING(head) + start
    cdef const uint8_t* end = <const uint8_t*> PyBytes_AS_STRING(head) + PyBytes_GET_SIZE(head)
    cdef FieldLine line
    cdef list fields = []
    cdef bytes name
    cdef uint8_t* to
    cdef Py_ssize_t i
    while not _is_empty_line(at, end):
        at = _next_field(at, end, &line)
        if at is NULL:
            return None
        name = PyBytes_FromStringAndSize(NULL, line.name_size)
        to = <uint8_t*> PyBytes_AS_STRING(name)
        for i in range(line.name_size):
            to[i] = _LOWER[line.name[i]]
        fields.append((name, PyBytes_FromStringAndSize(<const char*> line.value, line.value_size)))
    return tuple(fields) if end - at == 2 else None


# The fields that a usual request has at most once; behind them, those that it does not have; all else.
cdef enum:
    _HOST
    _UPGRADE
    _CONNECTION
    _KEY
    _VERSION
    _PROTOCOL
    _EXTENSIONS
    _KINDS_OF_ONE
    _OF_A_BODY
    _OTHER


cdef int _kind_of(const FieldLine* line) noexcept:
    cdef const uint8_t* name = line.name
    cdef Py_ssize_t size = line.name_size
    if size == 4:
        return _HOST if _is_same(name, size, b"host") else _OTHER
    if size == 7:
        return _UPGRADE if _is_same(name, size, b"upgrade") else _OTHER
    if size == 10:
        return _CONNECTION if _is_same(name, size, b"connection") else _OTHER
    if size == 14:
        return _OF_A_BODY if _is_same(name, size, b"content-length") else _OTHER
    if size == 17:
        if _is_same(name, size, b"sec-websocket-key"):
            return _KEY
        return _OF_A_BODY if _is_same(name, size, b"transfer-encoding") else _OTHER
    if size == 21:
        return _VERSION if _is_same(name, size, b"sec-websocket-version") else _OTHER
    if size == 22:
        return _PROTOCOL if _is_same(name, size, b"sec-websocket-protocol") else _OTHER
    if size == 24:
        return _EXTENSIONS if _is_same(name, size, b"sec-websocket-extensions") else _OTHER
    return _OTHER


def read_request(bytes head not None, Py_ssize_t max_fields):
    cdef const uint8_t* start = <const uint8_t*> PyBytes_AS_STRING(head)
    cdef const uint8_t* end = start + PyBytes_GET_SIZE(head)
    cdef const uint8_t* at = start + 5
    if end - start < 5 or memcmp(start, b"GET /", 5) != 0:
        return None
    while at < end and 0x21 <= at[0] <= 0x7E:
        at += 1
    cdef const uint8_t* end_of_path = at
    if end - at < 11 or memcmp(at, b" HTTP/1.1\r\n", 11) != 0:
        return None
    at += 11
    cdef FieldLine[_KINDS_OF_ONE] found
    cdef FieldLine line
    cdef Py_ssize_t count = 0
    cdef int kind
    memset(found, 0, sizeof(found))
    while not _is_empty_line(at, end):
        at = _next_field(at, end, &line)
        count += 1
        if at is NULL or count > max_fields:
            return None
        kind = _kind_of(&line)
        if kind == _OF_A_BODY:
            return None
        if kind != _OTHER:
            if found[kind].name is not NULL:
                return None
            found[kind] = line
    if end - at != 2 or not _asks_for_websocket(found):
        return None
    return (
        PyBytes_FromStringAndSize(<const char*> start + 4, end_of_path - start - 4),
        _value_of(&found[_KEY]),
        _value_of(&found[_PROTOCOL]),
        _value_of(&found[_EXTENSIONS]),
    )


cdef bint _asks_for_websocket(const FieldLine* found) noexcept:
    cdef const FieldLine* host = &found[_HOST]
    cdef const FieldLine* upgrade = &found[_UPGRADE]
    cdef const FieldLine* key = &found[_KEY]
    cdef const FieldLine* version = &found[_VERSION]
    if host.name is NULL or not _is_all(_OF_HOST, host.value, host.value_size):
        return False
    if key.value_size != 24 or not _is_all(_OF_BASE64, key.value, 22) or memcmp(key.value + 22, b"==", 2) != 0:
        return False
    if version.value_size != 2 or memcmp(version.value, b"13", 2) != 0:
        return False
    if upgrade.value_size != 9 or not _is_same(upgrade.value, 9, b"websocket"):
        return False
    return _has_option(&found[_CONNECTION], b"upgrade", 7)


cdef bint _has_option(const FieldLine* line, const char* option, Py_ssize_t size) noexcept:
    # RFC 9110 §7.6.1: a list, without regard to case.
    cdef const uint8_t* at = line.value
    cdef const uint8_t* end = line.value + line.value_size
    cdef const uint8_t* comma
    cdef const uint8_t* end_of_option
    while at < end:
        comma = at
        while comma < end and comma[0] != c",":
            comma += 1
        end_of_option = comma
        while at < end_of_option and _is_white(at[0]):
            at += 1
        while at < end_of_option and _is_white((end_of_option - 1)[0]):
            end_of_option -= 1
        if end_of_option - at == size and _is_same(at, size, option):
            return True
        at = comma + 1
    return False


cdef bytes _value_of(const FieldLine* line):
    if line.name is NULL:
        return None
    return PyBytes_FromStringAndSize(<const char*> line.value, line.value_size)


cdef inline bint _is_empty_line(const uint8_t* at, const uint8_t* end) noexcept:
    return end - at >= 2 and at[0] == c"\r" and at[1] == c"\n"


cdef const uint8_t* _next_field(const uint8_t* at, const uint8_t* end, FieldLine* line) noexcept:
    # Where the line after this one begins; NULL if it is no plain field line.
    cdef const uint8_t* value_end
    line.name = at
    while at < end and _LOWER[at[0]]:
        at += 1
    line.name_size = at - line.name
    if not line.name_size or at == end or at[0] != c":":
        return NULL
    at += 1
    line.value = at
    while at < end and (at[0] >= 0x20 and at[0] != 0x7F or at[0] == c"\t"):
        at += 1
    if end - at < 2 or at[0] != c"\r" or at[1] != c"\n":
        return NULL
    value_end = at
    while line.value < value_end and _is_white(line.value[0]):
        line.value += 1
    while line.value < value_end and _is_white((value_end - 1)[0]):
        value_end -= 1
    line.value_size = value_end - line.value
    return at + 2
