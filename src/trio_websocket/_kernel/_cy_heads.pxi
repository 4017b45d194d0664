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


cdef inline bint _is_all(const uint8_t* table, bytes value, Py_ssize_t size) noexcept:
    cdef const uint8_t* at = <const uint8_t*> PyBytes_AS_STRING(value)
    cdef Py_ssize_t i
    for i in range(size):
        if not table[at[i]]:
            return False
    return True


cdef inline bint _is_white(uint8_t byte) noexcept:
    return byte == c" " or byte == c"\t"


def read_fields(bytes head not None, Py_ssize_t start):
    if not 0 <= start <= PyBytes_GET_SIZE(head):
        return None
    fields = _read_fields(head, start)
    return None if fields is None else tuple(fields)


def read_request(bytes head not None, Py_ssize_t max_fields):
    cdef const uint8_t* start = <const uint8_t*> PyBytes_AS_STRING(head)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(head), at = 5
    if size < at or memcmp(start, b"GET /", at) != 0:
        return None
    while at < size and 0x21 <= start[at] <= 0x7E:
        at += 1
    cdef Py_ssize_t end_of_path = at
    if size - at < 11 or memcmp(start + at, b" HTTP/1.1\r\n", 11) != 0:
        return None
    cdef list fields = _read_fields(head, at + 11)
    if fields is None or PyList_GET_SIZE(fields) > max_fields:
        return None
    cdef dict values = dict(fields)
    cdef bytes host = values.get(b"host"), key = values.get(b"sec-websocket-key")
    if host is None or key is None or not _is_all(_OF_HOST, host, PyBytes_GET_SIZE(host)):
        return None
    if PyBytes_GET_SIZE(key) != 24 or not _is_all(_OF_BASE64, key, 22) or not key.endswith(b"=="):
        return None
    if b"content-length" in values or b"transfer-encoding" in values:
        return None
    if len(values) < PyList_GET_SIZE(fields) and not _are_once([name for name, _ in fields]):
        return None
    cdef bytes upgrade = values.get(b"upgrade", b""), connection = values.get(b"connection", b"")
    if values.get(b"sec-websocket-version") != b"13" or upgrade.lower() != b"websocket":
        return None
    connection = connection.lower()
    if connection != b"upgrade" and b"upgrade" not in [option.strip(b" \t") for option in connection.split(b",")]:
        return None
    protocols = values.get(b"sec-websocket-protocol")
    extensions = values.get(b"sec-websocket-extensions")
    fields.remove((b"host", host))
    if protocols is not None:
        fields.remove((b"sec-websocket-protocol", protocols))
    if extensions is not None:
        fields.remove((b"sec-websocket-extensions", extensions))
    return head[4:end_of_path], tuple(fields), key, protocols, extensions


cdef list _read_fields(bytes head, Py_ssize_t start):
    cdef const uint8_t* at = <const uint8_t*> PyBytes_AS_STRING(head) + start
    cdef const uint8_t* end = <const uint8_t*> PyBytes_AS_STRING(head) + PyBytes_GET_SIZE(head)
    cdef list fields = []
    while True:
        if end - at >= 2 and at[0] == c"\r" and at[1] == c"\n":
            return fields if end - at == 2 else None
        at = _read_field(at, end, fields)
        if at is NULL:
            return None


cdef const uint8_t* _read_field(const uint8_t* at, const uint8_t* end, list fields) except? NULL:
    # Where the line after this one begins; NULL if it is no plain field line.
    cdef const uint8_t* name = at
    cdef const uint8_t* value
    cdef const uint8_t* value_end
    while at < end and _LOWER[at[0]]:
        at += 1
    if at == name or at == end or at[0] != c":":
        return NULL
    cdef bytes lowered = PyBytes_FromStringAndSize(NULL, at - name)
    cdef uint8_t* to = <uint8_t*> PyBytes_AS_STRING(lowered)
    cdef Py_ssize_t i
    for i in range(at - name):
        to[i] = _LOWER[name[i]]
    at += 1
    value = at
    while at < end and (at[0] >= 0x20 and at[0] != 0x7F or at[0] == c"\t"):
        at += 1
    if end - at < 2 or at[0] != c"\r" or at[1] != c"\n":
        return NULL
    value_end = at
    while value < value_end and _is_white(value[0]):
        value += 1
    while value < value_end and _is_white((value_end - 1)[0]):
        value_end -= 1
    field = (
        COMMON_NAMES.get(lowered, lowered),
        PyBytes_FromStringAndSize(<const char*> value, value_end - value),
    )
    fields.append(COMMON_FIELDS.get(field, field))
    return at + 2
