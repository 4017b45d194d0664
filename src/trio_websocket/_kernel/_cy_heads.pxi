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

cdef bytes HOST = COMMON_NAMES[b"host"], UPGRADE = COMMON_NAMES[b"upgrade"], CONNECTION = COMMON_NAMES[b"connection"]
cdef bytes KEY = COMMON_NAMES[b"sec-websocket-key"], VERSION = COMMON_NAMES[b"sec-websocket-version"]
cdef bytes PROTOCOL = COMMON_NAMES[b"sec-websocket-protocol"], EXTENSIONS = COMMON_NAMES[b"sec-websocket-extensions"]


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
    cdef list shown = []
    cdef bytes name, value
    cdef bytes host = None, upgrade = None, connection = None, key = None, version = None, protocols = None, extensions = None
    for field in fields:
        name = <bytes> (<tuple> field)[0]
        value = <bytes> (<tuple> field)[1]
        # Common names are one object each. None of these may come twice.
        if name is HOST:
            if host is not None:
                return None
            host = value
            continue
        if name is PROTOCOL:
            if protocols is not None:
                return None
            protocols = value
            continue
        if name is EXTENSIONS:
            if extensions is not None:
                return None
            extensions = value
            continue
        if name is UPGRADE:
            if upgrade is not None:
                return None
            upgrade = value
        elif name is CONNECTION:
            if connection is not None:
                return None
            connection = value
        elif name is KEY:
            if key is not None:
                return None
            key = value
        elif name is VERSION:
            if version is not None:
                return None
            version = value
        elif name == b"content-length" or name == b"transfer-encoding":
            return None
        shown.append(field)
    if host is None or key is None or not _is_all(_OF_HOST, host, PyBytes_GET_SIZE(host)):
        return None
    if PyBytes_GET_SIZE(key) != 24 or not _is_all(_OF_BASE64, key, 22) or not key.endswith(b"=="):
        return None
    if version != b"13" or upgrade is None or upgrade.lower() != b"websocket" or connection is None:
        return None
    connection = connection.lower()
    if connection != b"upgrade" and b"upgrade" not in [option.strip(b" \t") for option in connection.split(b",")]:
        return None
    return head[4:end_of_path], tuple(shown), key, protocols, extensions


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
